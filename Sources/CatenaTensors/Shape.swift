/// The extents of a tensor, outermost axis first; a scalar has none.
public struct Shape: Sendable, Hashable, Codable {
  /// The extent of each axis, never negative.
  public var dimensions: [Int]

  /// A shape of the given extents.
  public init(_ dimensions: [Int]) {
    precondition(dimensions.allSatisfy { $0 >= 0 }, "a shape has no negative extent: \(dimensions)")
    self.dimensions = dimensions
  }

  /// The shape of a scalar: no axes, one element.
  public static let scalar = Shape([])

  /// The number of axes.
  public var rank: Int { dimensions.count }

  /// The number of elements: the product of the extents, 1 for a scalar.
  public var elementCount: Int { dimensions.reduce(1, *) }

  /// The extent of `axis`; a negative axis counts from the end, as in ONNX.
  public subscript(axis: Int) -> Int {
    get { dimensions[axis < 0 ? axis + rank : axis] }
    set { dimensions[axis < 0 ? axis + rank : axis] = newValue }
  }

  /// Row-major strides in elements.
  public var strides: [Int] {
    var strides = [Int](repeating: 1, count: rank)
    for axis in stride(from: rank - 2, through: 0, by: -1) {
      strides[axis] = strides[axis + 1] * dimensions[axis + 1]
    }
    return strides
  }

  /// The product of the extents of `axes`.
  public func count(of axes: Range<Int>) -> Int { dimensions[axes].reduce(1, *) }

  /// The shape that both broadcast to under numpy's (and ONNX's multidirectional) rule, or `nil` when there is none.
  public func broadcast(with other: Shape) -> Shape? {
    let rank = max(rank, other.rank)
    var result = [Int](repeating: 1, count: rank)
    for axis in 0..<rank {
      let left = axis < rank - self.rank ? 1 : dimensions[axis - (rank - self.rank)]
      let right = axis < rank - other.rank ? 1 : other.dimensions[axis - (rank - other.rank)]
      guard left == right || left == 1 || right == 1 else { return nil }
      result[axis] = left == 1 ? right : left
    }
    return Shape(result)
  }

  /// Strides with which a tensor of this shape is read as if it had the shape `target` it broadcasts to: 0 on
  /// repeated axes.
  public func broadcastStrides(to target: Shape) -> [Int] {
    let own = strides
    let offset = target.rank - rank
    precondition(offset >= 0, "\(self) does not broadcast to \(target)")
    return (0..<target.rank).map { axis in
      axis < offset || dimensions[axis - offset] == 1 ? 0 : own[axis - offset]
    }
  }
}

extension Shape: ExpressibleByArrayLiteral {
  /// A shape from a literal such as `[1, 3, 224, 224]`.
  public init(arrayLiteral elements: Int...) { self.init(elements) }
}

extension Shape: CustomStringConvertible {
  /// The extents joined by `x`, as in `1x3x224x224`; `scalar` for none.
  public var description: String {
    dimensions.isEmpty ? "scalar" : dimensions.map(String.init).joined(separator: "x")
  }
}
