import CatenaTensors

extension Operator {
  /// The types of the outputs for inputs of the given types.
  /// - Throws: `ShapeError` when the inputs' number, types or shapes do not fit.
  public func outputTypes(of inputs: [TensorType]) throws(ShapeError) -> [TensorType] {
    try require(
      arity.contains(inputs.count), "takes \(arity.lowerBound)...\(arity.upperBound) inputs, not \(inputs.count)")
    switch self {
    case .convolution(let convolution): return try [convolution.outputType(of: inputs)]
    case .convolutionTranspose(let transpose): return try [transpose.outputType(of: inputs)]
    case .gemm(let gemm): return try [gemm.outputType(of: inputs)]
    case .matmul: return try [matmulType(inputs[0], inputs[1])]
    case .batchNormalization, .instanceNormalization: return try [normalizationType(inputs)]
    case .localResponseNormalization(let parameters):
      try require(parameters.size > 0, "the window must hold a channel")
      try require(inputs[0].shape.rank >= 2, "the data has no channel axis")
      return [inputs[0]]
    case .localResponseNormalizationGradient, .poolGradient: return [inputs[1]]
    case .pool(let pool): return try [pool.outputType(of: inputs[0])]
    case .unary, .identity: return [inputs[0]]
    case .unaryGradient:
      try require(inputs[0].shape == inputs[1].shape, "gradient and value must have one shape")
      return [inputs[0]]
    case .binary(let function):
      let shape = try broadcast(inputs[0].shape, inputs[1].shape)
      return [TensorType(function.isPredicate ? .bool : inputs[0].elementType, shape)]
    case .select:
      let shape = try broadcast(broadcast(inputs[0].shape, inputs[1].shape), inputs[2].shape)
      return [TensorType(inputs[1].elementType, shape)]
    case .cast(let elementType): return [TensorType(elementType, inputs[0].shape)]
    case .softmax(let axes), .logSoftmax(let axes):
      try require(axes.allSatisfy(inputs[0].shape.dimensions.indices.contains), "axes \(axes) are out of range")
      return inputs
    case .reduce(let reduce): return try [reduce.outputType(of: inputs[0])]
    case .argReduce(let reduce): return try [reduce.outputType(of: inputs[0])]
    case .concatenate, .split, .slice, .sliceGradient, .pad, .padGradient, .reshape, .transpose, .expand, .gather,
      .gatherGradient, .resize, .resizeGradient:
      return try movementTypes(of: inputs)
    case .gate(let axis):
      try checkGate(inputs[0].shape, inputs[1].shape, axis: axis)
      return [inputs[0]]
    case .gateGradient(let axis), .gateGradientFromOutput(let axis):
      try require(inputs[0].shape == inputs[1].shape, "gradient and data must have one shape")
      try checkGate(inputs[0].shape, inputs[2].shape, axis: axis)
      return [inputs[2]]
    case .adam:
      for other in inputs[1...3] {
        try require(other.shape == inputs[0].shape, "parameter, gradient and moments must have one shape")
      }
      try require(
        inputs[0].shape.broadcast(with: inputs[5].shape) == inputs[0].shape, "the mask must broadcast to the parameter")
      return [inputs[0], inputs[2], inputs[3], inputs[4]]
    }
  }

  /// How many inputs a node of this operator may list.
  public var arity: ClosedRange<Int> {
    switch self {
    case .convolution, .convolutionTranspose, .gemm: 2...3
    case .matmul, .unaryGradient, .binary, .gather, .gatherGradient, .gate: 2...2
    case .batchNormalization: 5...5
    case .instanceNormalization, .localResponseNormalizationGradient, .poolGradient, .select, .gateGradient,
      .gateGradientFromOutput:
      3...3
    case .adam: 6...6
    case .concatenate: 1...Int(Int32.max)
    default: 1...1
    }
  }
}

// MARK: Mixing channels

/// The extent of a strided window's output on one axis, `nil` when no window fits.
package func windowOutputExtent(
  input: Int, kernel: Int, stride: Int, padBegin: Int, padEnd: Int, dilation: Int, ceilMode: Bool = false
) -> Int? {
  let span = (kernel - 1) * dilation + 1
  let slack = input + padBegin + padEnd - span
  guard slack >= 0 else { return nil }
  var extent = (ceilMode ? (slack + stride - 1) / stride : slack / stride) + 1
  // A window that begins in the end padding does not count (ONNX, from opset 19; PyTorch).
  if ceilMode, (extent - 1) * stride >= input + padBegin { extent -= 1 }
  return extent
}

extension Convolution {
  fileprivate func checkGeometry(spatialRank: Int) throws(ShapeError) {
    let counts = [strides.count, padsBegin.count, padsEnd.count, dilations.count]
    try require(counts.allSatisfy { $0 == spatialRank }, "strides, pads and dilations need \(spatialRank) entries")
    try require((strides + dilations).allSatisfy { $0 > 0 }, "strides and dilations must be positive")
    try require(groups > 0, "groups must be positive")
  }

  fileprivate func outputType(of inputs: [TensorType]) throws(ShapeError) -> TensorType {
    let data = inputs[0].shape
    let weight = inputs[1].shape
    try require(data.rank >= 3 && weight.rank == data.rank, "data and weight need one rank of at least 3")
    try checkGeometry(spatialRank: data.rank - 2)
    try require(
      data[1] == weight[1] * groups,
      "the weight reads \(weight[1]) x \(groups) (groups) channels, the data has \(data[1])")
    try require(weight[0] % groups == 0, "\(weight[0]) filters do not divide into \(groups) groups")
    if inputs.count == 3 {
      try require(inputs[2].shape == [weight[0]], "the bias must have \(weight[0]) elements")
    }
    var shape = [data[0], weight[0]]
    for axis in 0..<data.rank - 2 {
      let extent = windowOutputExtent(
        input: data[axis + 2], kernel: weight[axis + 2], stride: strides[axis], padBegin: padsBegin[axis],
        padEnd: padsEnd[axis], dilation: dilations[axis])
      guard let extent else { throw ShapeError("the kernel does not fit into the padded data on spatial axis \(axis)") }
      shape.append(extent)
    }
    return TensorType(inputs[0].elementType, Shape(shape))
  }
}

extension ConvolutionTranspose {
  fileprivate func outputType(of inputs: [TensorType]) throws(ShapeError) -> TensorType {
    let data = inputs[0].shape
    let weight = inputs[1].shape
    try require(data.rank >= 3 && weight.rank == data.rank, "data and weight need one rank of at least 3")
    try convolution.checkGeometry(spatialRank: data.rank - 2)
    try require(outputPadding.count == data.rank - 2, "output padding needs \(data.rank - 2) entries")
    try require(data[1] == weight[0], "the weight reads \(weight[0]) channels, the data has \(data[1])")
    try require(
      weight[0] % convolution.groups == 0, "\(weight[0]) channels do not divide into \(convolution.groups) groups")
    let channels = weight[1] * convolution.groups
    if inputs.count == 3 {
      try require(inputs[2].shape == [channels], "the bias must have \(channels) elements")
    }
    var shape = [data[0], channels]
    for axis in 0..<data.rank - 2 {
      let extent =
        (data[axis + 2] - 1) * convolution.strides[axis] + (weight[axis + 2] - 1) * convolution.dilations[axis] + 1
        - convolution.padsBegin[axis] - convolution.padsEnd[axis] + outputPadding[axis]
      try require(extent > 0, "the result is empty on spatial axis \(axis)")
      shape.append(extent)
    }
    return TensorType(inputs[0].elementType, Shape(shape))
  }
}

extension Gemm {
  fileprivate func outputType(of inputs: [TensorType]) throws(ShapeError) -> TensorType {
    let a = inputs[0].shape
    let b = inputs[1].shape
    try require(a.rank == 2 && b.rank == 2, "both factors must be matrices")
    let (rows, inner) = transposeA ? (a[1], a[0]) : (a[0], a[1])
    let (innerB, columns) = transposeB ? (b[1], b[0]) : (b[0], b[1])
    try require(inner == innerB, "the inner extents \(inner) and \(innerB) differ")
    let result: Shape = [rows, columns]
    if inputs.count == 3 {
      try require(
        result.broadcast(with: inputs[2].shape) == result, "\(inputs[2].shape) does not broadcast to \(result)")
    }
    return TensorType(inputs[0].elementType, result)
  }
}

private func matmulType(_ a: TensorType, _ b: TensorType) throws(ShapeError) -> TensorType {
  try require(a.shape.rank >= 1 && b.shape.rank >= 1, "a scalar cannot be a factor")
  let left = a.shape.rank == 1 ? [1] + a.shape.dimensions : a.shape.dimensions
  let right = b.shape.rank == 1 ? b.shape.dimensions + [1] : b.shape.dimensions
  let inner = left[left.count - 1]
  let innerB = right[right.count - 2]
  try require(inner == innerB, "the inner extents \(inner) and \(innerB) differ")
  var shape = try broadcast(Shape(left.dropLast(2)), Shape(right.dropLast(2))).dimensions
  if a.shape.rank > 1 { shape.append(left[left.count - 2]) }
  if b.shape.rank > 1 { shape.append(right[right.count - 1]) }
  return TensorType(a.elementType, Shape(shape))
}

private func normalizationType(_ inputs: [TensorType]) throws(ShapeError) -> TensorType {
  try require(inputs[0].shape.rank >= 2, "the data has no channel axis")
  let channels = inputs[0].shape[1]
  for parameter in inputs.dropFirst() {
    try require(parameter.shape == [channels], "every parameter must have \(channels) elements, not \(parameter.shape)")
  }
  return inputs[0]
}

// MARK: Windows and reductions

extension Pool {
  fileprivate func outputType(of input: TensorType) throws(ShapeError) -> TensorType {
    let data = input.shape
    let spatialRank = data.rank - 2
    try require(spatialRank >= 1, "the data has no spatial axis")
    let counts = [kernel.count, strides.count, padsBegin.count, padsEnd.count, dilations.count]
    try require(
      counts.allSatisfy { $0 == spatialRank }, "kernel, strides, pads and dilations need \(spatialRank) entries")
    try require((kernel + strides + dilations).allSatisfy { $0 > 0 }, "kernel, strides, dilations must be positive")
    var shape = [data[0], data[1]]
    for axis in 0..<spatialRank {
      let span = (kernel[axis] - 1) * dilations[axis] + 1
      try require(
        padsBegin[axis] >= 0 && padsEnd[axis] >= 0 && padsBegin[axis] < span && padsEnd[axis] < span,
        "padding must be smaller than the window on spatial axis \(axis)")
      let extent = windowOutputExtent(
        input: data[axis + 2], kernel: kernel[axis], stride: strides[axis], padBegin: padsBegin[axis],
        padEnd: padsEnd[axis], dilation: dilations[axis], ceilMode: ceilMode)
      guard let extent else { throw ShapeError("the window does not fit into the padded data on spatial axis \(axis)") }
      shape.append(extent)
    }
    return TensorType(input.elementType, Shape(shape))
  }
}

extension Reduce {
  fileprivate func outputType(of input: TensorType) throws(ShapeError) -> TensorType {
    try require(axes.allSatisfy(input.shape.dimensions.indices.contains), "axes \(axes) are out of range")
    try require(Set(axes).count == axes.count, "an axis is listed twice in \(axes)")
    return TensorType(input.elementType, input.shape.reduced(axes, keepsDimensions: keepsDimensions))
  }
}

extension ArgReduce {
  fileprivate func outputType(of input: TensorType) throws(ShapeError) -> TensorType {
    try require(input.shape.dimensions.indices.contains(axis), "axis \(axis) is out of range")
    try require(input.shape[axis] > 0, "axis \(axis) is empty")
    return TensorType(.int64, input.shape.reduced([axis], keepsDimensions: keepsDimensions))
  }
}

extension Shape {
  /// The shape after a reduction of `axes`.
  public func reduced(_ axes: [Int], keepsDimensions: Bool) -> Shape {
    Shape(
      dimensions.enumerated().compactMap { axis, extent in
        axes.contains(axis) ? (keepsDimensions ? 1 : nil) : extent
      })
  }
}

private func checkGate(_ data: Shape, _ gate: Shape, axis: Int) throws(ShapeError) {
  try require(gate.rank == 2, "a gate is a matrix of regions x channels")
  try require(axis > 0 && axis < data.rank, "axis \(axis) is no channel axis of \(data)")
  try require(data[axis] == gate[1], "the gate has \(gate[1]) channels, the data \(data[axis])")
  try require(gate[0] > 0 && data[0] % gate[0] == 0, "\(data[0]) samples do not divide into \(gate[0]) regions")
}

// MARK: Shared

package func require(_ condition: Bool, _ reason: @autoclosure () -> String) throws(ShapeError) {
  if !condition { throw ShapeError(reason()) }
}

private func broadcast(_ left: Shape, _ right: Shape) throws(ShapeError) -> Shape {
  guard let shape = left.broadcast(with: right) else { throw ShapeError("\(left) and \(right) do not broadcast") }
  return shape
}
