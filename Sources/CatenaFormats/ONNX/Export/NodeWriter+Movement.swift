import CatenaGraph
import CatenaTensors

extension NodeWriter {
  /// Writes the operators that move data, and the gate.
  mutating func writeMovement(
    _ node: Node, _ types: [TensorType], _ inputs: [String], _ outputs: [String]
  ) throws(ONNXError) {
    let base = outputs[0]
    switch node.operation {
    case .concatenate(let axis): try add("Concat", inputs, outputs, [.int("axis", axis)])
    case .split(let axis, let sizes):
      if opset < 13 {
        try add("Split", inputs, outputs, [.int("axis", axis), .ints("split", sizes)])
      } else {
        try add("Split", inputs + [addParameter("\(base)/split", sizes)], outputs, [.int("axis", axis)])
      }
    case .slice(let slice): try writeSlice(slice, types[0].shape, inputs, outputs)
    case .pad(let pad): try writePad(pad, inputs, outputs, types[0].elementType)
    case .reshape(let shape):
      var target = shape.dimensions
      // The batch is copied rather than written down.
      if let extent = shape.dimensions.first, extent > 0, types[0].shape.dimensions.first == extent { target[0] = 0 }
      // A plain 0 would copy an extent.
      let zeros: [Onnx_AttributeProto] = shape.dimensions.contains(0) && opset >= 14 ? [.int("allowzero", 1)] : []
      try add(
        "Reshape", inputs + [addParameter("\(base)/shape", zeros.isEmpty ? target : shape.dimensions)], outputs, zeros)
    case .transpose(let permutation): try add("Transpose", inputs, outputs, [.ints("perm", permutation)])
    case .expand(let shape):
      try add("Expand", inputs + [addParameter("\(base)/shape", shape.dimensions)], outputs)
    case .gather(let axis): try add("Gather", inputs, outputs, [.int("axis", axis)])
    case .resize(let resize): try writeResize(resize, types[0].shape, inputs, outputs)
    case .gate(let axis): try writeGate(axis, types, inputs, outputs)
    default: throw .notExpressible("ONNX has no \(node.operation.name) ('\(base)')")
    }
  }

  private mutating func writeSlice(
    _ slice: Slice, _ shape: Shape, _ inputs: [String], _ outputs: [String]
  ) throws(ONNXError) {
    let axes = (0..<shape.rank).filter {
      slice.starts[$0] != 0 || slice.sizes[$0] != shape[$0] || slice.steps[$0] != 1
    }
    guard !axes.isEmpty else { return try add("Identity", inputs, outputs) }
    let starts = axes.map { slice.starts[$0] }
    let ends = axes.map { slice.end(of: $0) }
    let steps = axes.map { slice.steps[$0] }
    guard opset >= 10 else {
      guard steps.allSatisfy({ $0 == 1 }) else {
        throw .notExpressible("operator set \(opset) has no Slice with steps ('\(outputs[0])')")
      }
      return try add(
        "Slice", inputs, outputs, [.ints("starts", starts), .ints("ends", ends), .ints("axes", axes)])
    }
    let parameters = [("starts", starts), ("ends", ends), ("axes", axes), ("steps", steps)]
    try add("Slice", inputs + parameters.map { addParameter("\(outputs[0])/\($0)", $1) }, outputs)
  }

  private mutating func writePad(
    _ pad: Pad, _ inputs: [String], _ outputs: [String], _ type: ElementType
  ) throws(ONNXError) {
    let amounts = pad.begins + pad.ends
    let (mode, value): (String, Double) =
      switch pad.mode {
      case .constant(let value): ("constant", value)
      case .reflect: ("reflect", 0)
      case .edge: ("edge", 0)
      case .wrap: ("wrap", 0)
      }
    guard pad.mode != .wrap || opset >= 19 else {
      throw .notExpressible("operator set \(opset) has no Pad that wraps ('\(outputs[0])')")
    }
    guard opset >= 11 else {
      return try add(
        "Pad", inputs, outputs, [.string("mode", mode), .ints("pads", amounts), .float("value", Float(value))])
    }
    let constant = Tensor(doubles: [value], shape: .scalar, elementType: type)
    let parameters = [addParameter("\(outputs[0])/pads", amounts), addConstant("\(outputs[0])/value", constant)]
    try add("Pad", inputs + parameters, outputs, [.string("mode", mode)])
  }

  private mutating func writeResize(
    _ resize: Resize, _ shape: Shape, _ inputs: [String], _ outputs: [String]
  ) throws(ONNXError) {
    guard opset >= 11 else { throw .notExpressible("operator set \(opset) has no Resize for '\(outputs[0])'") }
    let scales = resize.scales.map { Float($0) }
    let followFromScales = zip(zip(shape.dimensions, scales), resize.sizes).allSatisfy { pair, size in
      Int((Float(pair.0) * pair.1).rounded(.down)) == size
    }
    // Until operator set 12 the region of interest must be given, if only as an empty list.
    let region =
      opset < 13 ? addConstant("\(outputs[0])/roi", Tensor(zeros: [0])) : ""
    let empty = opset < 13 ? addConstant("\(outputs[0])/scales", Tensor(zeros: [0])) : ""
    let parameters =
      followFromScales
      ? [addConstant("\(outputs[0])/scales", Tensor(scales, shape: [scales.count]))]
      : [empty, addParameter("\(outputs[0])/sizes", resize.sizes)]
    try add("Resize", inputs + [region] + parameters, outputs, resize.attributes)
  }

  /// One region's gate is a factor per channel; ONNX has no node that knows of several regions.
  private mutating func writeGate(
    _ axis: Int, _ types: [TensorType], _ inputs: [String], _ outputs: [String]
  ) throws(ONNXError) {
    guard types[1].shape[0] == 1 else {
      throw .notExpressible("a gate of \(types[1].shape[0]) regions has no counterpart ('\(outputs[0])')")
    }
    var target = [Int](repeating: 1, count: types[0].shape.rank)
    target[axis] = types[0].shape[axis]
    let factors = freshName("\(outputs[0])/factors")
    try add("Reshape", [inputs[1], addParameter("\(outputs[0])/shape", target)], [factors])
    try add("Mul", [inputs[0], factors], outputs)
  }
}

extension Slice {
  /// The bound behind the last index on `axis`, as ONNX's Slice takes it.
  func end(of axis: Int) -> Int {
    let end = starts[axis] + sizes[axis] * steps[axis]
    // A walk to the front ends before index 0, which no index but one far below says.
    return steps[axis] < 0 && end < 0 ? -ONNXLimits.extent : end
  }
}

extension Resize {
  var attributes: [Onnx_AttributeProto] {
    let coordinates =
      switch coordinates {
      case .halfPixel: "half_pixel"
      case .halfPixelSymmetric: "half_pixel_symmetric"
      case .pytorchHalfPixel: "pytorch_half_pixel"
      case .alignCorners: "align_corners"
      case .asymmetric: "asymmetric"
      }
    let mode = Onnx_AttributeProto.string("coordinate_transformation_mode", coordinates)
    switch interpolation {
    case .linear: return [mode, .string("mode", "linear")]
    case .nearest(let rounding):
      let name =
        switch rounding {
        case .roundPreferFloor: "round_prefer_floor"
        case .roundPreferCeil: "round_prefer_ceil"
        case .floor: "floor"
        case .ceil: "ceil"
        }
      return [mode, .string("mode", "nearest"), .string("nearest_mode", name)]
    }
  }
}
