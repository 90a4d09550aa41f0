import CatenaGraph
import CatenaTensors

extension OperatorImport {
  /// Upsample and Resize.
  static let resizes: [OperatorImport] = [
    OperatorImport("Upsample", .floats, through: 9) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      let scales = try node.opset < 9 ? node.floats("scales") : importer.knownFloats(node, 1, "scales")
      guard let scales else { throw .invalid("scales are missing") }
      return try importer.emit(.resize(oldResize(node, importer.shape(data), scales)), [data], node)
    },
    OperatorImport(
      "Resize", .floats, since: 10,
      note:
        "nearest and linear, without antialiasing or crop (tf_crop_and_resize); align_corners needs scales that give "
        + "whole extents"
    ) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      let shape = importer.shape(data)
      guard node.opset >= 11 else {
        guard let scales = try importer.knownFloats(node, 1, "scales") else { throw .invalid("scales are missing") }
        return try importer.emit(.resize(oldResize(node, shape, scales)), [data], node)
      }
      guard try !node.flag("antialias") else { throw .unsupported("antialias = 1 is not supported") }
      let extents = try importer.resizedExtents(node, shape)
      let resize = Resize(
        try interpolation(node), coordinates: try coordinates(node), sizes: extents.sizes, scales: extents.scales)
      let isWhole = shape.dimensions.indices.allSatisfy { axis in
        abs(Double(shape[axis]) * extents.scales[axis] - Double(extents.sizes[axis])) < 1e-3
      }
      guard isWhole || resize.coordinates != .alignCorners else {
        throw .unsupported("align_corners with scales that do not give whole extents: runtimes disagree")
      }
      return try importer.emit(.resize(resize), [data], node)
    },
  ]
}

/// Until operator set 10, positions are output index / scale; nearest rounds down where an axis grows and up where it
/// shrinks.
private func oldResize(_ node: ImportedNode, _ shape: Shape, _ scales: [Float]) throws(NodeFailure) -> Resize {
  let sizes = try scaledExtents(shape, scales)
  let interpolation: Resize.Interpolation
  switch try node.string("mode", default: "nearest") {
  case "nearest":
    let shrinks = scales.contains { $0 < 1 }
    guard !shrinks || !scales.contains(where: { $0 > 1 }) else {
      throw .unsupported("nearest that grows one axis and shrinks another is not supported before operator set 11")
    }
    interpolation = .nearest(shrinks ? .ceil : .floor)
  case "linear", "bilinear": interpolation = .linear
  case let mode: throw .unsupported("mode '\(mode)' is not supported; nearest and linear are")
  }
  return Resize(interpolation, coordinates: .asymmetric, sizes: sizes, scales: scales.map(fraction))
}

/// The fraction that a scale stands for: 0.6 in f32 is a little more than 3/5, which moves positions that should be whole
/// below an integer, where `floor` takes the wrong neighbour. Runtimes round such positions in f32.
private func fraction(_ scale: Float) -> Double {
  for denominator in 1...64 {
    let value = (Double(scale) * Double(denominator)).rounded() / Double(denominator)
    if Float(value) == scale { return value }
  }
  return Double(scale)
}

private func scaledExtents(_ shape: Shape, _ scales: [Float]) throws(NodeFailure) -> [Int] {
  guard scales.count == shape.rank else { throw .invalid("\(scales.count) scales are given for \(shape)") }
  var sizes: [Int] = []
  for (extent, scale) in zip(shape.dimensions, scales) {
    let size = (Float(extent) * scale).rounded(.down)
    guard scale > 0, size >= 1, size <= Float(ONNXLimits.extent) else {
      throw .invalid("the scale \(scale) of an axis of \(extent) elements cannot be")
    }
    sizes.append(min(Int(size), ONNXLimits.extent))
  }
  return sizes
}

private func interpolation(_ node: ImportedNode) throws(NodeFailure) -> Resize.Interpolation {
  switch try node.string("mode", default: "nearest") {
  case "linear": return .linear
  case "nearest":
    switch try node.string("nearest_mode", default: "round_prefer_floor") {
    case "round_prefer_floor": return .nearest(.roundPreferFloor)
    case "round_prefer_ceil": return .nearest(.roundPreferCeil)
    case "floor": return .nearest(.floor)
    case "ceil": return .nearest(.ceil)
    case let mode: throw .invalid("nearest_mode '\(mode)' does not exist")
    }
  case let mode: throw .unsupported("mode '\(mode)' is not supported; nearest and linear are")
  }
}

private func coordinates(_ node: ImportedNode) throws(NodeFailure) -> Resize.Coordinates {
  let known: [String: Resize.Coordinates] = [
    "half_pixel": .halfPixel, "half_pixel_symmetric": .halfPixelSymmetric, "pytorch_half_pixel": .pytorchHalfPixel,
    "align_corners": .alignCorners, "asymmetric": .asymmetric,
  ]
  let mode = try node.string("coordinate_transformation_mode", default: "half_pixel")
  guard let coordinates = known[mode] else {
    throw .unsupported(
      "coordinate_transformation_mode '\(mode)' is not supported; \(known.keys.sorted().joined(separator: ", ")) are")
  }
  return coordinates
}

extension GraphImporter {
  fileprivate mutating func knownFloats(
    _ node: ImportedNode, _ index: Int, _ role: String
  ) throws(NodeFailure) -> [Float]? {
    guard let tensor = try known(node, index, role) else { return nil }
    guard tensor.elementType.isFloatingPoint, tensor.shape.rank <= 1 else {
      throw .invalid("its input \(index) (\(role)) is no list of numbers")
    }
    return tensor.floats
  }

  /// The output's extents and the scales that the formulas use, for every axis of the data.
  fileprivate mutating func resizedExtents(
    _ node: ImportedNode, _ shape: Shape
  ) throws(NodeFailure) -> (sizes: [Int], scales: [Double]) {
    // An empty list is a parameter that is left out.
    let scales = try knownFloats(node, 2, "scales").flatMap { $0.isEmpty ? nil : $0 }
    let sizes = try knownIntegers(node, 3, "sizes").flatMap { $0.isEmpty ? nil : $0 }
    guard (scales == nil) != (sizes == nil) else { throw .invalid("it needs either scales or sizes") }
    let axes = (node.opset >= 18 ? try node.ints("axes") : nil) ?? Array(0..<shape.rank)
    _ = try normalizedAxes(axes, rank: shape.rank)
    if let scales {
      guard scales.count == axes.count else {
        throw .invalid("\(scales.count) scales are given for \(axes.count) axes")
      }
      var all = [Float](repeating: 1, count: shape.rank)
      for (axis, scale) in zip(axes, scales) { all[try normalizedAxis(axis, rank: shape.rank)] = scale }
      return (try scaledExtents(shape, all), all.map(fraction))
    }
    let given = sizes ?? []
    try requireParameters("sizes", given, count: axes.count, in: 1...ONNXLimits.extent)
    guard shape.dimensions.allSatisfy({ $0 > 0 }) else { throw .unsupported("the data is empty") }
    var result = shape.dimensions
    for (axis, size) in zip(axes, given) { result[try normalizedAxis(axis, rank: shape.rank)] = size }
    var factors = zip(result, shape.dimensions).map { Double($0) / Double($1) }
    let policy = try node.string("keep_aspect_ratio_policy", default: "stretch")
    guard policy != "stretch" else { return (result, factors) }
    guard policy == "not_larger" || policy == "not_smaller" else {
      throw .invalid("keep_aspect_ratio_policy '\(policy)' does not exist")
    }
    let listed = try normalizedAxes(axes, rank: shape.rank)
    let candidates = listed.map { factors[$0] }
    guard let common = policy == "not_larger" ? candidates.min() : candidates.max() else { return (result, factors) }
    for axis in listed {
      let size = (Double(shape[axis]) * common).rounded()
      guard size <= Double(ONNXLimits.extent) else { throw .invalid("the size \(size) cannot be") }
      result[axis] = max(1, Int(size))
      factors[axis] = common
    }
    return (result, factors)
  }
}
