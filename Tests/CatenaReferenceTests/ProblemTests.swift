import CatenaCompute
import CatenaGraph
import CatenaReference
import CatenaTensors
import TestSupport
import Testing

@Suite("Problems")
struct ProblemTests {
  @Test("every line describes a problem that can be evaluated", arguments: ProblemFamily.allCases)
  func evaluate(_ family: ProblemFamily) throws {
    let problems = try problems(for: family)
    #expect(!problems.isEmpty)
    for problem in problems {
      for data in ProblemData.allCases {
        let operands = try problem.tensors(data)
        let results = try Reference.evaluate(problem.operation, operands)
        let types = try problem.operation.outputTypes(of: problem.operands.map(\.type))
        #expect(results.map { TensorType($0.elementType, $0.shape) } == types, "\(problem)")
        #expect(results.allSatisfy { $0.doubles.allSatisfy(\.isFinite) }, "\(problem) gives what is not finite")
        #expect(results.contains { $0.elementCount > 0 }, "\(problem)")
      }
    }
  }

  @Test("the reference back end agrees with the operators it is made of", arguments: ProblemFamily.allCases)
  func backend(_ family: ProblemFamily) async throws {
    for problem in try problems(for: family) { try await check(problem, on: ReferenceBackend()) }
  }

  @Test("every operator has problems")
  func coverage() throws {
    let names = Set(try ProblemFamily.allCases.flatMap { try problems(for: $0) }.map(\.operation.name))
    let expected: Set = [
      "convolution", "convolutionTranspose", "gemm", "matmul", "batchNormalization", "instanceNormalization",
      "localResponseNormalization", "localResponseNormalizationGradient", "pool", "poolGradient", "unary",
      "unaryGradient", "binary", "select", "cast", "identity", "softmax", "logSoftmax", "reduce", "argReduce",
      "concatenate", "split", "slice", "sliceGradient", "pad", "padGradient", "reshape", "transpose", "expand",
      "gather", "gatherGradient", "resize", "resizeGradient", "gate", "gateGradient", "gateGradientFromOutput", "adam",
    ]
    #expect(names == expected)
  }

  @Test(
    "a line that is not understood is refused with the reason",
    arguments: [
      ("convolution n2 c5 hw7x9 m6 k3x3 q1", "not understood: q"),
      ("convolution n2 c5 hw7 m6 k3x3", "hw needs 2 numbers"),
      ("binary plus 3 3", "is missing"),
      ("teleport 3", "there is no operator 'teleport'"),
      ("matmul 3x4 5x2", "the inner extents 4 and 5 differ"),
    ])
  func refusal(_ line: String, _ reason: String) {
    #expect {
      try Problem(line)
    } throws: { error in
      "\(error)".contains(reason) && "\(error)".contains(line)
    }
  }

  @Test("equal seeds give equal data, other seeds other data")
  func seeds() throws {
    let problem = try Problem("matmul 7x5 5x6")
    let first = try problem.tensors(.reals, seed: 3)
    #expect(zip(first, try problem.tensors(.reals, seed: 3)).allSatisfy { $0.isBitIdentical(to: $1) })
    #expect(!zip(first, try problem.tensors(.reals, seed: 4)).contains { $0.isBitIdentical(to: $1) })
  }

  @Test("a back end that computes something else is found out")
  func wrongBackend() async throws {
    for line in ["binary add 2x3 2x3", "convolution n1 c3 hw5x5 m4 k3x3 bias", "argReduce maximum 5x10 axis1"] {
      await #expect(throws: ProblemFailure.self) { try await check(Problem(line), on: OffByOneBackend()) }
    }
  }
}

/// Adds one in a thousand to the largest element of every result, or one to the first when they are integers.
private struct OffByOneBackend: Backend {
  let device = DeviceDescription(backend: "wrong", name: "", instructionSet: "", threads: 1, memory: nil)

  func compile(_ program: Program, options: CompileOptions) async throws(ComputeError) -> any Executable {
    OffByOneExecutable(inner: try await ReferenceBackend().compile(program, options: options))
  }
}

private actor OffByOneExecutable: Executable {
  let inner: any Executable
  nonisolated let memoryPlan = MemoryPlan(constants: 0, persistent: 0, intermediates: 0, scratch: 0)

  init(inner: any Executable) { self.inner = inner }

  func write(_ tensor: Tensor, to input: ValueID) async throws(ComputeError) {
    try await inner.write(tensor, to: input)
  }

  func run(steps: Int) async throws(ComputeError) { try await inner.run(steps: steps) }

  func read(_ value: ValueID) async throws(ComputeError) -> Tensor {
    let tensor = try await inner.read(value)
    var values = tensor.doubles
    if tensor.elementType.isFloatingPoint {
      guard let largest = values.indices.max(by: { abs(values[$0]) < abs(values[$1]) }) else { return tensor }
      values[largest] *= 1.001
    } else {
      values[0] += 1
    }
    return Tensor(doubles: values, shape: tensor.shape, elementType: tensor.elementType)
  }
}
