extension Graph {
  /// Splits off what depends on one input and on constants alone, so that it is computed once where that input stays and
  /// others change.
  ///
  /// Ids keep their meaning in both graphs.
  /// - Returns: The part, which reads `input` alone and whose outputs are what else is computed from it, and the rest, which
  ///   has these as inputs and, unless it reads it itself, no longer `input`; `nil` where there is no such part.
  public func splitting(offWhatDependsOn input: ValueID) -> (part: Graph, rest: Graph)? {
    var fixed = ValueSet(constants.keys)
    var dependent: ValueSet = [input]
    var (inside, outside): ([Node], [Node]) = ([], [])
    for node in nodes {
      let dependsOnInput = node.inputs.contains(where: dependent.contains)
      if !node.inputs.allSatisfy({ fixed.contains($0) || dependent.contains($0) }) {
        outside.append(node)
      } else if dependsOnInput {
        inside.append(node)
        dependent.formUnion(node.outputs)
      } else {
        // Of constants alone: both graphs may need it.
        inside.append(node)
        outside.append(node)
        fixed.formUnion(node.outputs)
      }
    }
    let read = ValueSet(outside.flatMap(\.inputs)).union(outputs).intersection(dependent)
    let border = read.subtracting([input]).sorted()
    guard !border.isEmpty else { return nil }
    var (part, rest) = (self, self)
    part.rebuild(nodes: inside, constants: constants, inputs: [input])
    part.outputs = border
    rest.rebuild(
      nodes: outside, constants: constants,
      inputs: inputs.flatMap { $0 != input ? [$0] : border + (read.contains(input) ? [input] : []) })
    return (part.pruned(), rest.pruned())
  }
}
