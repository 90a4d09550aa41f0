import CatenaGraph
import CatenaTensors

extension Slice {
  /// The offset in a tensor of `shape` of each element of the slice.
  func sources(in shape: Shape) -> [Int] {
    let positions = shape.dimensions.indices.map { axis in (0..<sizes[axis]).map { starts[axis] + $0 * steps[axis] } }
    return offsets(positions: positions, strides: shape.strides)
  }
}

extension Pad {
  /// The offset in a tensor of `shape` of each element of the padded tensor, -1 where it holds the constant.
  func sources(in shape: Shape) throws(EvaluationError) -> [Int] {
    var positions: [[Int]] = []
    for axis in shape.dimensions.indices { positions.append(try self.positions(axis, extent: shape[axis])) }
    return offsets(positions: positions, strides: shape.strides)
  }

  /// Negative amounts crop first; what is left is mirrored, repeated or wrapped.
  private func positions(_ axis: Int, extent: Int) throws(EvaluationError) -> [Int] {
    let count = extent + begins[axis] + ends[axis]
    let kept = max(0, -begins[axis])..<max(0, -begins[axis], extent - max(0, -ends[axis]))
    if count > 0, kept.isEmpty, mode.repeatsData {
      throw EvaluationError(reason: "axis \(axis) is cropped to nothing: there is nothing to repeat")
    }
    return (0..<count).map { index in
      let source = index - begins[axis]
      return kept.contains(source) ? source : position(outside: source - kept.lowerBound, kept)
    }
  }

  /// Where the element comes from that lies at `offset` from the start of the kept elements, before or after them.
  private func position(outside offset: Int, _ kept: Range<Int>) -> Int {
    switch mode {
    case .constant: return -1
    case .edge: return offset < 0 ? kept.lowerBound : kept.upperBound - 1
    case .wrap: return kept.lowerBound + floorRemainder(offset, kept.count)
    case .reflect:
      guard kept.count > 1 else { return kept.lowerBound }
      let period = 2 * (kept.count - 1)
      let phase = floorRemainder(offset, period)
      return kept.lowerBound + min(phase, period - phase)
    }
  }
}

extension Pad.Mode {
  fileprivate var repeatsData: Bool {
    if case .constant = self { false } else { true }
  }
}

/// The remainder that is not negative, of a positive divisor.
private func floorRemainder(_ value: Int, _ divisor: Int) -> Int {
  let remainder = value % divisor
  return remainder < 0 ? remainder + divisor : remainder
}

extension Reference {
  static func padded(_ pad: Pad, _ data: Tensor, _ type: TensorType) throws(EvaluationError) -> Tensor {
    var filler: Tensor?
    if case .constant(let value) = pad.mode {
      filler = Tensor(doubles: [value], shape: .scalar, elementType: data.elementType)
    }
    return try data.gathered(pad.sources(in: data.shape), shape: type.shape, filler: filler)
  }

  static func concatenate(
    _ axis: Int, _ inputs: [Tensor], _ type: TensorType
  ) throws(EvaluationError) -> Tensor {
    guard inputs.allSatisfy({ $0.elementType == type.elementType }) else {
      throw EvaluationError(reason: "the inputs differ in element type")
    }
    // An outer index has one contiguous run of bytes in each input.
    let outer = type.shape.count(of: 0..<axis)
    return Tensor(elementType: type.elementType, shape: type.shape) { target in
      var position = 0
      for index in 0..<outer {
        for input in inputs {
          let run = input.byteCount / outer
          input.withUnsafeBytes { source in
            let part = UnsafeRawBufferPointer(rebasing: source[index * run..<(index + 1) * run])
            UnsafeMutableRawBufferPointer(rebasing: target[position..<position + run]).copyMemory(from: part)
          }
          position += run
        }
      }
    }
  }

  static func split(_ axis: Int, _ data: Tensor, _ types: [TensorType]) -> [Tensor] {
    var start = 0
    return types.map { type in
      let part = Slice(start..<start + type.shape[axis], axis: axis, of: data.shape)
      start += type.shape[axis]
      return data.gathered(part.sources(in: data.shape), shape: type.shape)
    }
  }

  static func transpose(_ permutation: [Int], _ data: Tensor, _ type: TensorType) -> Tensor {
    let strides = data.shape.strides
    return data.gathered(
      offsets(of: type.shape.dimensions, strides: permutation.map { strides[$0] }), shape: type.shape)
  }

  static func expand(_ data: Tensor, _ type: TensorType) -> Tensor {
    data.gathered(broadcastOffsets(data.shape, to: type.shape), shape: type.shape)
  }

  /// The offset in a tensor of `shape` of each gathered element.
  static func gatherSources(_ shape: Shape, _ axis: Int, _ indices: Tensor) throws(EvaluationError) -> [Int] {
    guard indices.elementType == .int64 || indices.elementType == .int32 else {
      throw EvaluationError(reason: "indices must be int32 or int64, not \(indices.elementType.rawValue)")
    }
    var selected: [Int] = []
    for index in indices.integers {
      guard (-shape[axis]..<shape[axis]).contains(index) else {
        throw EvaluationError(reason: "index \(index) is out of range for axis \(axis) of \(shape)")
      }
      selected.append(index < 0 ? index + shape[axis] : index)
    }
    let inner = shape.count(of: axis + 1..<shape.rank)
    let positions = [Array(0..<shape.count(of: 0..<axis)), selected, Array(0..<inner)]
    return offsets(positions: positions, strides: [shape[axis] * inner, inner, 1])
  }

  /// Adds element i of `gradient` to element `targets[i]` of a tensor of zeros; -1 is left out.
  static func scatterSum(
    _ gradient: Tensor, to targets: [Int], _ type: TensorType
  ) throws(EvaluationError) -> Tensor {
    let gradient = try gradient.reals("the gradient")
    var sums = [Double](repeating: 0, count: type.shape.elementCount)
    for (index, target) in targets.enumerated() where target >= 0 { sums[target] += gradient[index] }
    return Tensor(reals: sums, type)
  }
}
