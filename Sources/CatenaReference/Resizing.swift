import CatenaGraph
import CatenaTensors

/// One input element that an output element reads on one axis.
private struct Tap {
  var source: Int
  var weight: Double
}

extension Resize {
  /// Where output index `index` of `axis` lies in an input of `extent` elements.
  fileprivate func sourcePosition(_ index: Int, axis: Int, extent: Int) -> Double {
    let position = Double(index)
    let scale = scales[axis]
    switch coordinates {
    case .halfPixel: return (position + 0.5) / scale - 0.5
    case .halfPixelSymmetric:
      let adjustment = Double(sizes[axis]) / (scale * Double(extent))
      let offset = Double(extent) / 2 * (1 - adjustment)
      return offset + (position + 0.5) / scale - 0.5
    case .pytorchHalfPixel: return sizes[axis] > 1 ? (position + 0.5) / scale - 0.5 : 0
    case .alignCorners: return sizes[axis] > 1 ? position * Double(extent - 1) / Double(sizes[axis] - 1) : 0
    case .asymmetric: return position / scale
    }
  }

  /// Whether `axis` keeps its elements as they are.
  fileprivate func keeps(_ axis: Int, extent: Int) -> Bool { sizes[axis] == extent && scales[axis] == 1 }

  /// What each output index of `axis` reads.
  fileprivate func taps(_ axis: Int, extent: Int) -> [[Tap]] {
    (0..<sizes[axis]).map { index in
      if keeps(axis, extent: extent) { return [Tap(source: index, weight: 1)] }
      let position = sourcePosition(index, axis: axis, extent: extent)
      // A comparison that fails for NaN too, which extreme scales can make.
      func clamped(_ source: Double) -> Int { source > 0 ? Int(min(source, Double(extent - 1))) : 0 }
      switch interpolation {
      case .nearest(let rounding): return [Tap(source: clamped(rounding.apply(position)), weight: 1)]
      case .linear:
        // Beyond the border the border's element is repeated.
        let lower = position.rounded(.down)
        let fraction = position - lower
        return [
          Tap(source: clamped(lower), weight: 1 - fraction), Tap(source: clamped(lower + 1), weight: fraction),
        ]
      }
    }
  }
}

extension Resize.Rounding {
  fileprivate func apply(_ position: Double) -> Double {
    switch self {
    case .roundPreferFloor: (position - 0.5).rounded(.up)
    case .roundPreferCeil: (position + 0.5).rounded(.down)
    case .floor: position.rounded(.down)
    case .ceil: position.rounded(.up)
    }
  }
}

extension Reference {
  static func resize(_ parameters: Resize, _ data: Tensor, _ type: TensorType) throws(EvaluationError) -> Tensor {
    guard data.elementCount > 0 else { throw EvaluationError(reason: "an empty tensor cannot be resized") }
    if case .nearest = parameters.interpolation {
      let positions = data.shape.dimensions.indices.map { axis in
        parameters.taps(axis, extent: data.shape[axis]).map { $0[0].source }
      }
      return data.gathered(offsets(positions: positions, strides: data.shape.strides), shape: type.shape)
    }
    var values = data.convertedToDoubles()
    var shape = data.shape
    for axis in shape.dimensions.indices where !parameters.keeps(axis, extent: shape[axis]) {
      let taps = parameters.taps(axis, extent: shape[axis])
      let source = AxisGroups(shape, axes: [axis])
      shape[axis] = taps.count
      let target = AxisGroups(shape, axes: [axis])
      var resized = [Double](repeating: 0, count: shape.elementCount)
      for (from, to) in zip(source.starts, target.starts) {
        for (index, list) in taps.enumerated() {
          for tap in list {
            resized[to + target.members[index]] += tap.weight * values[from + source.members[tap.source]]
          }
        }
      }
      values = resized
    }
    return Tensor(reals: values, type)
  }

  /// Each output element's gradient goes to the elements that it read, by their weights.
  static func resizeGradient(
    _ parameters: Resize, _ gradient: Tensor, _ type: TensorType
  ) throws(EvaluationError) -> Tensor {
    var values = try gradient.reals("the gradient")
    var shape = gradient.shape
    for axis in shape.dimensions.indices where !parameters.keeps(axis, extent: type.shape[axis]) {
      let taps = parameters.taps(axis, extent: type.shape[axis])
      let source = AxisGroups(shape, axes: [axis])
      shape[axis] = type.shape[axis]
      let target = AxisGroups(shape, axes: [axis])
      var sums = [Double](repeating: 0, count: shape.elementCount)
      for (from, to) in zip(source.starts, target.starts) {
        for (index, list) in taps.enumerated() {
          for tap in list { sums[to + target.members[tap.source]] += tap.weight * values[from + source.members[index]] }
        }
      }
      values = sums
    }
    return Tensor(reals: values, type)
  }
}
