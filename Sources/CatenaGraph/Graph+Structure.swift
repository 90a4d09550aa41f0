import CatenaTensors

extension Graph {
  /// The index of the node that makes each value; inputs and constants have none.
  public func producers() -> ValueMap<Int> {
    var producers: ValueMap<Int> = [:]
    for index in nodes.indices {
      for output in nodes[index].outputs { producers[output] = index }
    }
    return producers
  }

  /// The nodes that read each value.
  public func readers() -> ValueReaders { ValueReaders(of: self) }

  /// The graph without nodes and constants that no output needs. Inputs stay.
  public func pruned() -> Graph {
    var needed = ValueSet(outputs)
    var kept: [Int] = []
    for index in nodes.indices.reversed() where nodes[index].outputs.contains(where: needed.contains) {
      kept.append(index)
      needed.formUnion(nodes[index].inputs)
    }
    if kept.count == nodes.count, constants.keys.allSatisfy(needed.contains) { return self }
    var result = self
    result.rebuild(
      nodes: kept.count == nodes.count ? nodes : kept.reversed().map { nodes[$0] },
      constants: constants.filter { needed.contains($0.key) })
    return result
  }

  /// Reads `new` wherever a node (or the list of outputs) reads `old`.
  public func replacingUses(of old: ValueID, with new: ValueID) -> Graph {
    precondition(type(old) == type(new), "\(type(old)) cannot be replaced by \(type(new))")
    var result = self
    result.rebuild(
      nodes: nodes.map { node in
        var node = node
        node.inputs = node.inputs.map { $0 == old ? new : $0 }
        return node
      }, constants: constants)
    result.outputs = outputs.map { $0 == old ? new : $0 }
    return result
  }

  /// Throws unless every value is made before it is read and once only, and every type follows from its node.
  public func checkInvariants() throws(GraphError) {
    var known = ValueSet(inputs).union(constants.keys)
    for node in nodes {
      for input in node.inputs where !known.contains(input) {
        throw .invalid("\(node.operation.name) reads \(self[input].name) (\(input)) before it is made")
      }
      let types: [TensorType]
      do throws(ShapeError) { types = try node.operation.outputTypes(of: node.inputs.map { type($0) }) } catch {
        throw .shape(
          operation: node.operation.name, output: node.outputs.first.map { self[$0].name } ?? "",
          inputs: node.inputs.map { self[$0] }, reason: error.reason)
      }
      for (output, expected) in zip(node.outputs, types) {
        guard known.insert(output).inserted else {
          throw .invalid("\(self[output].name) (\(output)) is made twice")
        }
        guard type(output) == expected else {
          throw .invalid("\(self[output].name) is \(type(output)) but \(node.operation.name) makes \(expected)")
        }
      }
    }
    for output in outputs where !known.contains(output) {
      throw .invalid("the output \(self[output].name) (\(output)) is never made")
    }
  }
}

extension Graph: CustomStringConvertible {
  /// One line per node, for people.
  public var description: String {
    nodes.map { node in
      let outputs = node.outputs.map { "\($0) '\(self[$0].name)' \(type($0))" }.joined(separator: ", ")
      return "\(outputs) = \(node.operation)(\(node.inputs.map(\.description).joined(separator: ", ")))"
    }.joined(separator: "\n")
  }
}
