import CatenaTensors

/// What is known of a value before it is computed: for each axis and index the number that all elements there equal.
/// NaN stands for "live": not known, or not one number.
struct AxisConstants: Sendable {
  /// Per axis, per index.
  var axes: [[Double]]
  /// The number that all elements equal.
  var whole: Double

  /// Nothing is known.
  init(live shape: Shape) {
    axes = shape.dimensions.map { [Double](repeating: .nan, count: $0) }
    whole = .nan
  }

  /// What a tensor shows.
  init(_ tensor: Tensor) {
    self.init(live: tensor.shape)
    let values = tensor.doubles
    var (lows, highs) = (axes, axes)
    for (position, stride) in tensor.shape.strides.enumerated() {
      let extent = tensor.shape.dimensions[position]
      for (index, value) in values.enumerated() {
        let place = index / stride % extent
        // A NaN element makes the comparison below fail, as it must.
        lows[position][place] = lows[position][place] < value ? lows[position][place] : value
        highs[position][place] = highs[position][place] > value ? highs[position][place] : value
      }
      axes[position] = zip(lows[position], highs[position]).map { $0 == $1 ? $0 : .nan }
    }
    if let first = values.first, values.allSatisfy({ $0 == first }) { whole = first }
    close()
  }

  /// Draws the conclusions: what holds of all indices of an axis holds of the whole, and the other way round. Numbers
  /// that are not finite count as not known.
  mutating func close() {
    if !whole.isFinite {
      whole = .nan
      for axis in axes {
        if let first = axis.first, axis.allSatisfy({ $0 == first }), first.isFinite { whole = first }
      }
    }
    for axis in axes.indices {
      for index in axes[axis].indices {
        if whole.isFinite { axes[axis][index] = whole } else if !axes[axis][index].isFinite { axes[axis][index] = .nan }
      }
    }
  }

  /// What is known where this value, broadcast to `rank` axes, has `index` on `axis`.
  func broadcast(axis: Int, of rank: Int, index: Int) -> Double {
    let own = axis - (rank - axes.count)
    if own < 0 { return whole }
    return axes[own].count == 1 ? axes[own][0] : axes[own][index]
  }
}
