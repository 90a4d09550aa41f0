import CatenaGraph
import CatenaTensors

extension OperatorImport {
  /// Operators that take tensors apart and put them together.
  static let selections: [OperatorImport] = [
    OperatorImport("Concat", .anything) { importer, node throws(NodeFailure) in
      let operands = try importer.uniformOperands(node)
      guard let axis = try node.int("axis") else { throw .invalid("axis is missing") }
      let position = try normalizedAxis(axis, rank: importer.shape(operands[0]).rank)
      return try importer.emit(.concatenate(axis: position), operands, node)
    },
    OperatorImport("Split", .anything) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      let axis = try normalizedAxis(node.int("axis", default: 0), rank: importer.shape(data).rank)
      let extent = importer.shape(data)[axis]
      let stated = node.opset < 13 ? try node.ints("split") : try importer.knownIntegers(node, 1, "split")
      let sizes = if let stated { stated } else { try equalParts(node, of: extent) }
      guard sizes.count == node.outputs.count else {
        throw .invalid("\(sizes.count) parts are stated for \(node.outputs.count) outputs")
      }
      try requireParameters("split", sizes, count: sizes.count, in: 0...ONNXLimits.extent)
      return try importer.emit(.split(axis: axis, sizes: sizes), [data], node)
    },
    OperatorImport("Slice", .anything) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      let slice = try importer.slice(node, importer.shape(data))
      return try importer.emit(.slice(slice), [data], node)
    },
    OperatorImport("Pad", .anything) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      let pad = try importer.pad(node, importer.shape(data))
      return try importer.emit(.pad(pad), [data], node)
    },
    OperatorImport("Gather", .anything) { importer, node throws(NodeFailure) in
      let operands = try importer.operands(node, count: 2)
      guard [.int32, .int64].contains(importer.type(operands[1]).elementType) else {
        throw .invalid("the indices are \(importer.type(operands[1]).elementType.rawValue)")
      }
      let axis = try normalizedAxis(node.int("axis", default: 0), rank: importer.shape(operands[0]).rank)
      return try importer.emit(.gather(axis: axis), operands, node)
    },
  ]
}

private func equalParts(_ node: ImportedNode, of extent: Int) throws(NodeFailure) -> [Int] {
  let count = try node.opset >= 18 ? node.int("num_outputs") ?? node.outputs.count : node.outputs.count
  guard count > 0, count == node.outputs.count else {
    throw .invalid("num_outputs is \(count) for \(node.outputs.count) outputs")
  }
  guard node.opset >= 18 || extent % count == 0 else {
    throw .invalid("\(extent) elements do not divide into \(count) equal parts")
  }
  let size = (extent + count - 1) / count
  return (0..<count).map { min(size, max(0, extent - $0 * size)) }
}

extension GraphImporter {
  fileprivate mutating func slice(_ node: ImportedNode, _ shape: Shape) throws(NodeFailure) -> Slice {
    let isOld = node.opset < 10
    let starts = isOld ? try node.ints("starts") : try knownIntegers(node, 1, "starts")
    let ends = isOld ? try node.ints("ends") : try knownIntegers(node, 2, "ends")
    guard let starts, let ends else { throw .invalid("starts or ends are missing") }
    let axes = (isOld ? try node.ints("axes") : try knownIntegers(node, 3, "axes")) ?? Array(0..<starts.count)
    let steps =
      (isOld ? nil : try knownIntegers(node, 4, "steps")) ?? [Int](repeating: 1, count: starts.count)
    guard starts.count == ends.count, starts.count == axes.count, starts.count == steps.count else {
      throw .invalid("starts, ends, axes and steps have different lengths")
    }
    _ = try normalizedAxes(axes, rank: shape.rank)
    var slice = Slice(
      starts: [Int](repeating: 0, count: shape.rank), sizes: shape.dimensions,
      steps: [Int](repeating: 1, count: shape.rank))
    for (index, axis) in axes.enumerated() {
      let axis = try normalizedAxis(axis, rank: shape.rank)
      guard steps[index] != 0 else { throw .invalid("the step of axis \(axis) is 0") }
      let range = slicedRange(start: starts[index], end: ends[index], step: steps[index], extent: shape[axis])
      slice.starts[axis] = range.start
      slice.sizes[axis] = range.count
      slice.steps[axis] = range.step
    }
    return slice
  }

  fileprivate mutating func pad(_ node: ImportedNode, _ shape: Shape) throws(NodeFailure) -> Pad {
    let isOld = node.opset < 11
    guard let amounts = isOld ? try node.ints("pads") : try knownIntegers(node, 1, "pads") else {
      throw .invalid("pads are missing")
    }
    let listed = node.opset >= 18 ? try knownIntegers(node, 3, "axes") : nil
    let axes = listed ?? Array(0..<shape.rank)
    _ = try normalizedAxes(axes, rank: shape.rank)
    try requireParameters(
      "pads", amounts, count: 2 * axes.count, in: -ONNXLimits.parameter...ONNXLimits.parameter)
    var begins = [Int](repeating: 0, count: shape.rank)
    var ends = begins
    for (index, axis) in axes.enumerated() {
      let axis = try normalizedAxis(axis, rank: shape.rank)
      begins[axis] = amounts[index]
      ends[axis] = amounts[index + axes.count]
    }
    return Pad(try mode(node, isOld: isOld), begins: begins, ends: ends)
  }

  private mutating func mode(_ node: ImportedNode, isOld: Bool) throws(NodeFailure) -> Pad.Mode {
    switch try node.string("mode", default: "constant") {
    case "constant":
      return .constant(
        isOld ? Double(try node.float("value", default: 0)) : try knownScalar(node, 2, "constant_value") ?? 0)
    case "reflect": return .reflect
    case "edge": return .edge
    case "wrap" where node.opset >= 19: return .wrap
    case let other: throw .invalid("mode '\(other)' does not exist in operator set \(node.opset)")
    }
  }
}

/// The indices that a slice of one axis takes: bounds are cut to the axis, negative ones count from its end.
func slicedRange(start: Int, end: Int, step: Int, extent: Int) -> (start: Int, count: Int, step: Int) {
  let step = min(max(step, -ONNXLimits.extent), ONNXLimits.extent)
  func bounded(_ bound: Int, _ range: ClosedRange<Int>) -> Int {
    min(max(bound < 0 ? bound + extent : bound, range.lowerBound), range.upperBound)
  }
  guard extent > 0 else { return (0, 0, step) }
  let start = bounded(start, step > 0 ? 0...extent : 0...extent - 1)
  let end = bounded(end, step > 0 ? 0...extent : -1...extent - 1)
  let distance = step > 0 ? end - start : start - end
  let count = distance <= 0 ? 0 : (distance + abs(step) - 1) / abs(step)
  return (count == 0 ? 0 : start, count, step)
}
