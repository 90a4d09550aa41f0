import CatenaGraph
import CatenaTensors

extension Graph {
  /// The graph with every batch norm that alone reads a convolution's output folded into that convolution's weight and
  /// bias. The values after the norms keep their ids; what a convolution gave before its norm no longer exists.
  ///
  /// Relevance is shared among the inputs of a folded layer by what they contribute behind the norm.
  public func foldingBatchNormalizations() throws(GraphError) -> Graph {
    var graph = self
    let (producers, readers) = (self.producers(), self.readers())
    for node in nodes {
      guard case .batchNormalization(let epsilon) = node.operation, let source = producers[node.inputs[0]],
        case .convolution = nodes[source].operation, readers[node.inputs[0]].count == 1,
        !outputs.contains(node.inputs[0]), let affine = affineNormalization(node, epsilon: epsilon),
        let weight = constants[nodes[source].inputs[1]]
      else { continue }
      let bias = nodes[source].inputs.count == 3 ? constants[nodes[source].inputs[2]] : nil
      if nodes[source].inputs.count == 3, bias == nil { continue }
      let (scale, shift) = (affine.scale.doubles, affine.shift.doubles)
      let perFilter = weight.elementCount / scale.count
      let folded = weight.doubles.enumerated().map { $1 * scale[$0 / perFilter] }
      let biases = shift.indices.map { shift[$0] + scale[$0] * (bias?.doubles[$0] ?? 0) }
      let name = self[node.inputs[0]].name
      let operands = [
        nodes[source].inputs[0],
        graph.addConstant(
          "\(name)/folded", Tensor(doubles: folded, shape: weight.shape, elementType: weight.elementType)),
        graph.addConstant(
          "\(name)/folded bias",
          Tensor(doubles: biases, shape: Shape([biases.count]), elementType: weight.elementType)),
      ]
      graph = graph.replacing(
        node, by: Node(nodes[source].operation, inputs: operands, outputs: node.outputs, source: node.source))
    }
    return graph.pruned()
  }

  private func replacing(_ node: Node, by other: Node) -> Graph {
    var result = self
    result.rebuild(nodes: nodes.map { $0 == node ? other : $0 }, constants: constants)
    return result
  }
}
