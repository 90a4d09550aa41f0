import CatenaTensors

/// The geometry that convolutions and pools share, with automatic padding resolved.
struct Window {
  var strides: [Int]
  var dilations: [Int]
  var padsBegin: [Int]
  var padsEnd: [Int]

  init(
    _ node: ImportedNode, data: [Int], kernel: [Int], ignoresAutomaticPadding: Bool = false
  ) throws(NodeFailure) {
    let rank = data.count
    let parameters = 1...ONNXLimits.parameter
    try requireParameters("kernel_shape", kernel, count: rank, in: parameters)
    strides = try node.ints("strides") ?? [Int](repeating: 1, count: rank)
    try requireParameters("strides", strides, count: rank, in: parameters)
    dilations = try node.ints("dilations") ?? [Int](repeating: 1, count: rank)
    try requireParameters("dilations", dilations, count: rank, in: parameters)
    let pads = try node.ints("pads") ?? [Int](repeating: 0, count: 2 * rank)
    try requireParameters("pads", pads, count: 2 * rank, in: -ONNXLimits.parameter...ONNXLimits.parameter)
    padsBegin = Array(pads[..<rank])
    padsEnd = Array(pads[rank...])
    let automatic = try node.string("auto_pad", default: "NOTSET")
    guard ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"].contains(automatic) else {
      throw .invalid("auto_pad '\(automatic)' does not exist")
    }
    guard automatic != "NOTSET", !ignoresAutomaticPadding else { return }
    for axis in 0..<rank {
      let span = (kernel[axis] - 1) * dilations[axis] + 1
      let extent = (data[axis] + strides[axis] - 1) / strides[axis]
      let total = automatic == "VALID" ? 0 : max(0, (extent - 1) * strides[axis] + span - data[axis])
      padsBegin[axis] = automatic == "SAME_UPPER" ? total / 2 : total - total / 2
      padsEnd[axis] = total - padsBegin[axis]
    }
  }
}

/// Throws unless there are `count` numbers, all within `range`.
func requireParameters(
  _ name: String, _ values: [Int], count: Int, in range: ClosedRange<Int>
) throws(NodeFailure) {
  guard values.count == count else { throw .invalid("\(name) has \(values.count) entries where \(count) are needed") }
  guard let bad = values.first(where: { !range.contains($0) }) else { return }
  throw .invalid("\(name) holds \(bad), which is outside \(range.lowerBound)...\(range.upperBound)")
}

/// Throws when `shape` has too few axes.
func requireRank(_ shape: Shape, atLeast rank: Int, _ role: String) throws(NodeFailure) {
  guard shape.rank < rank else { return }
  throw .invalid("the \(role) needs \(rank) axes or more, it is \(shape)")
}

/// The axis counted from the front.
func normalizedAxis(_ axis: Int, rank: Int) throws(NodeFailure) -> Int {
  guard axis >= -rank, axis < rank else { throw .invalid("axis \(axis) is out of range for \(rank) axes") }
  return axis < 0 ? axis + rank : axis
}

/// The axes counted from the front, ascending.
func normalizedAxes(_ axes: [Int], rank: Int) throws(NodeFailure) -> [Int] {
  var result: [Int] = []
  for axis in axes { result.append(try normalizedAxis(axis, rank: rank)) }
  guard Set(result).count == result.count else { throw .invalid("an axis is listed twice in \(axes)") }
  return result.sorted()
}
