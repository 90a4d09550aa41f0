import CatenaGraph
import CatenaTensors

extension Graph {
  /// Without output padding of strided transposed convolutions that reaches behind everything their taps give: with
  /// dilation there may be so much. Lines of zeros, or of the bias, follow in its place.
  func withoutEmptyOutputPadding() throws(GraphError) -> Graph {
    var result = self
    var nodes: [Node] = []
    for node in self.nodes {
      guard case .convolutionTranspose(let transpose) = node.operation, let empty = emptyLines(transpose, node) else {
        nodes.append(node)
        continue
      }
      let before = result.nodes.count
      var shorter = transpose
      for (axis, lines) in empty.enumerated() { shorter.outputPadding[axis] -= lines }
      let (rank, channels) = (shape(node.outputs[0]).rank, shape(node.outputs[0])[1])
      let made = try result.add(.convolutionTranspose(shorter), node.inputs[0], node.inputs[1])
      let pad = Pad(.constant(0), begins: [Int](repeating: 0, count: rank), ends: [0, 0] + empty)
      let padded = try result.add(.pad(pad), made)
      if node.inputs.count > 2 {
        let perChannel = Shape([1, channels] + [Int](repeating: 1, count: rank - 2))
        _ = try result.add(.binary(.add), padded, result.add(.reshape(perChannel), node.inputs[2]))
      }
      nodes += result.nodes[before...]
      nodes[nodes.count - 1].outputs = node.outputs
    }
    result.rebuild(nodes: nodes, constants: result.constants)
    return result
  }

  /// The lines that no tap gives, by axis; `nil` where there are none.
  private func emptyLines(_ transpose: ConvolutionTranspose, _ node: Node) -> [Int]? {
    let convolution = transpose.convolution
    // What is computed as a convolution of stride 1 may have any padding.
    guard constants[node.inputs[1]] == nil || convolution.strides.contains(where: { $0 > 1 }) else { return nil }
    let empty = transpose.outputPadding.indices.map { axis in
      let extra = transpose.outputPadding[axis]
      return extra >= convolution.strides[axis] ? max(0, extra - convolution.padsEnd[axis]) : 0
    }
    return empty.contains { $0 > 0 } ? empty : nil
  }
}
