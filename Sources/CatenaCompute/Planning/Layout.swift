import CatenaTensors

/// The order in which a value's axes lie in memory. Graphs speak of ONNX's axes; kernels for images want the channels
/// innermost.
package enum Layout: Sendable, Hashable {
  /// ONNX's order, the last axis innermost.
  case rowMajor
  /// N, spatial axes, C: axis 1 innermost.
  case channelsLast

  /// The layout to which this one is equal for `shape`: both are one where there is one channel or one position.
  package func canonical(for shape: Shape) -> Layout {
    guard self == .channelsLast, shape.rank >= 3 else { return .rowMajor }
    return shape[1] == 1 || shape.count(of: 2..<shape.rank) == 1 ? .rowMajor : .channelsLast
  }

  /// The logical axes of a tensor of `rank`, outermost in memory first.
  package func axes(rank: Int) -> [Int] {
    self == .channelsLast && rank >= 3 ? [0] + Array(2..<rank) + [1] : Array(0..<rank)
  }

  /// The stride of each logical axis, in elements.
  package func strides(of shape: Shape) -> [Int] {
    var strides = [Int](repeating: 1, count: shape.rank)
    var step = 1
    for axis in axes(rank: shape.rank).reversed() {
      strides[axis] = step
      step *= shape[axis]
    }
    return strides
  }
}
