import CatenaGraph
import CatenaTensors

/// A graph that also gives the inputs of layers, channels last.
struct CapturedInputs {
  /// The graph: the network's logits first.
  let graph: Graph
  /// The captured value of every wanted layer, by its index.
  let values: [Int: ValueID]

  /// Captures the inputs of the layers `wanted`.
  init(_ network: TraceNetwork, wanted: [Int]) throws(GraphError) {
    var graph = network.graph
    var known: [ValueID: ValueID] = [:]
    var values: [Int: ValueID] = [:]
    for index in wanted {
      let layer = network.layers[index]
      if known[layer.input] == nil { known[layer.input] = try Self.captured(layer, &graph) }
      values[index] = known[layer.input]
    }
    for value in Set(values.values).sorted() where !graph.outputs.contains(value) { graph.outputs.append(value) }
    self.graph = graph.pruned()
    self.values = values
  }

  private static func captured(_ layer: TraceLayer, _ graph: inout Graph) throws(GraphError) -> ValueID {
    var value = layer.input
    if graph.type(value).elementType != .float32 { value = try graph.add(.cast(.float32), value) }
    if case .transposedInput = layer.form { return try graph.add(.transpose(permutation: [1, 0]), value) }
    guard case .convolution = graph.nodes[layer.node].operation else { return value }
    let rank = graph.shape(value).rank
    return try graph.add(.transpose(permutation: [0] + Array(2..<rank) + [1]), value)
  }
}

extension TraceLayer {
  /// The captured input as its solver reads it: [images, height, width, channels].
  func solverInput(_ captured: Tensor, images: Int) -> Tensor {
    captured.reshaped(
      to: [images, geometry.source[0], geometry.source[1], geometry.groups * geometry.channels])
  }
}
