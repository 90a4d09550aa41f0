import CatenaTensors

/// How one constant of a sliced graph follows from one of the original.
public struct ConstantSlice: Sendable, Hashable, Codable {
  /// The constant in the original graph.
  public var original: ValueID
  /// The constant in the sliced graph; differs where two readers of one original needed different cuts.
  public var result: ValueID
  /// Per axis, the original indices that are kept, ascending; `nil` means all.
  public var kept: [[Int]?]
  /// The weight of a grouped convolution: per kept group, the original indices on axis 1 that are kept, instead of
  /// `kept[1]`. The kept indices on axis 0 fall into as many equal runs, one per group.
  public var keptByGroup: [[Int]]?
  /// Per axis, the original indices whose slices are set to zero.
  public var zeros: [[Int]]
  /// New elements, for indices of a gather, which are renumbered.
  public var renumbered: [Int]?

  init(original: ValueID, rank: Int) {
    self.original = original
    result = original
    kept = [[Int]?](repeating: nil, count: rank)
    zeros = [[Int]](repeating: [], count: rank)
  }

  /// A record read from a file; the caller has checked that it fits the constant.
  package init(original: ValueID, kept: [[Int]?], keptByGroup: [[Int]]?, zeros: [[Int]], renumbered: [Int]?) {
    self.original = original
    result = original
    self.kept = kept
    self.keptByGroup = keptByGroup
    self.zeros = zeros
    self.renumbered = renumbered
  }

  /// Whether the constant is the original, unchanged.
  public var isIdentity: Bool {
    keptByGroup == nil && renumbered == nil && kept.allSatisfy { $0 == nil } && zeros.allSatisfy(\.isEmpty)
  }

  /// The constant of the sliced graph, made from the original.
  /// - Precondition: the record belongs to a tensor of this shape.
  public func applied(to tensor: Tensor) -> Tensor {
    precondition(kept.count == tensor.shape.rank, "the record is one of a constant with \(kept.count) axes")
    var shape = tensor.shape
    for (axis, indices) in kept.enumerated() {
      if let indices { shape[axis] = indices.count }
    }
    if let keptByGroup { shape[1] = keptByGroup[0].count }
    if let renumbered {
      return Tensor(doubles: renumbered.map(Double.init), shape: shape, elementType: tensor.elementType)
    }
    return Tensor(elementType: tensor.elementType, shape: shape) { bytes in
      tensor.withUnsafeBytes { copy($0, from: tensor.shape, to: bytes, shape, width: tensor.elementType.byteCount) }
    }
  }

  /// Copies element by element, or run by run along the last axes that nothing is taken from. Zeros are not written:
  /// the result starts as zeros.
  private func copy(
    _ source: UnsafeRawBufferPointer, from original: Shape, to target: UnsafeMutableRawBufferPointer,
    _ shape: Shape, width: Int
  ) {
    let chosen = (kept.indices.last { kept[$0] != nil || !zeros[$0].isEmpty || ($0 == 1 && keptByGroup != nil) } ?? -1)
    let rank = chosen + 1
    let run = original.count(of: rank..<original.rank) * width
    guard run > 0, shape.elementCount > 0 else { return }
    let strides = original.strides.map { $0 * width }
    let isZero = (0..<rank).map { axis in
      let zeros = Set(zeros[axis])
      return (0..<original.dimensions[axis]).map(zeros.contains)
    }
    var position = [Int](repeating: 0, count: rank)
    for row in 0..<shape.count(of: 0..<rank) {
      var offset = 0
      var isCopied = true
      for axis in 0..<rank {
        let index = originalIndex(axis, position, shape)
        offset += index * strides[axis]
        if isZero[axis][index] { isCopied = false }
      }
      if isCopied {
        target.baseAddress!.advanced(by: row * run)
          .copyMemory(from: source.baseAddress!.advanced(by: offset), byteCount: run)
      }
      for axis in (0..<rank).reversed() {
        position[axis] += 1
        if position[axis] < shape.dimensions[axis] { break }
        position[axis] = 0
      }
    }
  }

  private func originalIndex(_ axis: Int, _ position: [Int], _ shape: Shape) -> Int {
    if axis == 1, let keptByGroup {
      return keptByGroup[position[0] / (shape.dimensions[0] / keptByGroup.count)][position[1]]
    }
    return kept[axis].map { $0[position[axis]] } ?? position[axis]
  }
}

/// What slicing did to a graph: enough to make every constant of the sliced graph again from the original's, and to say
/// what each of its channels was.
public struct SliceRecord: Sendable, Hashable, Codable {
  /// A value's channels that are left.
  public struct KeptChannels: Sendable, Hashable, Codable {
    /// The value, in both graphs.
    public var value: ValueID
    /// The axis.
    public var axis: Int
    /// The extent in the original graph.
    public var originalExtent: Int
    /// The original indices that are left, ascending.
    public var indices: [Int]
  }
  /// Dead channels that had to stay, fed by zeros.
  public struct UncutChannels: Sendable, Hashable, Codable {
    /// The value at whose zeroing point they are dead.
    public var value: ValueID
    /// The axis.
    public var axis: Int
    /// Original indices, ascending.
    public var indices: [Int]
    /// Why.
    public var reason: KeepReason
    /// The first output of the node that demanded it, if one did.
    public var demandedBy: ValueID?
  }
  /// An explicit product with zeros and ones, where no constant could make the channels zero.
  public struct Factor: Sendable, Hashable, Codable {
    /// The value in front.
    public var value: ValueID
    /// The constant of zeros and ones.
    public var factor: ValueID
    /// The product, which all readers see.
    public var result: ValueID
    /// The axis of the zeros; `nil` when the factor is one zero for all of the value.
    public var axis: Int?
    /// Original indices on `axis` whose factor is 0, all others' is 1.
    public var zeros: [Int]
  }
  /// Readers of a value that now read another.
  public struct Rewiring: Sendable, Hashable, Codable {
    /// What was read.
    public var from: ValueID
    /// What is read instead.
    public var to: ValueID
  }

  /// Every constant of the sliced graph but the factors.
  public internal(set) var constants: [ConstantSlice] = []
  /// Every value that is left and whose extent changed; not the axis along which each of attention's heads keeps other
  /// channels, which is told where the heads are one axis with their channels.
  public internal(set) var values: [KeptChannels] = []
  /// The first outputs of nodes that are gone.
  public internal(set) var removedNodes: [ValueID] = []
  /// Sums of which one operand was zero, replaced by the other.
  public internal(set) var rewired: [Rewiring] = []
  /// Explicit products.
  public internal(set) var factors: [Factor] = []
  /// Dead channels that stayed.
  public internal(set) var uncut: [UncutChannels] = []
  /// Channels of mixing operators that were not asked to be zero but went because nobody reads them.
  public internal(set) var unread: [ZeroedChannels] = []

  /// What is left of `axis` of `value`, `nil` when all of it is.
  public func kept(_ value: ValueID, axis: Int) -> [Int]? {
    values.first { $0.value == value && $0.axis == axis }?.indices
  }
}

/// A smaller graph and how it was made.
public struct SlicedGraph: Sendable {
  /// The graph: the same values, nodes and names, with smaller types, constants and parameters.
  public var graph: Graph
  /// What was done.
  public var record: SliceRecord
}
