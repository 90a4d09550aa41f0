import CatenaGraph
import CatenaTensors

extension Graph {
  /// The graph with every node replaced by constants whose inputs are all constants. Ids and types of values stay.
  /// - Parameter maximumElements: Nodes with a larger output are left, so that folding an expansion costs no memory.
  /// - Throws: `GraphError` for a node that cannot be evaluated.
  public func foldingConstants(maximumElements: Int? = nil) throws(GraphError) -> Graph {
    var known = constants
    var remaining: [Node] = []
    for node in nodes {
      let isSmall = node.outputs.allSatisfy { shape($0).elementCount <= maximumElements ?? Int.max }
      guard isSmall, node.inputs.allSatisfy({ known[$0] != nil }) else {
        remaining.append(node)
        continue
      }
      for (output, tensor) in zip(node.outputs, try Reference.evaluate(node, of: self, known, .declared)) {
        known[output] = tensor
      }
    }
    var result = self
    result.rebuild(nodes: remaining, constants: known)
    return result.pruned()
  }
}
