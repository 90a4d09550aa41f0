import CatenaTensors

/// Names a value of a graph. Ids are never reused: an id means the same value in all graphs derived from one another.
public struct ValueID: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// Index into `Graph.values`.
  public let index: Int

  /// The value at `index` of `Graph.values`.
  public init(index: Int) { self.index = index }

  /// Order of creation.
  public static func < (left: ValueID, right: ValueID) -> Bool { left.index < right.index }

  /// `%` and the index.
  public var description: String { "%\(index)" }
}

/// Element type and shape of a value.
public struct TensorType: Sendable, Hashable, CustomStringConvertible {
  /// The type of the elements.
  public var elementType: ElementType
  /// The extents, all known: a graph is made for one batch size.
  public var shape: Shape

  /// A type.
  public init(_ elementType: ElementType, _ shape: Shape) {
    self.elementType = elementType
    self.shape = shape
  }

  /// As in `float32 1x3x32x32`.
  public var description: String { "\(elementType.rawValue) \(shape)" }
}

/// What is known of a value before the graph runs.
public struct Value: Sendable, Hashable {
  /// The name in the source file, or one derived from it; not necessarily unique.
  public var name: String
  /// Element type and shape.
  public var type: TensorType

  /// A named value.
  public init(name: String, type: TensorType) {
    self.name = name
    self.type = type
  }
}

/// One operation on values.
public struct Node: Sendable, Hashable {
  /// What it computes.
  public var operation: Operator
  /// Operands, in the order that the operator's documentation lists.
  public var inputs: [ValueID]
  /// Results.
  public var outputs: [ValueID]
  /// The node of the source file that this node stands for; several may share one, and nodes that a transformation
  /// added have none.
  public var source: Int?

  /// A node.
  public init(_ operation: Operator, inputs: [ValueID], outputs: [ValueID], source: Int? = nil) {
    self.operation = operation
    self.inputs = inputs
    self.outputs = outputs
    self.source = source
  }
}

/// A network: nodes in an order in which they can run, on values of known types.
///
/// A graph is a value. Gating, differentiation, weight replacement, folding and slicing are functions from graphs to
/// graphs; whatever runs is a graph. It is made for one batch size: import makes another for another.
public struct Graph: Sendable {
  /// All values ever made, indexed by `ValueID`; some may no longer be used.
  public private(set) var values: [Value] = []
  /// The nodes; each stands behind the producers of its inputs.
  public private(set) var nodes: [Node] = []
  /// Values that are fixed, shared by reference.
  public private(set) var constants: ValueMap<Tensor> = [:]
  /// Values that the caller gives.
  public private(set) var inputs: [ValueID] = []
  /// Values that the caller wants.
  public var outputs: [ValueID] = []

  /// An empty graph.
  public init() {}

  /// What is known of a value.
  public subscript(id: ValueID) -> Value { values[id.index] }

  /// A value's element type and shape.
  public func type(_ id: ValueID) -> TensorType { values[id.index].type }

  /// A value's shape.
  public func shape(_ id: ValueID) -> Shape { values[id.index].type.shape }

  /// Adds an input.
  public mutating func addInput(_ name: String, _ type: TensorType) -> ValueID {
    let id = addValue(Value(name: name, type: type))
    inputs.append(id)
    return id
  }

  /// Adds a constant.
  public mutating func addConstant(_ name: String, _ tensor: Tensor) -> ValueID {
    let id = addValue(Value(name: name, type: TensorType(tensor.elementType, tensor.shape)))
    constants[id] = tensor
    return id
  }

  /// Adds a node with one output, whose type follows from its inputs.
  public mutating func add(
    _ operation: Operator, _ inputs: ValueID..., name: String? = nil, source: Int? = nil
  ) throws(GraphError) -> ValueID {
    try add(operation, inputs: inputs, names: name.map { [$0] } ?? [], source: source)[0]
  }

  /// Adds a node; the types of its outputs follow from its inputs. Outputs without a name are named after the first
  /// input and the operator.
  public mutating func add(
    _ operation: Operator, inputs: [ValueID], names: [String] = [], source: Int? = nil
  ) throws(GraphError) -> [ValueID] {
    let types: [TensorType]
    do throws(ShapeError) {
      types = try operation.outputTypes(of: inputs.map { type($0) })
    } catch {
      throw GraphError.shape(
        operation: operation.name, output: names.first ?? "", inputs: inputs.map { self[$0] }, reason: error.reason)
    }
    let base = inputs.first.map { self[$0].name } ?? ""
    let outputs = types.enumerated().map { index, type in
      addValue(Value(name: index < names.count ? names[index] : "\(base)/\(operation.name)", type: type))
    }
    nodes.append(Node(operation, inputs: inputs, outputs: outputs, source: source))
    return outputs
  }

  /// Replaces a constant by another of the same type: weights of a trace, of a chain.
  public mutating func replaceConstant(_ id: ValueID, with tensor: Tensor) {
    precondition(constants[id] != nil, "\(id) is no constant")
    precondition(type(id) == TensorType(tensor.elementType, tensor.shape), "a replaced constant keeps its type")
    constants[id] = tensor
  }

  private mutating func addValue(_ value: Value) -> ValueID {
    values.append(value)
    return ValueID(index: values.count - 1)
  }

  // MARK: For rewrites inside this module

  /// Replaces everything but the values' identity; the caller answers for order and types. `checkInvariants` verifies.
  package mutating func rebuild(
    nodes: [Node], constants: ValueMap<Tensor>, types: ValueMap<TensorType> = [:], inputs: [ValueID]? = nil
  ) {
    self.nodes = nodes
    self.constants = constants
    if let inputs { self.inputs = inputs }
    for (id, type) in types { values[id.index].type = type }
  }

  /// Names, types, inputs and outputs only: what is left to know of a compiled graph, without holding its constants.
  /// - Parameter inputs: `nil` for the graph's own.
  package func interface(inputs: [ValueID]? = nil) -> Graph {
    var result = self
    result.rebuild(nodes: [], constants: [:], inputs: inputs)
    return result
  }
}
