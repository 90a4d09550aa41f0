import CatenaGraph
import CatenaReference
import CatenaTensors
import TestSupport
import Testing

/// Every gradient operator against central differences of its forward operator.
@Suite("Gradients against central differences")
struct GradientTests {
  @Test(
    "pools, normalisation, movement, resizing, gates",
    arguments: [.pool, .normalization, .movement, .resize, .gate] as [ProblemFamily])
  func families(_ family: ProblemFamily) throws {
    var count = 0
    for problem in try problems(for: family) {
      guard let forward = problem.forward else { continue }
      count += 1
      try check(problem, forward)
    }
    #expect(count >= 3)
  }

  @Test("functions of one element")
  func functions() throws {
    var count = 0
    for problem in try problems(for: .unary) {
      guard case .unaryGradient(let function) = problem.operation else { continue }
      count += 1
      // Reals in general position keep clear of kinks; the poles and the negative side of logarithms are left out.
      let isPositive =
        switch function {
        case .squareRoot, .logarithm, .reciprocal: true
        default: false
        }
      let point = Tensor(
        randomReals([60], seed: 5).doubles.map { isPositive ? 1.5 + $0 : 3.5 * $0 }, shape: [60])
      let cotangent = randomReals([60], seed: 6)
      let value = function.derivativeReadsOutput ? try Reference.evaluate(.unary(function), [point])[0] : point
      let gradient = try Reference.evaluate(.unaryGradient(function), [cotangent, value])[0]
      try checkDifferences(
        of: { sum(of: try Reference.evaluate(.unary(function), [$0])[0], times: cotangent) }, at: point,
        gradient: gradient.doubles)
    }
    #expect(count >= 26)
  }

  /// `forward`'s derivative for its differentiated operand, in double.
  private func check(_ problem: Problem, _ forward: Forward) throws {
    var operands = try problem.tensors(.reals).map { tensor in
      tensor.elementType.isFloatingPoint ? Tensor(tensor.doubles, shape: tensor.shape) : tensor
    }
    // Results of other operands must have been made in double too.
    for (index, operand) in problem.operands.enumerated() {
      if case .result(let operation, let sources) = operand.content {
        operands[index] = try Reference.evaluate(operation, sources.map { operands[$0] })[0]
      }
    }
    let cotangent = operands[0]
    let fixed = forward.operands.map { $0.map { operands[$0] } }
    let point = forward.operands.firstIndex(of: nil)
    let start = forward.start(operands)
    func moved(_ tensor: Tensor) -> [Tensor] { fixed.map { $0 ?? tensor } }
    try #require(point != nil)
    if forward.readsOutput { operands[1] = try Reference.evaluate(forward.operation, moved(start))[0] }
    let gradient = try Reference.evaluate(problem.operation, operands)[0]
    do {
      try checkDifferences(
        of: { sum(of: try Reference.evaluate(forward.operation, moved($0))[0], times: cotangent) }, at: start,
        gradient: gradient.doubles)
    } catch let failure as GradientFailure {
      Issue.record("'\(problem)': \(failure)")
    }
  }

  private func sum(of result: Tensor, times cotangent: Tensor) -> Double {
    zip(result.doubles, cotangent.doubles).reduce(0) { $0 + $1.0 * $1.1 }
  }

  @Test("a wrong gradient is found out")
  func wrongGradient() throws {
    let point = randomReals([5], seed: 1)
    let square: (Tensor) -> Double = { $0.doubles.reduce(0) { $0 + $1 * $1 } }
    try checkDifferences(of: square, at: point, gradient: point.doubles.map { 2 * $0 })
    #expect(throws: GradientFailure.self) {
      try checkDifferences(of: square, at: point, gradient: point.doubles.map { 2.0001 * $0 })
    }
  }

  @Test("graphs: the gradient of a gated, pooled convolution")
  func graph() throws {
    // forward = pool(gate(data)); its gradient graph written by hand.
    var graph = Graph()
    let data = graph.addInput("data", TensorType(.float32, [2, 3, 6, 6]))
    let gate = graph.addInput("gate", TensorType(.float32, [2, 3]))
    let pool = Pool(
      .average(countIncludesPadding: false), kernel: [3, 3], strides: [2, 2], padsBegin: [1, 1], padsEnd: [0, 0],
      dilations: [1, 1])
    let gated = try graph.add(.gate(axis: 1), data, gate)
    let output = try graph.add(.pool(pool), gated)
    graph.outputs = [output]
    var backward = graph
    let cotangent = backward.addInput("cotangent", graph.type(output))
    let poolGradient = try backward.add(.poolGradient(pool), cotangent, gated, output)
    let gateGradient = try backward.add(.gateGradient(axis: 1), poolGradient, data, gate)
    let inputs: ValueMap = [data: randomReals([2, 3, 6, 6], seed: 1), gate: randomReals([2, 3], seed: 2)]
    try checkGradient(
      of: graph, output: output, withRespectTo: gate, gradientGraph: backward, gradient: gateGradient,
      cotangent: cotangent, inputs: inputs)
    #expect(throws: GradientFailure.self) {
      try checkGradient(
        of: graph, output: output, withRespectTo: data, gradientGraph: backward, gradient: gated,
        cotangent: cotangent, inputs: inputs)
    }
  }
}

/// The operator that a gradient problem differentiates.
private struct Forward {
  var operation: Operator
  /// Where each operand of the forward operator stands among the gradient problem's; `nil` for the differentiated one.
  var operands: [Int?]
  /// Where the differentiated operand stands among the gradient problem's, or its shape when it is not among them.
  var differentiated: Differentiated
  /// Whether the gradient's second operand is the forward operator's result.
  var readsOutput = false

  enum Differentiated {
    case operand(Int)
    case shape(Shape)
  }

  func start(_ operands: [Tensor]) -> Tensor {
    switch differentiated {
    case .operand(let index): operands[index]
    case .shape(let shape): randomReals(shape, seed: 11)
    }
  }
}

extension Problem {
  fileprivate var forward: Forward? {
    switch operation {
    case .poolGradient(let pool): Forward(operation: .pool(pool), operands: [nil], differentiated: .operand(1))
    case .localResponseNormalizationGradient(let parameters):
      Forward(operation: .localResponseNormalization(parameters), operands: [nil], differentiated: .operand(1))
    case .sliceGradient(let slice, let shape):
      Forward(operation: .slice(slice), operands: [nil], differentiated: .shape(shape))
    case .padGradient(let pad, let shape): Forward(operation: .pad(pad), operands: [nil], differentiated: .shape(shape))
    case .gatherGradient(let axis, let shape):
      Forward(operation: .gather(axis: axis), operands: [nil, 1], differentiated: .shape(shape))
    case .resizeGradient(let resize, let shape):
      Forward(operation: .resize(resize), operands: [nil], differentiated: .shape(shape))
    case .gateGradient(let axis):
      Forward(operation: .gate(axis: axis), operands: [1, nil], differentiated: .operand(2))
    case .gateGradientFromOutput(let axis):
      Forward(operation: .gate(axis: axis), operands: [1, nil], differentiated: .operand(2), readsOutput: true)
    default: nil
    }
  }
}
