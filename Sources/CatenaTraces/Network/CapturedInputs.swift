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
    // Layers that read one value may read it in different orders.
    var known: [Capture: ValueID] = [:]
    var values: [Int: ValueID] = [:]
    for index in wanted {
      let layer = network.layers[index]
      let capture = Capture(value: layer.input, order: layer.order(in: network.graph))
      if known[capture] == nil { known[capture] = try Self.captured(capture, &graph) }
      values[index] = known[capture]
    }
    for value in ValueSet(values.values) where !graph.outputs.contains(value) { graph.outputs.append(value) }
    self.graph = graph.pruned()
    self.values = values
  }

  private static func captured(_ capture: Capture, _ graph: inout Graph) throws(GraphError) -> ValueID {
    var value = capture.value
    if graph.type(value).elementType != .float32 { value = try graph.add(.cast(.float32), value) }
    switch capture.order {
    case .asItLies: return value
    case .transposed: return try graph.add(.transpose(permutation: [1, 0]), value)
    case .channelsLast:
      let rank = graph.shape(value).rank
      return try graph.add(.transpose(permutation: [0] + Array(2..<rank) + [1]), value)
    }
  }
}

/// A value, and the order in which its elements are captured.
private struct Capture: Hashable {
  enum Order { case asItLies, transposed, channelsLast }
  var value: ValueID
  var order: Order
}

extension TraceLayer {
  fileprivate func order(in graph: Graph) -> Capture.Order {
    if case .transposedInput = form { return .transposed }
    if case .convolution = graph.nodes[node].operation { return .channelsLast }
    return .asItLies
  }
}

extension TraceLayer {
  /// The captured input as its solver reads it: [images, height, width, channels].
  func solverInput(_ captured: Tensor, images: Int) -> Tensor {
    captured.reshaped(
      to: [images, geometry.source[0], geometry.source[1], geometry.groups * geometry.channels])
  }
}
