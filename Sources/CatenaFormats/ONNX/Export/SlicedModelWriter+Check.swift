import CatenaGraph
import CatenaReference
import CatenaTensors

extension SlicedModelWriter {
  /// Imports the result and throws unless every one of the file's nodes became what the derived graph says. What follows
  /// behind the derived graph's outputs, as a softmax, gives the same type.
  func check(_ result: ONNXModel, batch: Int) throws(ONNXError) {
    let graph = try result.graph(batch: batch)
    // Where nodes of the file make a weight, the derived graph may have what they make.
    let constants: ValueMap<Tensor>
    do throws(GraphError) {
      constants = try graph.constants.merging(graph.foldingConstants().constants) { own, _ in own }
    } catch {
      throw .notExpressible("\(error)")
    }
    var groups: [String: [Node]] = [:]
    for node in graph.nodes {
      guard let source = node.source, let name = result.proto.graph.node[source].output.first else { continue }
      groups[name, default: []].append(node)
    }
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
