import CatenaGraph
import CatenaTensors

extension ONNXModel {
  /// The model of a graph that was derived from this model's: smaller constants, changed parameters, removed and added
  /// nodes, rewired readers.
  ///
  /// Nodes, names, element types, order, operator set and metadata stay the file's. Initialisers are replaced by name,
  /// parameters edited only where they changed, what nothing needs is dropped, an open batch stays open.
  /// - Parameters:
  ///   - sliced: The derived graph; it gives values of `original` the same ids.
  ///   - original: What `graph(batch:)` gave.
  /// - Throws: `ONNXError.notExpressible` when a change has no counterpart. The result is imported again and compared
  ///   with `sliced` before it is returned.
  public func sliced(to sliced: Graph, from original: Graph) throws(ONNXError) -> ONNXModel {
    let batch = original.inputs.first.flatMap { original.shape($0).dimensions.first } ?? 1
    let other = try fixedBatch == nil ? graph(batch: batch + 1) : nil
    var writer = SlicedModelWriter(model: self, original: original, sliced: sliced.pruned(), otherBatch: other)
    var result = try writer.write()
    let recomputed = try writer.recomputed(result, batch: batch)
    if !recomputed.isEmpty {
      writer = SlicedModelWriter(model: self, original: original, sliced: sliced.pruned(), otherBatch: other)
      writer.stated = recomputed
      result = try writer.write()
    }
    try writer.check(result, batch: batch)
    return result
  }
}

/// Edits the messages of a model until they say what a derived graph says.
struct SlicedModelWriter {
  let model: ONNXModel
  let original: Graph
  let sliced: Graph
  /// The nodes of each of the file's nodes, in the original, the derived and the other batch's graph.
  let originalGroups: [Int: [Node]]
  let slicedGroups: [Int: [Node]]
  let otherGroups: [Int: [Node]]
  let otherBatch: Graph?
  /// Names of the values that the written file has.
  private(set) var names: ValueMap<String> = [:]
  var nodes: [Int: Onnx_NodeProto] = [:]
  /// What is read now in place of values of the file.
  private var rewired: [String: String] = [:]
  var writer: NodeWriter
  var initializers: [String: Tensor]
  /// Constants that the file computes, and that initialisers state from now on.
  var stated: ValueSet = []

  init(model: ONNXModel, original: Graph, sliced: Graph, otherBatch: Graph?) {
    self.model = model
    self.original = original
    self.sliced = sliced
    self.otherBatch = otherBatch
    originalGroups = Self.groups(original)
    slicedGroups = Self.groups(sliced)
    otherGroups = otherBatch.map(Self.groups) ?? [:]
    initializers = model.initializers
    let graph = model.proto.graph
    var used = Set(graph.input.map(\.name)).union(graph.initializer.map(\.name))
    for node in graph.node { used.formUnion(node.output) }
    writer = NodeWriter(opset: model.opset, names: used)
  }

  private static func groups(_ graph: Graph) -> [Int: [Node]] {
    var groups: [Int: [Node]] = [:]
    for node in graph.nodes { if let source = node.source { groups[source, default: []].append(node) } }
    return groups
  }

  mutating func write() throws(ONNXError) -> ONNXModel {
    nameValues()
    try replaceConstants()
    for (index, proto) in model.proto.graph.node.enumerated() {
      // Nodes that the graph does not show compute parameters; whether they are still needed is seen at the end.
      guard let group = originalGroups[index] else {
        if nodes[index] == nil { nodes[index] = proto }
        continue
      }
      guard let kept = slicedGroups[index] else { continue }
      var edited = proto
      try rewire(&edited, index, from: group, to: kept)
      try editParameters(of: &edited, index, from: group, to: kept)
      nodes[index] = edited
    }
    rewireParameters()
    for node in sliced.nodes where node.source == nil {
      let inputs = try node.inputs.map { (id) throws(ONNXError) in try name(of: id) }
      try writer.write(node, of: sliced, inputs: inputs, outputs: node.outputs.compactMap { names[$0] })
    }
    return try assembled()
  }

  func failure(_ index: Int, _ reason: String) -> ONNXError {
    .notExpressible("\(model.location(of: index)): \(reason)")
  }

  func name(of id: ValueID) throws(ONNXError) -> String {
    guard let name = names[id] else {
      throw .notExpressible("the value '\(sliced[id].name)' (\(id)) exists inside one of the file's nodes only")
    }
    return name
  }
}

// MARK: Names and constants

extension SlicedModelWriter {
  private mutating func nameValues() {
    for input in original.inputs { names[input] = original[input].name }
    for node in original.nodes {
      guard let source = node.source else { continue }
      let outputs = model.proto.graph.node[source].output
      for output in node.outputs where outputs.contains(original[output].name) { names[output] = original[output].name }
    }
    var made: Set<String> = Set(model.initializers.keys)
    for (index, node) in model.proto.graph.node.enumerated() where originalGroups[index] == nil {
      made.formUnion(node.output)
    }
    for id in original.constants.keys where made.contains(original[id].name) { names[id] = original[id].name }
    for node in sliced.nodes where node.source == nil {
      for output in node.outputs { names[output] = writer.freshName(sliced[output].name) }
    }
  }

  private mutating func replaceConstants() throws(ONNXError) {
    for id in sliced.constants.keys.sorted() {
      guard let tensor = sliced.constants[id] else { continue }
      guard let before = original.constants[id] else {
        // A constant of the transformation: a soft factor, or a second version of one that several nodes share.
        names[id] = writer.addConstant(sliced[id].name, tensor)
        continue
      }
      guard let name = names[id] else { continue }
      if model.initializers[name] != nil {
        initializers[name] = tensor
      } else if stated.contains(id) || !tensor.isBitIdentical(to: before) {
        try replaceComputed(name, with: tensor)
      }
    }
  }

  /// A constant that a node of the file makes: its attribute is edited, or an initialiser takes the node's place.
  private mutating func replaceComputed(_ name: String, with tensor: Tensor) throws(ONNXError) {
    guard let index = model.proto.graph.node.firstIndex(where: { $0.output.contains(name) }) else { return }
    var node = model.proto.graph.node[index]
    if node.opType == "Constant" {
      var attribute = Onnx_AttributeProto()
      attribute.name = "value"
      attribute.type = .tensor
      attribute.t = tensor.proto(named: "")
      node.attribute = [attribute]
    } else {
      guard let position = node.output.firstIndex(of: name) else { return }
      node.output[position] = writer.freshName("\(name)/original")
      initializers[name] = tensor
    }
    nodes[index] = node
  }
}

// MARK: Operands

extension SlicedModelWriter {
  /// What a group reads from outside, in order; constants that belong to the node are left out.
  private func operands(_ group: [Node]) -> [ValueID] {
    let made = ValueSet(group.flatMap(\.outputs))
    return group.flatMap(\.inputs).filter { id in
      !made.contains(id) && (names[id] != nil || (original.constants[id] == nil && sliced.constants[id] == nil))
    }
  }

  private mutating func rewire(
    _ proto: inout Onnx_NodeProto, _ index: Int, from group: [Node], to kept: [Node]
  ) throws(ONNXError) {
    let before = operands(group)
    let after = operands(kept)
    guard before != after else { return }
    let names = try after.map { (id) throws(ONNXError) in try name(of: id) }
    if before.count == after.count {
      for (old, new) in zip(before, names) { rewired[try name(of: old)] = new }
    }
    if before.count != after.count {
      // Operators of any number of operands list nothing else.
      guard ["Concat", "Sum", "Max", "Min"].contains(proto.opType), !after.isEmpty else {
        throw failure(index, "it reads \(after.count) values where the file's node reads \(before.count)")
      }
      proto.input = names
      return
    }
    if group.count == 1 {
      var slot = 0
      for (old, new) in zip(before, names) {
        guard let position = proto.input[slot...].firstIndex(of: try name(of: old)) else {
          throw failure(index, "its operands are in another order than the graph's")
        }
        proto.input[position] = new
        slot = position + 1
      }
      return
    }
    var replacements: [String: String] = [:]
    for (old, new) in zip(before, names) {
      let old = try name(of: old)
      guard replacements.updateValue(new, forKey: old) ?? new == new else {
        throw failure(index, "its operand '\(old)' was replaced by two values")
      }
    }
    proto.input = proto.input.map { replacements[$0] ?? $0 }
  }
}

extension SlicedModelWriter {
  /// Lets what computes parameters, as the shape of a sum, read what everybody else reads in place of a value that is gone.
  private mutating func rewireParameters() {
    var made = Set(nodes.values.flatMap(\.output)).union(initializers.keys)
    made.formUnion(model.proto.graph.input.map(\.name))
    for (index, var node) in nodes where originalGroups[index] == nil {
      node.input = node.input.map { name in made.contains(name) ? name : rewired[name] ?? name }
      nodes[index] = node
    }
  }
}

// MARK: The result

extension SlicedModelWriter {
  private mutating func assembled() throws(ONNXError) -> ONNXModel {
    var proto = model.proto
    var outputs: [Onnx_ValueInfoProto] = []
    for (index, id) in sliced.outputs.enumerated() {
      var info = proto.graph.output[index]
      let wanted = info.name
      let given = try name(of: id)
      if given != wanted, try !readTail(wanted, given, of: original.outputs[index]) {
        // The output keeps its name: whatever made it before no longer does.
        try takeOver(wanted, given)
      }
      info.correctExtents(from: original.shape(original.outputs[index]), to: sliced.shape(id))
      outputs.append(info)
    }
    for (name, tensor) in writer.initializers { initializers[name] = tensor }
    var all = nodes.sorted { $0.key < $1.key }.map(\.value) + writer.nodes
    all = neededNodes(all, outputs: outputs.map(\.name))
    let read = Set(all.flatMap(\.input)).union(outputs.map(\.name))
    let made = Set(all.flatMap(\.output))
    proto.graph.node = all
    proto.graph.output = outputs
    proto.graph.valueInfo = []
    keepInitializers(&proto, read: read, made: made)
    let stored = Set(proto.graph.initializer.map(\.name))
    let order = try topologicalOrder(of: proto.graph, stored: stored)
    proto.graph.node = order.map { proto.graph.node[$0] }
    return try ONNXModel(proto, directory: nil, replacements: initializers.filter { stored.contains($0.key) })
  }

  /// Lets the nodes between the original graph's output and the file's, as the softmax behind logits, read `given`.
  /// - Returns: Whether there are any.
  private mutating func readTail(_ name: String, _ given: String, of output: ValueID) throws(ONNXError) -> Bool {
    let before = try self.name(of: output)
    guard before != name else { return false }
    var pending = [name]
    var (tail, reachesOutput): (Set<Int>, Bool) = ([], false)
    while let next = pending.popLast() {
      if next == before { reachesOutput = true }
      for (index, node) in nodes where originalGroups[index] == nil && next != before && node.output.contains(next) {
        if tail.insert(index).inserted { pending += node.input }
      }
    }
    guard reachesOutput else { return false }
    for index in tail {
      guard var node = nodes[index] else { continue }
      node.input = node.input.map { $0 == before ? given : $0 }
      nodes[index] = node
    }
    return true
  }

  /// Makes `name` a copy of the value called `source`.
  private mutating func takeOver(_ name: String, _ source: String) throws(ONNXError) {
    for (index, node) in nodes {
      guard let position = node.output.firstIndex(of: name) else { continue }
      throw failure(index, "it still makes '\(name)' (output \(position)), which shall be a copy of '\(source)'")
    }
    try writer.add("Identity", [source], [name])
  }

  private func neededNodes(_ nodes: [Onnx_NodeProto], outputs: [String]) -> [Onnx_NodeProto] {
    var producer: [String: Int] = [:]
    for (index, node) in nodes.enumerated() { for output in node.output { producer[output] = index } }
    var needed: Set<Int> = []
    var pending = outputs
    while let name = pending.popLast() {
      guard let index = producer[name], needed.insert(index).inserted else { continue }
      pending += nodes[index].input
    }
    return nodes.enumerated().filter { needed.contains($0.offset) }.map(\.element)
  }

  /// Corrects the headers of the initialisers that are read, appends new ones and drops the rest.
  private func keepInitializers(_ proto: inout Onnx_ModelProto, read: Set<String>, made: Set<String>) {
    let before = Set(proto.graph.initializer.map(\.name))
    let sparse = Set(proto.graph.sparseInitializer.map(\.values.name))
    var kept = proto.graph.initializer.filter { read.contains($0.name) }
    for index in kept.indices {
      guard let tensor = initializers[kept[index].name] else { continue }
      kept[index].dims = tensor.shape.dimensions.map(Int64.init)
    }
    for (name, tensor) in initializers.sorted(by: { $0.key < $1.key }) where read.contains(name) && !made.contains(name)
    {
      if !before.contains(name) { kept.append(Onnx_TensorProto(header: name, tensor)) }
    }
    proto.graph.initializer = kept
    // Initialisers may be listed as inputs, and before version 4 of the representation they must be.
    let names = Set(kept.map(\.name))
    proto.graph.input.removeAll { before.contains($0.name) && !names.contains($0.name) }
    for index in proto.graph.input.indices {
      let name = proto.graph.input[index].name
      guard names.contains(name), let tensor = initializers[name] else { continue }
      proto.graph.input[index] = Onnx_ValueInfoProto(name, TensorType(tensor.elementType, tensor.shape))
    }
    guard proto.irVersion < 4 else { return }
    let listed = Set(proto.graph.input.map(\.name))
    for header in kept where !listed.contains(header.name) && !sparse.contains(header.name) {
      guard let tensor = initializers[header.name] else { continue }
      proto.graph.input.append(Onnx_ValueInfoProto(header.name, TensorType(tensor.elementType, tensor.shape)))
    }
  }
}

extension Onnx_ValueInfoProto {
  /// Rewrites the fixed extents that differ between the two shapes; open ones stay open.
  fileprivate mutating func correctExtents(from old: Shape, to new: Shape) {
    guard old != new, old.rank == new.rank, type.tensorType.shape.dim.count == new.rank else { return }
    for axis in 0..<new.rank where old[axis] != new[axis] {
      guard case .dimValue? = type.tensorType.shape.dim[axis].value else { continue }
      type.tensorType.shape.dim[axis].dimValue = Int64(new[axis])
    }
  }
}
