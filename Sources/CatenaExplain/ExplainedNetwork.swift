import CatenaFormats
import CatenaGraph
import CatenaTensors

/// A network as the methods see it, for one batch size: one input, one row of class scores per sample.
struct ExplainedNetwork: Sendable {
  /// The network up to the logits, which are its only output.
  private(set) var graph: Graph
  let input: ValueID
  /// The explained values; a softmax at the network's end has been left off.
  let logits: ValueID

  var inputType: TensorType { graph.type(input) }
  var batch: Int { inputType.shape[0] }
  var classCount: Int { graph.shape(logits).elementCount / batch }

  init(model: ONNXModel, replacing constants: [String: Tensor], batch: Int) throws(ExplanationError) {
    var graph: Graph
    do throws(ONNXError) { graph = try model.graph(batch: batch) } catch { throw .model(error) }
    guard graph.inputs.count == 1, let output = graph.outputs.first, graph.shape(output).rank > 1,
      graph.shape(output)[0] == batch, graph.type(output).elementType == .float32,
      graph.shape(output).dimensions.dropFirst().max() == graph.shape(output).elementCount / batch,
      graph.type(graph.inputs[0]).elementType == .float32, graph.shape(graph.inputs[0]).rank > 2
    else {
      throw .unsuitableNetwork(
        "the network has \(graph.inputs.count) inputs and \(graph.outputs.count) outputs; explanations need one float32 "
          + "image as input and one float32 row of class scores per sample as the first output")
    }
    for (id, tensor) in graph.constants {
      guard let replacement = constants[graph[id].name] else { continue }
      guard replacement.shape == tensor.shape, replacement.elementType == tensor.elementType else {
        throw .unsuitableNetwork("'\(graph[id].name)' is \(tensor.shape) and cannot become \(replacement.shape)")
      }
      graph.replaceConstant(id, with: replacement)
    }
    input = graph.inputs[0]
    logits = graph.beforeSoftmax(output)
    graph.outputs = [logits]
    self.graph = graph.pruned()
  }

  /// The value called `name`, or the last image-like one before the classifier.
  func layer(named name: String?) throws(ExplanationError) -> ValueID {
    let images = graph.nodes.flatMap(\.outputs).filter { id in
      let shape = graph.shape(id)
      return shape.rank == inputType.shape.rank && shape[0] == batch && graph.type(id).elementType == .float32
    }
    if let name {
      guard let found = images.first(where: { graph[$0].name == name }) else {
        let known = images.suffix(12).map { "'\(graph[$0].name)'" }.joined(separator: ", ")
        throw .badArgument("there is no image-like layer '\(name)'; the last ones are \(known)")
      }
      return found
    }
    // Behind it something mixes channels once more: the classifier.
    var mixedLater: ValueSet = []
    for node in graph.nodes.reversed()
    where node.operation.mixesChannels || node.outputs.contains(where: mixedLater.contains) {
      mixedLater.formUnion(node.inputs)
    }
    let found = images.last { mixedLater.contains($0) && graph.shape($0).dimensions.dropFirst(2).reduce(1, *) > 1 }
    guard let found else {
      throw .unsuitableNetwork("the network has no image-like layer before its classifier: name one with --layer")
    }
    return found
  }
}

extension Graph {
  /// The input of a softmax at the end: methods explain scores that do not depend on those of other classes.
  fileprivate func beforeSoftmax(_ output: ValueID) -> ValueID {
    guard let node = nodes.last(where: { $0.outputs.contains(output) }) else { return output }
    switch node.operation {
    case .softmax, .logSoftmax: return node.inputs[0]
    case .identity, .reshape:
      let inner = beforeSoftmax(node.inputs[0])
      return inner == node.inputs[0] ? output : inner
    default: return output
    }
  }
}

extension Operator {
  fileprivate var mixesChannels: Bool {
    switch self {
    case .convolution, .convolutionTranspose, .gemm, .matmul: true
    default: false
    }
  }
}
