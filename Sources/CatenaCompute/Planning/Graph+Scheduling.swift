import CatenaGraph

extension Graph {
  /// The same nodes in an order in which everything but the operators that mix channels comes as early as it can.
  ///
  /// A residual sum can be fused with the convolution in front of it when its other operand has been made before that
  /// convolution; a shortcut that a file lists behind the branch would prevent it.
  package func schedulingMixersLate() -> Graph {
    var known = ValueSet(inputs).union(constants.keys)
    var waiting = Array(nodes.indices)
    var order: [Node] = []
    while !waiting.isEmpty {
      var held: [Int] = []
      for index in waiting {
        let isReady = nodes[index].inputs.allSatisfy(known.contains)
        if isReady && !nodes[index].operation.mixesChannels {
          order.append(nodes[index])
          known.formUnion(nodes[index].outputs)
        } else {
          held.append(index)
        }
      }
      guard let next = held.firstIndex(where: { nodes[$0].inputs.allSatisfy(known.contains) }) else {
        precondition(held.isEmpty, "the graph's nodes stand behind the producers of their inputs")
        break
      }
      order.append(nodes[held[next]])
      known.formUnion(nodes[held[next]].outputs)
      held.remove(at: next)
      waiting = held
    }
    var result = self
    result.rebuild(nodes: order, constants: constants)
    return result
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
