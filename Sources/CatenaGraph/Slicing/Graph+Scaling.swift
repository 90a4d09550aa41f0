import CatenaTensors

/// Factors for the channels of a value.
public struct ChannelFactors: Sendable, Hashable {
  /// The value.
  public var value: ValueID
  /// The axis of the channels; `nil` for one factor for all of the value.
  public var axis: Int?
  /// One factor per channel, or one.
  public var factors: [Float]

  /// Factors along `axis` of `value`.
  public init(value: ValueID, axis: Int?, factors: [Float]) {
    self.value = value
    self.axis = axis
    self.factors = factors
  }
}

/// A product that was inserted behind a value.
struct InsertedProduct {
  var factor: ValueID
  var result: ValueID
}

extension Graph {
  /// The graph with explicit products: behind each listed value stands a multiplication by a constant, rounded to the
  /// value's element type, that every reader, and the graph's outputs, see instead. No other constant changes.
  /// - Returns: The graph, and the constants, in the order of `scales`.
  /// - Throws: when a channel does not exist or a value is a constant.
  public func scaling(_ scales: [ChannelFactors]) throws(GraphError) -> (graph: Graph, constants: [ValueID]) {
    var products: [(value: ValueID, factor: Tensor)] = []
    for scale in scales {
      guard values.indices.contains(scale.value.index), constants[scale.value] == nil else {
        throw .invalid("\(scale.value) cannot be scaled: it is no computed value of the graph")
      }
      let type = type(scale.value)
      var shape = Shape([Int](repeating: 1, count: type.shape.rank))
      if let axis = scale.axis, type.shape.dimensions.indices.contains(axis) { shape[axis] = type.shape[axis] }
      guard shape.elementCount == scale.factors.count, type.elementType.isFloatingPoint else {
        throw .invalid("'\(self[scale.value].name)' (\(type)) cannot be scaled by \(scale.factors.count) factors")
      }
      let factor = Tensor(doubles: scale.factors.map(Double.init), shape: shape, elementType: type.elementType)
      products.append((scale.value, factor))
    }
    let result = try inserting(products, constant: "soft", product: "scaled")
    return (result.graph, result.products.map(\.factor))
  }

  /// Multiplies each value by its constant, one after the other where a value is listed again.
  func inserting(
    _ products: [(value: ValueID, factor: Tensor)], constant: String, product: String
  ) throws(GraphError) -> (graph: Graph, products: [InsertedProduct]) {
    var result = self
    var replaced: ValueMap<ValueID> = [:]
    var added: ValueMap<[Node]> = [:]
    var inserted: [InsertedProduct] = []
    for (index, (value, factor)) in products.enumerated() {
      let id = result.addConstant("\(self[value].name)/\(constant)\(index)", factor)
      let data = replaced[value] ?? value
      let output = try result.add(.binary(.multiply), data, id, name: "\(self[value].name)/\(product)\(index)")
      replaced[value] = output
      added[value, default: []].append(result.nodes[result.nodes.count - 1])
      inserted.append(InsertedProduct(factor: id, result: output))
    }
    var ordered = inputs.flatMap { added[$0] ?? [] }
    for node in nodes {
      var node = node
      node.inputs = node.inputs.map { replaced[$0] ?? $0 }
      ordered.append(node)
      ordered += node.outputs.flatMap { added[$0] ?? [] }
    }
    result.rebuild(nodes: ordered, constants: result.constants)
    result.outputs = outputs.map { replaced[$0] ?? $0 }
    return (result, inserted)
  }
}
