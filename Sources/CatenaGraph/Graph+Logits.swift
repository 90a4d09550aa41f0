extension Graph {
  /// The value that a final softmax reads, or the output itself.
  package func logits(behind output: ValueID) -> ValueID {
    guard let last = lastComputation(of: output) else { return output }
    switch last.operation {
    case .softmax, .logSoftmax: return last.inputs[0]
    default: return output
    }
  }

  /// Whether an output is probabilities that do not add up to 1: of labels, of which several may hold.
  package func endsInSigmoid(_ output: ValueID) -> Bool {
    if case .unary(.sigmoid)? = lastComputation(of: output)?.operation { true } else { false }
  }

  /// The last node that does more to a value than to give it another shape.
  private func lastComputation(of output: ValueID) -> Node? {
    var value = output
    while let node = nodes.last(where: { $0.outputs.contains(value) }) {
      switch node.operation {
      case .identity, .reshape: value = node.inputs[0]
      default: return node
      }
    }
    return nil
  }
}
