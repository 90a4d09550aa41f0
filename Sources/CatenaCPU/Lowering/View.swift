import COneDNN
import CatenaGraph
import CatenaTensors

/// How elements lie in memory.
enum Storage: Hashable {
  case float32, float16, bfloat16, bool, uint8, int8, uint16, int16, uint32, int32, int64, float64

  /// `nil` for types that this back end does not hold.
  init?(_ type: ElementType) {
    switch type {
    case .float32: self = .float32
    case .float16: self = .float16
    case .bfloat16: self = .bfloat16
    case .bool: self = .bool
    case .uint8: self = .uint8
    case .int8: self = .int8
    case .uint16: self = .uint16
    case .int16: self = .int16
    case .uint32: self = .uint32
    case .int32: self = .int32
    case .int64: self = .int64
    case .float64: self = .float64
    case .uint64: return nil
    }
  }

  var byteCount: Int {
    switch self {
    case .bool, .uint8, .int8: 1
    case .float16, .bfloat16, .uint16, .int16: 2
    case .float32, .uint32, .int32: 4
    case .int64, .float64: 8
    }
  }

  var isFloatingPoint: Bool { self == .float32 || self == .float16 || self == .bfloat16 || self == .float64 }

  /// The kernels' word for it.
  var kernelType: catena_type {
    switch self {
    case .float32: CATENA_F32
    case .float16: CATENA_F16
    case .bfloat16: CATENA_BF16
    case .bool: CATENA_BOOL
    case .uint8: CATENA_U8
    case .int8: CATENA_I8
    case .uint16: CATENA_U16
    case .int16: CATENA_I16
    case .uint32: CATENA_U32
    case .int32: CATENA_I32
    case .int64: CATENA_I64
    case .float64: CATENA_F64
    }
  }
}

/// The order in which the axes of a dense tensor lie in memory, outermost first.
struct AxisOrder: Hashable {
  var order: [Int]

  /// Row-major over the graph's axes.
  static func logical(rank: Int) -> AxisOrder { AxisOrder(order: Array(0..<rank)) }

  /// Batch, spatial axes, channels.
  static func channelsLast(rank: Int) -> AxisOrder {
    rank < 3 ? logical(rank: rank) : AxisOrder(order: [0] + Array(2..<rank) + [1])
  }

  func strides(of shape: Shape) -> [Int] {
    var strides = [Int](repeating: 1, count: shape.rank)
    var step = 1
    for axis in order.reversed() {
      strides[axis] = step
      step *= shape[axis]
    }
    return strides
  }
}

/// Names a piece of memory of a compiled program.
struct BufferID: Hashable { let index: Int }

/// Ascending channels of an image, which memory alone has or a view alone shows.
struct ChannelMap: Hashable {
  var channels: [Int32]
  /// Whether memory has these channels alone and the view has zeros elsewhere; else memory has all, the view these alone.
  var isPlaced: Bool
}

/// A tensor in a buffer: an offset and a stride per axis, in elements. A stride of 0 repeats, a negative one walks back.
struct View {
  var buffer: BufferID
  var offset = 0
  var shape: Shape
  var strides: [Int]
  var storage: Storage
  /// How channels, innermost in memory, are found; their axis then has stride 0. Only element-wise passes read such views,
  /// whoever else gets a copy.
  var map: ChannelMap?

  /// The axes by falling stride: the order of memory of a dense tensor.
  var layout: AxisOrder {
    if map != nil { return .channelsLast(rank: shape.rank) }
    let axes = shape.dimensions.indices
    // Axes of one element have no stride to speak of: they keep their place behind their left neighbour.
    let order = axes.sorted { left, right in
      let (a, b) = (rank(of: left), rank(of: right))
      return a != b ? a > b : left < right
    }
    return AxisOrder(order: order)
  }

  private func rank(of axis: Int) -> Int {
    if shape[axis] > 1 { return abs(strides[axis]) * shape[axis] }
    // The nearest longer axis to the left decides.
    for left in stride(from: axis - 1, through: 0, by: -1) where shape[left] > 1 {
      return abs(strides[left]) * shape[left]
    }
    return Int.max
  }

  /// How a copy without gaps is laid out: in the same order of memory, unless elements repeat.
  var layoutOfCopy: AxisOrder {
    let repeats = zip(shape.dimensions, strides).contains { $0 > 1 && $1 == 0 }
    return repeats ? .logical(rank: shape.rank) : layout
  }

  /// Whether the elements lie as `layout` says, without gaps.
  func isDense(_ layout: AxisOrder) -> Bool {
    guard map == nil else { return false }
    var step = 1
    for axis in layout.order.reversed() {
      guard shape[axis] == 1 || strides[axis] == step else { return false }
      step *= shape[axis]
    }
    return true
  }

  /// Whether the elements lie without gaps and repetition in any order.
  var isDense: Bool { isDense(layout) }

  /// The same elements under another shape, if their strides allow it.
  func reshaped(to target: Shape) -> View? {
    guard shape.elementCount > 0 else { return nil }
    let old = shape.dimensions.indices.filter { shape[$0] != 1 }
    var result = View(
      buffer: buffer, offset: offset, shape: target, strides: [Int](repeating: 1, count: target.rank), storage: storage)
    var position = 0
    var axis = 0
    while axis < target.rank {
      guard target[axis] != 1 else {
        axis += 1
        continue
      }
      // The smallest runs of old and new axes with equal products.
      var (first, next) = (position, axis)
      var (oldCount, newCount) = (shape[old[position]], target[axis])
      position += 1
      axis += 1
      while oldCount != newCount {
        if oldCount < newCount {
          oldCount *= shape[old[position]]
          position += 1
        } else {
          newCount *= target[axis]
          axis += 1
        }
      }
      // Trailing extents of 1 do not matter; within the run, the old axes must be contiguous.
      while first + 1 < position {
        guard strides[old[first]] == strides[old[first + 1]] * shape[old[first + 1]] else { return nil }
        first += 1
      }
      var step = strides[old[position - 1]]
      var run = axis - 1
      while run >= next {
        result.strides[run] = step
        step *= target[run]
        run -= 1
      }
      next = axis
    }
    return result
  }

  /// The same elements, repeated to `target` as broadcasting does.
  func broadcast(to target: Shape) -> View {
    let lead = target.rank - shape.rank
    var result = self
    result.shape = target
    result.strides = (0..<target.rank).map { axis in
      axis < lead || shape[axis - lead] == 1 ? 0 : strides[axis - lead]
    }
    return result
  }
}
