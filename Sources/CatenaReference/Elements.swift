import CatenaGraph
import CatenaTensors

// Loops run over plain pointers with `while`: both are cheap in builds without optimisation too, in which most tests
// run.

extension Tensor {
  /// The elements of a floating-point tensor.
  /// - Throws: when the tensor holds integers or bools, which `operand` cannot be.
  func reals(_ operand: String = "data") throws(EvaluationError) -> [Double] {
    guard elementType.isFloatingPoint else {
      throw EvaluationError(reason: "\(operand) must be floating-point, not \(elementType.rawValue)")
    }
    return convertedToDoubles()
  }

  /// The elements as doubles, as `doubles`, but quick for the floating-point types that are met most.
  func convertedToDoubles() -> [Double] {
    switch elementType {
    case .float64: elements(of: Double.self)
    case .float32:
      withElements(of: Float.self) { source in
        [Double](unsafeUninitializedCapacity: source.count) { target, count in
          count = source.count
          guard let from = source.baseAddress, let to = target.baseAddress else { return }
          var index = 0
          while index < source.count {
            to[index] = Double(from[index])
            index += 1
          }
        }
      }
    default: doubles
    }
  }

  /// A tensor of `type` whose elements are `reals`, rounded once.
  init(reals: [Double], _ type: TensorType) {
    guard type.elementType == .float32 else {
      self.init(doubles: reals, shape: type.shape, elementType: type.elementType)
      return
    }
    precondition(reals.count == type.shape.elementCount, "\(reals.count) elements do not fill \(type.shape)")
    self.init(elementType: .float32, shape: type.shape) { bytes in
      guard let to = bytes.bindMemory(to: Float.self).baseAddress else { return }
      convert(reals, to: to, count: reals.count)
    }
  }

  /// The elements at `sources` under `shape`, whatever their type; -1 takes zero bytes, or `filler`'s only element.
  func gathered(_ sources: [Int], shape: Shape, filler: Tensor? = nil) -> Tensor {
    switch elementType.byteCount {
    case 1: gathered(sources, shape: shape, filler: filler, as: UInt8.self)
    case 2: gathered(sources, shape: shape, filler: filler, as: UInt16.self)
    case 4: gathered(sources, shape: shape, filler: filler, as: UInt32.self)
    default: gathered(sources, shape: shape, filler: filler, as: UInt64.self)
    }
  }

  private func gathered<Word: FixedWidthInteger>(
    _ sources: [Int], shape: Shape, filler: Tensor?, as word: Word.Type
  ) -> Tensor {
    let blank = filler.map { $0.withUnsafeBytes { $0.load(as: Word.self) } } ?? 0
    return withUnsafeBytes { from in
      Tensor(elementType: elementType, shape: shape) { to in
        let from = from.bindMemory(to: Word.self)
        let to = to.bindMemory(to: Word.self)
        for (index, source) in sources.enumerated() { to[index] = source < 0 ? blank : from[source] }
      }
    }
  }
}

private func convert(_ from: UnsafePointer<Double>, to: UnsafeMutablePointer<Float>, count: Int) {
  var index = 0
  while index < count {
    to[index] = Float(from[index])
    index += 1
  }
}

/// `count` values, each made from its index.
func makeReals(_ count: Int, _ value: (Int) -> Double) -> [Double] {
  [Double](unsafeUninitializedCapacity: count) { target, initialized in
    initialized = count
    guard let to = target.baseAddress else { return }
    var index = 0
    while index < count {
      to[index] = value(index)
      index += 1
    }
  }
}

// MARK: Indices

/// The offsets of all elements of a box in row-major order, when axis `a`'s index `i` lies at `positions[a][i]`, which
/// counts in units of `strides[a]`. A negative position on any axis makes the whole offset -1: there is no element.
func offsets(positions: [[Int]], strides: [Int]) -> [Int] {
  var result = [0]
  for (axis, list) in positions.enumerated() {
    let stride = strides[axis]
    let steps = list.map { $0 < 0 ? -1 : $0 * stride }
    var next: [Int] = []
    next.reserveCapacity(result.count * steps.count)
    for offset in result {
      for step in steps { next.append(offset < 0 || step < 0 ? -1 : offset + step) }
    }
    result = next
  }
  return result
}

/// The offsets of all elements of a box of these extents in row-major order.
func offsets(of dimensions: [Int], strides: [Int]) -> [Int] {
  offsets(positions: dimensions.map { Array(0..<$0) }, strides: strides)
}

/// The offsets at which a tensor of `shape` is read when it is broadcast to `target`.
func broadcastOffsets(_ shape: Shape, to target: Shape) -> [Int] {
  if shape == target { return Array(0..<shape.elementCount) }
  return offsets(of: target.dimensions, strides: shape.broadcastStrides(to: target))
}

/// A tensor's elements as groups that share their index on all axes but `axes`.
struct AxisGroups {
  /// The offset of each group's first element; groups in row-major order of the other axes.
  var starts: [Int]
  /// The offsets of a group's elements from its first, in row-major order of `axes`.
  var members: [Int]

  init(_ shape: Shape, axes: [Int]) {
    let strides = shape.strides
    let inner = shape.dimensions.indices.filter(axes.contains)
    let outer = shape.dimensions.indices.filter { !axes.contains($0) }
    starts = offsets(of: outer.map { shape[$0] }, strides: outer.map { strides[$0] })
    members = offsets(of: inner.map { shape[$0] }, strides: inner.map { strides[$0] })
  }
}

/// Advances `index` to the next one of a box in row-major order.
func advance(_ index: inout [Int], in dimensions: [Int]) {
  for axis in dimensions.indices.reversed() {
    index[axis] += 1
    if index[axis] < dimensions[axis] { return }
    index[axis] = 0
  }
}
