import CatenaAutodiff
import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors
import TestSupport

/// Real networks, and the step that optimises their gates.
enum Networks {
  /// Small enough for the reference back end.
  static let small = [
    "cifar10_resnet20", "cifar10_vgg6bn", "mlperf_tiny_resnet8", "nad_wrn16_1_clean", "tinyvgg_10c",
  ]
  static let large = [
    "cifar10_resnet56", "squeezenet_v1.0_dc", "mobilenet_v2_1.0_224_dequant", "resnet18_ktb", "resnet50_pqf_large",
  ]
  static var availability: Assets.Availability { Assets.asset("models") }

  static func graph(_ name: String, batch: Int) throws -> Graph {
    guard let folder = availability.url else { preconditionFailure("tests are skipped without the assets") }
    return try ONNXModel(contentsOf: folder.appending(path: "\(name).onnx").path).graph(batch: batch)
  }

  /// Numbers in -1 ... 1 for every input.
  static func tensors(_ graph: Graph, seed: UInt64 = 1) -> ValueMap<Tensor> {
    var generator = SeededGenerator(seed: seed)
    var tensors: ValueMap<Tensor> = [:]
    for input in graph.inputs {
      let values = (0..<graph.shape(input).elementCount).map { _ in Float(2 * generator.uniform() - 1) }
      tensors[input] = Tensor(values, shape: graph.shape(input))
    }
    return tensors
  }
}

/// Forward, loss, backward and update of the scores, as one program.
struct GatedStep {
  var program: Program
  var gated: GatedGraph
  /// Every input's tensor.
  var tensors: ValueMap<Tensor>
  var loss: ValueID
  var gradient: ValueID
  var logits: ValueID

  /// The step of a network, whose loss is the sum of the logits' log-softmax times a target.
  init(_ network: Graph, regions: Int, gateGradients: GradientRules.GateGradients = .fromOutput) throws {
    gated = try network.gated(network.gateSites(), regions: regions)
    var graph = gated.graph
    logits = graph.outputs[0]
    let target = graph.addInput("target", graph[logits].type)
    let logarithm = try graph.add(.logSoftmax(axes: [1]), logits)
    let product = try graph.add(.binary(.multiply), logarithm, target)
    let axes = Array(0..<graph.shape(logits).rank)
    loss = try graph.add(.reduce(Reduce(.sum, axes: axes, keepsDimensions: false)), product)
    let derivative = try graph.differentiating(
      [DerivativeTarget(loss)], withRespectTo: [gated.scores], rules: GradientRules(gateGradients: gateGradients))
    graph = derivative.graph
    guard let gradient = derivative.gradients[gated.scores] else { preconditionFailure("the gradient was asked for") }
    self.gradient = gradient
    let type = graph[gated.scores].type
    let moments = [graph.addInput("first moment", type), graph.addInput("second moment", type)]
    let count = graph.addInput("count", TensorType(.float32, .scalar))
    let mask = graph.addConstant("mask", Tensor([Float](repeating: 1, count: 1), shape: [1, 1]))
    let updated = try graph.add(
      .adam(Adam(learningRate: 0.05)), inputs: [gated.scores, gradient] + moments + [count, mask])
    graph.outputs = [logits, loss, gradient]
    program = Program(
      graph, carries: zip(updated, [gated.scores] + moments + [count]).map { Program.Carry(from: $0, to: $1) })
    tensors = Networks.tensors(graph)
    tensors[target] = tensors[target].map { Tensor($0.floats.map(abs), shape: $0.shape) }
    tensors[gated.scores] = tensors[gated.scores].map { Tensor($0.floats.map { $0 + 2 }, shape: $0.shape) }
    for input in moments + [count] { tensors[input] = Tensor(zeros: graph.shape(input)) }
  }
}

extension Executable {
  /// Writes the inputs, runs, and reads some values.
  func results(_ tensors: ValueMap<Tensor>, steps: Int = 1, reading values: [ValueID]) async throws -> [Tensor] {
    for (input, tensor) in tensors { try await write(tensor, to: input) }
    try await run(steps: steps)
    var results: [Tensor] = []
    for value in values { results.append(try await read(value)) }
    return results
  }
}
