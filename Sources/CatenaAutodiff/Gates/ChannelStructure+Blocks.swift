import CatenaGraph

extension ChannelStructure {
  /// The residual branch that the node at `index` adds to its shortcut, if it does.
  ///
  /// Both operands must come from a common fork, the latest value that both depend on, by paths that nothing else
  /// enters or leaves (which DenseNets, feature pyramids and sums of plain branches do not meet). The branch is the path
  /// with more mixing operators; with as many on both there is none.
  func block(addedAt index: Int) -> Block? {
    let node = graph.nodes[index]
    guard node.operation == .binary(.add), node.inputs.allSatisfy(active.contains), node.inputs[0] != node.inputs[1],
      graph.shape(node.inputs[0]) == graph.shape(node.inputs[1])
    else { return nil }
    let ancestors = node.inputs.map { self.ancestors(of: $0) }
    let common = ancestors[0].intersection(ancestors[1])
    guard let fork = common.max(by: { position(of: $0) < position(of: $1) }) else { return nil }
    let descendants = self.descendants(of: fork, before: index)
    let paths = ancestors.map { ancestors in
      Set(ancestors.intersection(descendants).subtracting([fork]).compactMap { producers[$0] })
    }
    for (path, exit) in zip(paths, node.inputs)
    where exit != fork && !isEnclosed(path, from: fork, exit: exit, addedAt: index) { return nil }
    let mixing = paths.map { path in
      path.count { graph.mixesChannels(graph.nodes[$0], active: active) }
    }
    guard mixing[0] != mixing[1] else { return nil }
    let branch = mixing[0] > mixing[1] ? 0 : 1
    guard !isInside(node.inputs[branch]) else { return nil }
    return Block(
      name: graph[node.outputs[0]].name, add: index, branch: node.inputs[branch], shortcut: node.inputs[1 - branch],
      nodes: paths[branch].sorted())
  }

  private func position(of value: ValueID) -> Int { producers[value] ?? -1 }

  private func descendants(of value: ValueID, before index: Int) -> ValueSet {
    var result: ValueSet = [value]
    for node in graph.nodes[..<index] where node.inputs.contains(where: result.contains) {
      result.formUnion(node.outputs)
    }
    return result
  }

  /// Whether the nodes read nothing that varies but the fork and each other, and nothing but each other and, at the
  /// exit, the sum reads them.
  private func isEnclosed(_ path: Set<Int>, from fork: ValueID, exit: ValueID, addedAt index: Int) -> Bool {
    path.allSatisfy { member in
      let node = graph.nodes[member]
      let entersOnlyAtFork = node.inputs.allSatisfy { input in
        input == fork || !active.contains(input) || producers[input].map(path.contains) == true
      }
      let leavesOnlyAtExit = node.outputs.allSatisfy { output in
        let uses = readers[output]
        return !graph.outputs.contains(output)
          && uses.allSatisfy { path.contains($0) || (output == exit && $0 == index) }
      }
      return entersOnlyAtFork && leavesOnlyAtExit
    }
  }
}
