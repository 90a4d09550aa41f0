import CatenaTensors

/// Channels of a value of which every reader is to see zeros: where a gate with value 0 would stand, at the end of a
/// unit's per-channel chain.
public struct ZeroedChannels: Sendable, Hashable, Codable {
  /// The value.
  public var value: ValueID
  /// The axis of the channels.
  public var axis: Int
  /// The dead indices on `axis`, ascending.
  public var indices: [Int]

  /// Channels `indices` on `axis` of `value`.
  public init(value: ValueID, axis: Int, indices: [Int]) {
    self.value = value
    self.axis = axis
    self.indices = Set(indices).sorted()
  }
}

extension ValueID: Codable {
  /// Reads the index.
  public init(from decoder: any Decoder) throws {
    self.init(index: try decoder.singleValueContainer().decode(Int.self))
  }

  /// Writes the index.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(index)
  }
}

/// All that is to be zeroed in a graph, by value.
struct Zeroing: Sendable {
  private var byValue: ValueMap<[Int: Set<Int>]> = [:]
  /// Values that are dead as a whole.
  private(set) var values: ValueSet

  init(_ channels: [ZeroedChannels], values: [ValueID], in graph: Graph) throws(GraphError) {
    self.values = ValueSet(values)
    for value in values {
      guard graph.values.indices.contains(value.index), graph.constants[value] == nil else {
        throw .invalid("\(value) cannot be zeroed: it is no computed value of the graph")
      }
    }
    for entry in channels {
      guard graph.values.indices.contains(entry.value.index), graph.constants[entry.value] == nil else {
        throw .invalid("\(entry.value) cannot be zeroed: it is no computed value of the graph")
      }
      let shape = graph.shape(entry.value)
      guard shape.dimensions.indices.contains(entry.axis),
        entry.indices.allSatisfy((0..<shape.dimensions[entry.axis]).contains)
      else {
        throw .invalid(
          "'\(graph[entry.value].name)' (\(shape)) has no channels \(entry.indices) on an axis \(entry.axis)")
      }
      byValue[entry.value, default: [:]][entry.axis, default: []].formUnion(entry.indices)
    }
  }

  func touches(_ value: ValueID) -> Bool { byValue[value] != nil || values.contains(value) }

  /// The zeroed indices of a value, by axis.
  func channels(of value: ValueID) -> [Int: Set<Int>] { byValue[value] ?? [:] }

  /// The zeroed channels, in order of the values.
  var channels: [ZeroedChannels] {
    byValue.sorted { $0.key < $1.key }.flatMap { value, axes in
      axes.sorted { $0.key < $1.key }.map { ZeroedChannels(value: value, axis: $0.key, indices: $0.value.sorted()) }
    }
  }

  /// Leaves these channels, and whole values, to explicit factors.
  mutating func remove(_ channels: [ZeroedChannels], values: [ValueID]) {
    for entry in channels { byValue[entry.value]?[entry.axis]?.subtract(entry.indices) }
    self.values.subtract(ValueSet(values))
  }
}

extension Graph {
  /// The same graph with explicit products: behind each listed value stands a multiplication by a constant of zeros and
  /// ones that every reader, and the graph's outputs, see instead. The meaning of a cut, uncut.
  /// - Throws: when a channel does not exist.
  public func zeroing(_ channels: [ZeroedChannels], values: [ValueID] = []) throws(GraphError) -> Graph {
    try insertingFactors(Zeroing(channels, values: values, in: self)).graph
  }

  func insertingFactors(_ zeroing: Zeroing) throws(GraphError) -> (graph: Graph, factors: [SliceRecord.Factor]) {
    let tensors = factorTensors(zeroing)
    let result = try inserting(
      tensors.map { (value: $0.value, factor: $0.tensor) }, constant: "zeros", product: "zeroed")
    let factors = zip(tensors, result.products).map { factor, product in
      SliceRecord.Factor(
        value: factor.value, factor: product.factor, result: product.result, axis: factor.axis, zeros: factor.zeros)
    }
    return (result.graph, factors)
  }

  private func factorTensors(_ zeroing: Zeroing) -> [(tensor: Tensor, value: ValueID, axis: Int?, zeros: [Int])] {
    var result: [(tensor: Tensor, value: ValueID, axis: Int?, zeros: [Int])] = []
    for entry in zeroing.channels where !entry.indices.isEmpty {
      let type = type(entry.value)
      var shape = Shape([Int](repeating: 1, count: type.shape.rank))
      shape[entry.axis] = type.shape[entry.axis]
      let dead = Set(entry.indices)
      let factors = (0..<shape.elementCount).map { dead.contains($0) ? 0.0 : 1 }
      let tensor = Tensor(doubles: factors, shape: shape, elementType: type.elementType)
      result.append((tensor, entry.value, entry.axis, entry.indices))
    }
    for value in zeroing.values.sorted() {
      result.append((Tensor(zeros: .scalar, elementType: type(value).elementType), value, nil, []))
    }
    return result
  }
}
