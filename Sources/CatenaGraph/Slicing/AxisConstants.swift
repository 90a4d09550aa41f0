import CatenaTensors

/// What is known of a value before it is computed: for each axis and index the number that all elements there equal.
/// NaN stands for "live": not known, or not one number.
struct AxisConstants: Sendable {
  /// Per axis, and behind the axes per bundle; per index.
  var axes: [[Double]]
  /// The number that all elements equal.
  var whole: Double
  private let bundles: [AxisBundle]

  /// Nothing is known.
  init(live shape: Shape, bundles: [AxisBundle] = []) {
    let extents = shape.dimensions + bundles.map(\.combinations.count)
    axes = extents.map { [Double](repeating: .nan, count: $0) }
    whole = .nan
    self.bundles = bundles
  }

  /// The number of axes that are no bundles.
  var rank: Int { axes.count - bundles.count }

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
    if !whole.isFinite { closeBundles() }
  }

  /// What is known of an index of an axis is known of all combinations with it, and the other way round.
  private mutating func closeBundles() {
    for (position, bundle) in bundles.enumerated() {
      let combined = rank + position
      axes[combined] = zip(axes[combined], bundle.combinations.spread(bundle.axes.map { axes[$0] }))
        .map { $0.isNaN ? $1 : $0 }
      for (place, axis) in bundle.axes.enumerated() {
        axes[axis] = zip(axes[axis], bundle.combinations.common(axes[combined], along: place))
          .map { $0.isNaN ? $1 : $0 }
      }
    }
  }

  /// What is known where this value, broadcast to `rank` axes, has `index` on `axis`.
  func broadcast(axis: Int, of rank: Int, index: Int) -> Double {
    let own = axis - (rank - self.rank)
    if own < 0 { return whole }
    return axes[own].count == 1 ? axes[own][0] : axes[own][index]
  }
}

extension Combinations {
  /// What is known of each combination when this is known of the axes' indices, NaN for nothing.
  func spread(_ axes: [[Double]]) -> [Double] {
    (0..<count).map { combination in
      axes.indices.lazy.map { axes[$0][index($0, of: combination)] }.first { !$0.isNaN } ?? .nan
    }
  }

  /// What is known of each index of an axis when this is known of the combinations: the number that all with it equal.
  func common(_ values: [Double], along axis: Int) -> [Double] {
    var result = [Double?](repeating: nil, count: extents[axis])
    for combination in 0..<count {
      let index = index(axis, of: combination)
      // NaN equals nothing, itself included.
      result[index] = result[index].map { $0 == values[combination] ? $0 : .nan } ?? values[combination]
    }
    return result.map { $0 ?? .nan }
  }
}
