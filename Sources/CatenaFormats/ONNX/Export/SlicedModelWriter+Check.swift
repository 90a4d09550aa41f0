import CatenaGraph
import CatenaReference
import CatenaTensors

extension SlicedModelWriter {
  /// Imports the result and throws unless every one of the file's nodes became what the derived graph says. What follows
  /// behind the derived graph's outputs, as a softmax, gives the same type.
  func check(_ result: ONNXModel, batch: Int) throws(ONNXError) {
    let graph = try result.graph(batch: batch)
    let constants = try folded(graph)
    let groups = groups(of: result, graph)
    for (index, kept) in slicedGroups.sorted(by: { $0.key < $1.key }) {
      guard let name = model.proto.graph.node[index].output.first, let made = groups[name] else {
        throw failure(index, "it is missing in the file")
      }
      guard made.map(\.operation) == kept.map(\.operation) else {
        throw failure(
          index, "the file would say \(made.map(\.operation)) where the graph says \(kept.map(\.operation))")
      }
      for (node, wanted) in zip(made, kept) {
        try checkOperands(graph, constants, node, wanted, index)
        for (output, expected) in zip(node.outputs, wanted.outputs) where graph.type(output) != sliced.type(expected) {
          throw failure(
            index, "the file would make \(graph.type(output)) where the graph makes \(sliced.type(expected))")
        }
      }
    }
    for (output, wanted) in zip(graph.outputs, sliced.outputs) where graph.type(output) != sliced.type(wanted) {
      throw .notExpressible("the file would give \(graph.type(output)) where the graph gives \(sliced.type(wanted))")
    }
  }

  /// The constants that the file would compute anew from extents that were cut, as attention's scale from the channels of
  /// a head, and that are to stay what they were. Not those in which the batch has a part.
  func recomputed(_ result: ONNXModel, batch: Int) throws(ONNXError) -> ValueSet {
    let graph = try result.graph(batch: batch)
    let constants = try folded(graph)
    let groups = groups(of: result, graph)
    var found: ValueSet = []
    for (index, kept) in slicedGroups {
      guard let name = model.proto.graph.node[index].output.first, let made = groups[name] else { continue }
      for (position, (node, wanted)) in zip(made, kept).enumerated() {
        for (slot, (input, expected)) in zip(node.inputs, wanted.inputs).enumerated() where names[expected] != nil {
          guard let before = original.constants[expected], let constant = sliced.constants[expected],
            let stored = constants[input], !stored.isBitIdentical(to: constant)
          else { continue }
          if let otherBatch {
            guard let other = otherGroups[index], other.indices.contains(position),
              other[position].inputs.indices.contains(slot),
              otherBatch.constants[other[position].inputs[slot]]?.isBitIdentical(to: before) == true
            else { continue }
          }
          found.insert(expected)
        }
      }
    }
    return found
  }

  /// The graph's constants and, where nodes of the file make a weight, what they make, which the derived graph may have.
  private func folded(_ graph: Graph) throws(ONNXError) -> ValueMap<Tensor> {
    do throws(GraphError) {
      return try graph.constants.merging(graph.foldingConstants().constants) { own, _ in own }
    } catch {
      throw .notExpressible("\(error)")
    }
  }

  /// The nodes of a model's graph by the first output of the file's node that they are parts of.
  private func groups(of result: ONNXModel, _ graph: Graph) -> [String: [Node]] {
    var groups: [String: [Node]] = [:]
    for node in graph.nodes {
      guard let source = node.source, let name = result.proto.graph.node[source].output.first else { continue }
      groups[name, default: []].append(node)
    }
    return groups
  }

  private func checkOperands(
    _ graph: Graph, _ constants: ValueMap<Tensor>, _ node: Node, _ wanted: Node, _ index: Int
  ) throws(ONNXError) {
    for (input, expected) in zip(node.inputs, wanted.inputs) {
      if let name = names[expected], graph[input].name != name {
        throw failure(index, "the file would read '\(graph[input].name)' where the graph reads '\(name)'")
      }
      guard let constant = sliced.constants[expected] else { continue }
      guard let stored = constants[input], stored.isBitIdentical(to: constant) else {
        throw failure(index, "the file would hold another value of '\(sliced[expected].name)'")
      }
    }
  }
}
