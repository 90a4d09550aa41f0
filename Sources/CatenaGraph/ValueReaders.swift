/// The nodes that read each value of a graph, by index, ascending; a node that reads a value twice is listed twice.
public struct ValueReaders: Sendable {
  /// All readers, those of one value side by side.
  private let nodes: [Int]
  /// Where each value's readers begin, and where those of the last one end.
  private let starts: [Int]

  init(of graph: Graph) {
    var starts = [Int](repeating: 0, count: graph.values.count + 1)
    for index in graph.nodes.indices {
      for input in graph.nodes[index].inputs { starts[input.index + 1] += 1 }
    }
    for index in starts.indices.dropFirst() { starts[index] += starts[index - 1] }
    var next = starts
    var nodes = [Int](repeating: 0, count: starts[graph.values.count])
    for index in graph.nodes.indices {
      for input in graph.nodes[index].inputs {
        nodes[next[input.index]] = index
        next[input.index] += 1
      }
    }
    (self.nodes, self.starts) = (nodes, starts)
  }

  /// The readers of a value.
  public subscript(value: ValueID) -> ArraySlice<Int> { nodes[starts[value.index]..<starts[value.index + 1]] }
}
