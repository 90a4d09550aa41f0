import CatenaCPU
import CatenaFormats
import CatenaGraph
import CatenaOpenCL
import CatenaProblems
import CatenaTensors
import TestSupport
import Testing

/// That this back end runs what the one for the CPU runs: every operator of the shared problems on every element type for
/// which the operator has a rule. Nothing is run, so that no device is needed.
struct SupportTests {
  /// An operator on an element type.
  struct Pair: Hashable, Comparable, CustomStringConvertible {
    let operation: String
    let type: ElementType
    var description: String { "\(operation) on \(type.rawValue)" }
    static func < (left: Self, right: Self) -> Bool { left.description < right.description }
  }

  /// One problem on operands of one type, where the operator has a rule for it.
  private struct Case {
    let pair: Pair
    let graph: Graph
    let line: String

    init?(_ problem: Problem, _ type: ElementType) {
      var graph = Graph()
      let operands = problem.operands.enumerated().map { index, operand in
        let isData = operand.type.elementType == .float32
        return graph.addInput("operand \(index)", isData ? TensorType(type, operand.type.shape) : operand.type)
      }
      do throws(GraphError) { graph.outputs = try graph.add(problem.operation, inputs: operands) } catch { return nil }
      pair = Pair(operation: problem.operation.name, type: type)
      line = problem.description
      self.graph = graph
    }
  }

  private static func cases() throws -> [Case] {
    try ProblemFamily.allCases.flatMap { try problems(for: $0) }.flatMap { problem in
      ElementType.allCases.compactMap { Case(problem, $0) }
    }
  }

  /// What the CPU back end runs and this one refuses, for some parameters at least, with the reason.
  private static let exceptions: [(operations: [String], types: [ElementType], reason: String)] = [
    (
      ["binary", "unary", "gemm", "matmul", "reduce"], [.bool],
      "arithmetic on truth values, which ONNX does not have either"
    ),
    (
      ["gemm"], [.int8, .uint8, .int16, .uint16, .int32, .uint32, .int64],
      "fractional alpha or beta with integers, which have no exact result"
    ),
    (
      ["padGradient", "sliceGradient"], [.bool, .int8, .uint8, .int16, .uint16, .int32, .uint32, .int64],
      "gradients of what is no fraction"
    ),
    (["sliceGradient"], [.float64], "nothing is computed in f64"),
  ]

  @Test func whatTheCPURunsThisBackEndRuns() throws {
    let support = KernelSupport(hasDoubles: true)
    var refused: [Pair: String] = [:]
    var runs: Set<Pair> = []
    for found in try Self.cases() where found.graph.unsupportedNodes().isEmpty {
      runs.insert(found.pair)
      if let reason = support.refusals(of: found.graph).first { refused[found.pair] = "\(found.line): \(reason)" }
    }
    Measured.report("the CPU runs \(runs.count) pairs of operator and element type, \(refused.count) are refused here")
    let expected = Set(
      Self.exceptions.flatMap { entry in
        entry.operations.flatMap { operation in entry.types.map { Pair(operation: operation, type: $0) } }
      })
    for (pair, reason) in refused.sorted(by: { $0.key < $1.key }) where !expected.contains(pair) {
      Issue.record("\(pair): \(reason)")
    }
    for pair in expected.sorted() where refused[pair] == nil { Issue.record("\(pair) is not refused") }
    // Every operator is there, in the types that networks are run in.
    let computing = Set(runs.filter { $0.type == .float32 }.map(\.operation))
    #expect(computing == Set(try Self.cases().map(\.pair.operation)))
    #expect(computing.count >= 35)
    for type in [ElementType.float32, .bfloat16, .float16] {
      #expect(!refused.keys.contains { $0.type == type })
    }
  }
}
