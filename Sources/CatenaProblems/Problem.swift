import CatenaGraph
import CatenaReference
import CatenaTensors

/// One operator on operands of given types, described by one line of text: what a test runs, and what it prints when it
/// fails.
///
/// A line starts with the operator's name. Words that start with a digit, `scalar` and runs of `n`, `c`, `hw` words are
/// shapes, in the order of the operands; a word that starts with letters names a parameter, followed by its numbers
/// joined by `x` (`s2x1`); the name of an element type makes the first operand one of that type. For example:
///
///     convolution n2 c5 hw7x9 m6 k3x3 s2x1 p1x0x2x1 d1 g1 bias
///     binary add 2x3x4 3x1
///     slice 5x6 starts4x0 sizes3x2 steps-1x2
package struct Problem: Sendable, CustomStringConvertible {
  /// The line.
  package let description: String
  /// What is computed.
  package let operation: Operator
  /// What it is computed on.
  package let operands: [Operand]

  /// The problem that a line describes.
  /// - Throws: `ProblemError` with the line and what cannot be understood.
  package init(_ line: String) throws {
    var words = try ProblemWords(line)
    description = line
    (operation, operands) = try words.problem()
    try words.finish()
    do throws(ShapeError) { _ = try operation.outputTypes(of: operands.map(\.type)) } catch {
      throw ProblemError(line: line, reason: error.reason)
    }
  }
}

/// One operand of a problem.
package struct Operand: Sendable {
  /// Element type and shape.
  package var type: TensorType
  /// Which numbers it holds.
  package var content: Content
  /// Whether networks have a constant here.
  package var isWeight = false

  /// Which numbers an operand holds.
  package enum Content: Sendable {
    /// Any numbers.
    case any
    /// Numbers above zero.
    case positive
    /// Zeros and ones.
    case binary
    /// Indices into so many elements, some of them negative.
    case indices(Int)
    /// A number of steps.
    case count
    /// What an operator makes of other operands of the problem.
    case result(Operator, of: [Int])
  }
}

/// A line that describes no problem.
package struct ProblemError: Error, CustomStringConvertible {
  let line: String
  let reason: String

  /// The line and what is wrong with it.
  package var description: String { "'\(line)': \(reason)" }
}

/// How the operands of a problem are filled.
package enum ProblemData: String, Sendable, CaseIterable {
  /// Small integers, of which sums are exact in f32.
  case integers
  /// Fractions.
  case reals
}

extension Problem {
  /// Whether small integers give results that are exact in f32, in whatever order sums are formed.
  package var isExactOnIntegers: Bool {
    switch operation {
    case .convolution, .convolutionTranspose, .gemm, .matmul, .binary, .select, .cast, .identity, .argReduce,
      .concatenate, .split, .slice, .sliceGradient, .pad, .padGradient, .reshape, .transpose, .expand, .gather,
      .gatherGradient, .gate, .gateGradient:
      if case .binary(let function) = operation { return function != .divide && function != .power }
      return true
    case .pool(let pool), .poolGradient(let pool): return pool.kind == .maximum
    case .unary(let function), .unaryGradient(let function): return function.isExactOnIntegers
    case .reduce(let reduce): return reduce.kind != .mean && reduce.kind != .product
    case .resize(let resize), .resizeGradient(let resize, _):
      if case .nearest = resize.interpolation { return true }
      return false
    case .batchNormalization, .instanceNormalization, .localResponseNormalization,
      .localResponseNormalizationGradient, .softmax, .logSoftmax, .gateGradientFromOutput, .adam:
      return false
    }
  }

  /// Tensors for the operands; equal seeds give equal tensors.
  package func tensors(_ data: ProblemData, seed: UInt64 = 1) throws(GraphError) -> [Tensor] {
    var generator = SeededGenerator(seed: seed)
    var tensors: [Tensor?] = operands.map { operand in operand.tensor(data, &generator) }
    for (index, operand) in operands.enumerated() {
      if case .result(let operation, let sources) = operand.content {
        let inputs = sources.map { source in
          guard let tensor = tensors[source] else {
            preconditionFailure("\(description): operand \(source) is a result")
          }
          return tensor
        }
        tensors[index] = try Reference.evaluate(operation, inputs)[0]
      }
    }
    return tensors.compactMap { $0 }
  }

  /// The graph of one node that computes the problem. Weights are constants when `weights` gives all operands' tensors.
  package func graph(weights: [Tensor]? = nil) throws(GraphError) -> Graph {
    var graph = Graph()
    var ids: [ValueID] = []
    for (index, operand) in operands.enumerated() {
      if operand.isWeight, let weights {
        ids.append(graph.addConstant("operand \(index)", weights[index]))
      } else {
        ids.append(graph.addInput("operand \(index)", operand.type))
      }
    }
    graph.outputs = try graph.add(operation, inputs: ids)
    return graph
  }
}

extension UnaryFunction {
  fileprivate var isExactOnIntegers: Bool {
    switch self {
    case .relu, .clip, .negate, .absolute, .floor, .ceiling, .sign, .not: true
    default: false
    }
  }
}

extension Operand {
  /// `nil` for a result of other operands.
  fileprivate func tensor(_ data: ProblemData, _ generator: inout SeededGenerator) -> Tensor? {
    guard let values = values(data, &generator) else { return nil }
    return Tensor(doubles: values, shape: type.shape, elementType: type.elementType)
  }

  private func values(_ data: ProblemData, _ generator: inout SeededGenerator) -> [Double]? {
    let count = type.shape.elementCount
    func integers(_ range: ClosedRange<Int>) -> [Double] {
      (0..<count).map { _ in Double(Int.random(in: range, using: &generator)) }
    }
    func reals(_ lower: Double, _ upper: Double) -> [Double] {
      (0..<count).map { _ in lower + (upper - lower) * generator.uniform() }
    }
    let isUnsigned = [.uint8, .uint16, .uint32, .uint64].contains(type.elementType)
    switch content {
    case .any:
      if type.elementType == .bool { return integers(0...1) }
      if isUnsigned { return integers(0...9) }
      return data == .integers || type.elementType.isInteger ? integers(-4...4) : reals(-2, 2)
    case .positive: return data == .integers || type.elementType.isInteger ? integers(1...4) : reals(0.5, 2)
    case .binary: return integers(0...1)
    case .indices(let extent): return integers(-extent...extent - 1)
    case .count: return [3]
    case .result: return nil
    }
  }
}
