import CatenaGraph
import CatenaReference
import CatenaTensors

/// Makes a graph of a model, node by node.
///
/// A value is *known* when it follows from the file alone. Known integers and booleans (shape arithmetic, mostly) become
/// constants; known floating-point values stay nodes, so that every weight can be traced to the file, but can be asked
/// for when a parameter needs them.
struct GraphImporter {
  let model: ONNXModel
  private(set) var graph = Graph()
  private var ids: [String: ValueID] = [:]
  /// Names whose producer could not be imported.
  private var missing: Set<String> = []
  private var unsupported: [UnsupportedNode] = []
  /// The nodes of known values that are no constants, and what they evaluated to.
  private var knownNodes: ValueMap<Node> = [:]
  private var evaluated: ValueMap<Tensor> = [:]

  /// Known values are evaluated up to this many elements.
  static let knownElementCount = 65_536

  init(_ model: ONNXModel) { self.model = model }

  /// The whole graph for inputs of these types.
  mutating func run(inputs: [(name: String, type: TensorType)]) throws(ONNXError) -> Graph {
    for input in inputs { ids[input.name] = graph.addInput(input.name, input.type) }
    for index in model.order { try importNode(index) }
    for function in model.proto.functions {
      for (index, node) in model.proto.graph.node.enumerated()
      where node.opType == function.name && node.domain == function.domain {
        note(index, "it calls a function of the model; inline the functions before the export")
      }
    }
    guard unsupported.isEmpty else { throw .unsupported(unsupported.sorted { $0.node.index < $1.node.index }) }
    for output in model.outputs {
      guard let id = value(output.name) else { throw .malformed("nothing makes the output '\(output.name)'") }
      graph.outputs.append(id)
    }
    return graph.pruned()
  }

  private mutating func note(_ index: Int, _ reason: String) {
    let location = model.location(of: index)
    unsupported.removeAll { $0.node == location }
    unsupported.append(UnsupportedNode(node: location, reason: reason))
  }

  private mutating func importNode(_ index: Int) throws(ONNXError) {
    let proto = model.proto.graph.node[index]
    let location = model.location(of: index)
    do throws(NodeFailure) {
      let node = try ImportedNode(proto, location: location, opset: model.opset)
      let entry = try claimed(node, domain: proto.domain)
      // What comes behind a node that is not supported has no types: only the claim can be looked at.
      guard !proto.input.contains(where: missing.contains) else { return missing.formUnion(proto.output) }
      try checkElementType(node, entry)
      let results = try entry.translate(&self, node)
      for (position, name) in proto.output.enumerated() where !name.isEmpty {
        guard position < results.count else { throw .unsupported("its output \(position) is not supported") }
        ids[name] = results[position]
      }
    } catch {
      switch error {
      case .invalid(let reason): throw .node(location, reason: reason)
      case .unsupported(let reason):
        note(index, reason)
        missing.formUnion(proto.output.filter { !$0.isEmpty })
      }
    }
  }

  private func claimed(_ node: ImportedNode, domain: String) throws(NodeFailure) -> OperatorImport {
    guard domain.isEmpty || domain == "ai.onnx" else { throw .unsupported("no operator of this domain is supported") }
    guard let entry = OperatorImport.table[node.location.operatorType] else {
      throw .unsupported("no version of this operator is supported")
    }
    let claim = entry.claim
    guard claim.opsets.contains(model.opset) else {
      throw .unsupported(
        "it is supported in the operator sets \(claim.opsets.lowerBound) to \(claim.opsets.upperBound) only")
    }
    return entry
  }

  private mutating func checkElementType(_ node: ImportedNode, _ entry: OperatorImport) throws(NodeFailure) {
    guard let operand = try operand(node, ifGiven: entry.typedOperand) else { return }
    try check(type(operand).elementType, entry.claim)
  }

  private func check(_ elementType: ElementType, _ claim: OperatorClaim) throws(NodeFailure) {
    guard !claim.elementTypes.contains(elementType) else { return }
    let types = ElementType.allCases.filter(claim.elementTypes.contains).map(\.rawValue).joined(separator: ", ")
    throw .unsupported("its element type is \(elementType.rawValue); supported are \(types)")
  }
}

// MARK: Values

extension GraphImporter {
  func type(_ id: ValueID) -> TensorType { graph.type(id) }
  func shape(_ id: ValueID) -> Shape { graph.shape(id) }

  /// The value of that name; an initialiser joins the graph when it is first read.
  private mutating func value(_ name: String) -> ValueID? {
    if let id = ids[name] { return id }
    guard let tensor = model.initializers[name] else { return nil }
    let id = graph.addConstant(name, tensor)
    ids[name] = id
    return id
  }

  /// Input `index`, which must be given.
  mutating func operand(_ node: ImportedNode, _ index: Int) throws(NodeFailure) -> ValueID {
    guard let id = try operand(node, ifGiven: index) else { throw .invalid("its input \(index) is missing") }
    return id
  }

  /// Input `index`, `nil` when it is left out.
  mutating func operand(_ node: ImportedNode, ifGiven index: Int) throws(NodeFailure) -> ValueID? {
    guard node.has(index) else { return nil }
    let name = node.inputs[index]
    if let reason = model.unusableInitializers[name] {
      throw .unsupported("its input \(index) '\(name)' has \(reason), which is not supported")
    }
    guard let id = value(name) else { throw .invalid("nothing makes its input \(index) '\(name)'") }
    return id
  }

  /// All inputs, which must be given and number `count` or, without a count, at least one.
  mutating func operands(_ node: ImportedNode, count: Int? = nil) throws(NodeFailure) -> [ValueID] {
    guard count.map({ $0 == node.inputs.count }) ?? !node.inputs.isEmpty else {
      throw .invalid("it has \(node.inputs.count) inputs where \(count.map(String.init) ?? "at least 1") are needed")
    }
    var result: [ValueID] = []
    for index in node.inputs.indices { result.append(try operand(node, index)) }
    return result
  }

  /// All inputs, of one element type.
  mutating func uniformOperands(_ node: ImportedNode, count: Int? = nil) throws(NodeFailure) -> [ValueID] {
    let result = try operands(node, count: count)
    try requireOneElementType(result)
    return result
  }

  func requireOneElementType(_ ids: [ValueID]) throws(NodeFailure) {
    let types = ids.map { type($0).elementType }
    guard Set(types).count <= 1 else {
      throw .unsupported("its operands have different element types (\(types.map(\.rawValue).joined(separator: ", ")))")
    }
  }

  /// What input `index` holds, which must follow from the file; `nil` when it is left out.
  mutating func known(_ node: ImportedNode, _ index: Int, _ role: String) throws(NodeFailure) -> Tensor? {
    guard let id = try operand(node, ifGiven: index) else { return nil }
    guard let tensor = try known(id) else {
      throw .unsupported(
        "its input \(index) (\(role), '\(node.inputs[index])') is computed from the network's inputs; it must follow from "
          + "the file alone, or be bound to a value first")
    }
    return tensor
  }

  /// The integers that input `index` holds: a list, or one number.
  mutating func knownIntegers(_ node: ImportedNode, _ index: Int, _ role: String) throws(NodeFailure) -> [Int]? {
    guard let tensor = try known(node, index, role) else { return nil }
    guard tensor.elementType.isInteger, tensor.shape.rank <= 1 else {
      throw .invalid(
        "its input \(index) (\(role)) is \(tensor.elementType.rawValue) \(tensor.shape), not a list of integers")
    }
    return tensor.integers
  }

  /// The value of a scalar parameter.
  mutating func knownScalar(_ node: ImportedNode, _ index: Int, _ role: String) throws(NodeFailure) -> Double? {
    guard let tensor = try known(node, index, role) else { return nil }
    guard tensor.elementCount == 1 else { throw .invalid("its input \(index) (\(role)) is no scalar") }
    return tensor.doubles[0]
  }
}

// MARK: Making nodes

extension GraphImporter {
  /// Adds a node. The results take the names of the file's node when they are its last, else derived ones.
  mutating func emit(
    _ operation: Operator, _ inputs: [ValueID], _ node: ImportedNode, isLast: Bool = true
  ) throws(NodeFailure) -> [ValueID] {
    let types: [TensorType]
    do throws(ShapeError) { types = try operation.outputTypes(of: inputs.map { graph.type($0) }) } catch {
      let operands = inputs.map { "\(graph[$0].name): \(graph.type($0))" }.joined(separator: ", ")
      throw .invalid("\(error.reason) (\(operands))")
    }
    for type in types { _ = try ONNXLimits.shape(type.shape.dimensions.map(Int64.init)) }
    let names = types.indices.map { index in
      isLast && node.wants(index)
        ? node.outputs[index] : "\(node.outputs.first { !$0.isEmpty } ?? node.location.name)/\(operation.name)"
    }
    let isKnown =
      operation.isShapeArithmetic && inputs.allSatisfy { graph.constants[$0] != nil || knownNodes[$0] != nil }
      && types.allSatisfy { $0.shape.elementCount <= Self.knownElementCount }
    if isKnown, types.allSatisfy({ !$0.elementType.isFloatingPoint }) {
      var operands: [Tensor] = []
      for input in inputs {
        guard let operand = try known(input) else { throw .invalid("'\(graph[input].name)' cannot be evaluated") }
        operands.append(operand)
      }
      let results = try evaluate(operation, operands)
      return zip(names, results).map { graph.addConstant($0, $1) }
    }
    do throws(GraphError) {
      let outputs = try graph.add(operation, inputs: inputs, names: names, source: node.location.index)
      if isKnown {
        for output in outputs { knownNodes[output] = Node(operation, inputs: inputs, outputs: outputs) }
      }
      return outputs
    } catch { throw .invalid(error.description) }
  }

  /// Adds a constant that belongs to the node.
  mutating func constant(_ tensor: Tensor, _ node: ImportedNode, isLast: Bool = false, output: Int = 0) -> ValueID {
    let name = node.wants(output) ? node.outputs[output] : node.location.name
    return graph.addConstant(isLast ? name : "\(name)/constant", tensor)
  }

  /// A scalar constant of `elementType`.
  mutating func scalar(_ value: Double, _ elementType: ElementType, _ node: ImportedNode) -> ValueID {
    constant(Tensor(doubles: [value], shape: .scalar, elementType: elementType), node)
  }

  /// One value repeated: a constant while it is small.
  mutating func filled(
    _ scalar: Tensor, _ shape: Shape, _ node: ImportedNode, output: Int = 0
  ) throws(NodeFailure) -> ValueID {
    if shape.elementCount <= Self.knownElementCount {
      let tensor = Tensor(
        doubles: [Double](repeating: scalar.doubles[0], count: shape.elementCount), shape: shape,
        elementType: scalar.elementType)
      return constant(tensor, node, isLast: true, output: output)
    }
    let value = constant(scalar.reshaped(to: .scalar), node)
    return try emit(.expand(shape), [value], node)[0]
  }

  /// What a value holds if it follows from the file.
  mutating func known(_ id: ValueID) throws(NodeFailure) -> Tensor? {
    if let tensor = graph.constants[id] ?? evaluated[id] { return tensor }
    guard knownNodes[id] != nil else { return nil }
    // Depth first with a stack of its own: a file can chain more nodes than the thread's stack bears.
    var pending = [id]
    while let next = pending.last {
      guard let node = knownNodes[next], evaluated[next] == nil else {
        pending.removeLast()
        continue
      }
      let waiting = node.inputs.filter { graph.constants[$0] == nil && evaluated[$0] == nil }
      guard waiting.isEmpty else {
        pending += waiting
        continue
      }
      let operands = node.inputs.compactMap { graph.constants[$0] ?? evaluated[$0] }
      for (output, result) in zip(node.outputs, try evaluate(node.operation, operands)) { evaluated[output] = result }
    }
    return evaluated[id]
  }

  private func evaluate(_ operation: Operator, _ operands: [Tensor]) throws(NodeFailure) -> [Tensor] {
    do throws(GraphError) { return try Reference.evaluate(operation, operands) } catch {
      throw .invalid(error.description)
    }
  }
}

extension Operator {
  /// Operators whose work is bounded by the sizes of their operands and results, so that evaluating a known value
  /// cannot take long.
  fileprivate var isShapeArithmetic: Bool {
    switch self {
    case .unary, .binary, .select, .cast, .identity, .reduce, .argReduce, .concatenate, .split, .slice, .pad, .reshape,
      .transpose, .expand, .gather:
      true
    default: false
    }
  }
}
