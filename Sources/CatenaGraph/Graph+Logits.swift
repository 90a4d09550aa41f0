extension Graph {
  /// The value that a final softmax reads, or the output itself.
  package func logits(behind output: ValueID) -> ValueID {
    var value = output
    while let node = nodes.last(where: { $0.outputs.contains(value) }) {
      value = node.inputs.first ?? value
      switch node.operation {
      case .softmax, .logSoftmax: return value
      case .identity, .reshape: continue
      default: return output
      }
    }
    return output
  }
}
