import CatenaGraph

extension Graph {
  /// Lets the gradient of a gated ReLU find its mask in the gate's output, so that ReLU's own output need not be kept
  /// and both are done where the values are made.
  ///
  /// For y = gate(relu(x), s) the gradient of x is g * s where relu(x) > 0. That is where y is not 0, or s is 0 and so
  /// the gradient too. Returns the changed graph and the gradients that are to be masked by "is not 0".
  func maskingByGatedOutputs(observed: ValueSet) -> (graph: Graph, masked: ValueSet) {
    let producers = producers()
    let readers = readers()
    var nodes = nodes
    var masked: ValueSet = []
    for node in self.nodes {
      guard case .unary(.relu) = node.operation, !observed.contains(node.outputs[0]),
        let (gate, gradients) = gatedUses(of: node.outputs[0], readers, producers)
      else { continue }
      for gradient in gradients {
        nodes[gradient].inputs[1] = nodes[gate].outputs[0]
        masked.insert(nodes[gradient].outputs[0])
      }
    }
    var result = self
    result.rebuild(nodes: nodes, constants: constants)
    return (result, masked)
  }

  /// The gate node and the gradient nodes that read a ReLU's output, when they fit together and nobody else reads it.
  private func gatedUses(
    of value: ValueID, _ readers: ValueReaders, _ producers: ValueMap<Int>
  ) -> (gate: Int, gradients: [Int])? {
    let uses = readers[value]
    let gates = uses.filter { index in
      if case .gate = nodes[index].operation { nodes[index].inputs[0] == value } else { false }
    }
    let gradients = uses.filter { index in
      nodes[index].operation == .unaryGradient(.relu) && nodes[index].inputs[1] == value
        && nodes[index].inputs[0] != value
    }
    guard let gate = gates.first, gates.count == 1, !gradients.isEmpty, uses.count == 1 + gradients.count else {
      return nil
    }
    let fits = gradients.allSatisfy { gradient in
      guard let maker = producers[nodes[gradient].inputs[0]] else { return false }
      return nodes[maker].operation == nodes[gate].operation && nodes[maker].inputs[1] == nodes[gate].inputs[1]
        && gate < gradient
    }
    return fits ? (gate, gradients) : nil
  }
}
