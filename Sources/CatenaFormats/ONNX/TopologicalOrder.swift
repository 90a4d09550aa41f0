/// The indices of the nodes in an order in which they can run: the file's own where it is one.
///
/// - Throws: When a name is made twice, is read but never made, or when nodes wait for each other.
func topologicalOrder(of graph: Onnx_GraphProto, stored: Set<String>) throws(ONNXError) -> [Int] {
  var ready = stored
  var inputs: Set<String> = []
  for input in graph.input {
    guard inputs.insert(input.name).inserted else { throw .malformed("two inputs are called '\(input.name)'") }
    ready.insert(input.name)
  }
  var producer: [String: Int] = [:]
  for (index, node) in graph.node.enumerated() {
    for output in node.output where !output.isEmpty {
      guard !ready.contains(output), producer.updateValue(index, forKey: output) == nil else {
        throw .malformed("the value '\(output)' is made twice; \(describe(node, index)) is the second to make it")
      }
    }
  }
  func isMade(_ name: String) -> Bool { name.isEmpty || ready.contains(name) || producer[name] != nil }
  for (index, node) in graph.node.enumerated() {
    for input in node.input where !isMade(input) {
      throw .malformed("\(describe(node, index)) reads '\(input)', which nothing makes")
    }
  }
  for output in graph.output where output.name.isEmpty || !isMade(output.name) {
    throw .malformed("nothing makes the network's output '\(output.name)'")
  }
  return try sorted(graph, producer: producer)
}

/// Kahn's algorithm; among nodes that can run, the first of the file comes first.
private func sorted(_ graph: Onnx_GraphProto, producer: [String: Int]) throws(ONNXError) -> [Int] {
  var waiting = [Int](repeating: 0, count: graph.node.count)
  var readers = [[Int]](repeating: [], count: graph.node.count)
  for (index, node) in graph.node.enumerated() {
    for source in Set(node.input.compactMap { producer[$0] }) {
      waiting[index] += 1
      readers[source].append(index)
    }
  }
  var order: [Int] = []
  order.reserveCapacity(graph.node.count)
  // A node that becomes ready behind the cursor is taken at once, the others when the cursor reaches them: an order
  // that was right stays as it is.
  var stack: [Int] = []
  for cursor in graph.node.indices where waiting[cursor] == 0 {
    stack.append(cursor)
    while let index = stack.popLast() {
      guard waiting[index] == 0 else { continue }
      waiting[index] = -1
      order.append(index)
      for reader in readers[index] {
        waiting[reader] -= 1
        if waiting[reader] == 0, reader < cursor { stack.append(reader) }
      }
    }
  }
  guard order.count == graph.node.count else {
    let stuck = waiting.indices.filter { waiting[$0] > 0 }
    let names = stuck.prefix(8).map { describe(graph.node[$0], $0) }.joined(separator: ", ")
    throw .malformed("\(stuck.count) node(s) wait for each other in a cycle: \(names)\(stuck.count > 8 ? ", ..." : "")")
  }
  return order
}

private func describe(_ node: Onnx_NodeProto, _ index: Int) -> String {
  "node \(index) '\(node.name.isEmpty ? node.output.first ?? "" : node.name)' (\(node.opType))"
}
