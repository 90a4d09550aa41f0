import CatenaTensors

extension Operator {
  /// The types of the outputs of operators that only move data.
  func movementTypes(of inputs: [TensorType]) throws(ShapeError) -> [TensorType] {
    let data = inputs[0].shape
    func type(_ shape: Shape) -> [TensorType] { [TensorType(inputs[0].elementType, shape)] }
    switch self {
    case .concatenate(let axis): return try [concatenationType(inputs, axis: axis)]
    case .split(let axis, let sizes):
      try requireAxis(axis, data)
      try require(sizes.allSatisfy { $0 >= 0 }, "a part cannot have a negative size: \(sizes)")
      try require(sizes.reduce(0, +) == data[axis], "the sizes \(sizes) do not add up to \(data[axis])")
      return sizes.map { size in
        var shape = data
        shape[axis] = size
        return TensorType(inputs[0].elementType, shape)
      }
    case .slice(let slice): return try type(slice.outputShape(of: data))
    case .sliceGradient(let slice, let inputShape):
      try require(slice.outputShape(of: inputShape) == data, "the gradient does not have the slice's shape")
      return type(inputShape)
    case .pad(let pad): return try type(pad.outputShape(of: data))
    case .padGradient(let pad, let inputShape):
      try require(pad.outputShape(of: inputShape) == data, "the gradient does not have the padded shape")
      return type(inputShape)
    case .reshape(let shape):
      try require(
        shape.elementCount == data.elementCount,
        "\(data.elementCount) elements cannot be reshaped to \(shape) (\(shape.elementCount) elements)")
      return type(shape)
    case .transpose(let permutation):
      try require(
        permutation.sorted() == Array(0..<data.rank), "\(permutation) is no permutation of \(data.rank) axes")
      return type(Shape(permutation.map { data[$0] }))
    case .expand(let shape):
      guard let result = data.broadcast(with: shape) else { throw ShapeError("\(data) does not expand to \(shape)") }
      return type(result)
    case .gather(let axis):
      try requireAxis(axis, data)
      return type(gatheredShape(data, indices: inputs[1].shape, axis: axis))
    case .gatherGradient(let axis, let inputShape):
      try requireAxis(axis, inputShape)
      try require(
        gatheredShape(inputShape, indices: inputs[1].shape, axis: axis) == data,
        "the gradient does not have the gathered shape")
      return type(inputShape)
    case .resize(let resize):
      try require(
        resize.sizes.count == data.rank && resize.scales.count == data.rank,
        "sizes and scales need \(data.rank) entries")
      try require(
        resize.sizes.allSatisfy { $0 > 0 } && resize.scales.allSatisfy { $0 > 0 }, "sizes and scales must be positive")
      return type(Shape(resize.sizes))
    case .resizeGradient(let resize, let inputShape):
      try require(data.dimensions == resize.sizes, "the gradient does not have the resized shape")
      return type(inputShape)
    default: preconditionFailure("\(name) moves no data")
    }
  }
}

extension Slice {
  func outputShape(of data: Shape) throws(ShapeError) -> Shape {
    try require(
      [starts.count, sizes.count, steps.count].allSatisfy { $0 == data.rank }, "a slice needs \(data.rank) entries")
    for axis in 0..<data.rank where sizes[axis] > 0 {
      let last = starts[axis] + (sizes[axis] - 1) * steps[axis]
      try require(
        (0..<data[axis]).contains(starts[axis]) && (0..<data[axis]).contains(last) && steps[axis] != 0,
        "axis \(axis) is sliced outside its \(data[axis]) elements")
    }
    try require(sizes.allSatisfy { $0 >= 0 }, "a slice cannot have a negative size")
    return Shape(sizes)
  }
}

extension Pad {
  func outputShape(of data: Shape) throws(ShapeError) -> Shape {
    try require(begins.count == data.rank && ends.count == data.rank, "padding needs \(data.rank) entries per side")
    var result: [Int] = []
    for axis in 0..<data.rank {
      let extent = data[axis] + begins[axis] + ends[axis]
      try require(extent >= 0, "axis \(axis) would have \(extent) elements")
      if mode == .reflect {
        try require(
          begins[axis] < max(data[axis], 1) && ends[axis] < max(data[axis], 1),
          "axis \(axis) is too short to be mirrored")
      }
      if mode == .edge || mode == .wrap {
        try require(data[axis] > 0 || extent == 0, "axis \(axis) is empty: there is nothing to repeat")
      }
      result.append(extent)
    }
    return Shape(result)
  }
}

private func concatenationType(_ inputs: [TensorType], axis: Int) throws(ShapeError) -> TensorType {
  var result = inputs[0].shape
  try requireAxis(axis, result)
  for input in inputs.dropFirst() {
    var other = input.shape
    try require(other.rank == result.rank, "all inputs need one rank")
    let extent = other[axis]
    other[axis] = result[axis]
    try require(
      other == result, "the inputs differ on another axis than \(axis): \(input.shape) and \(inputs[0].shape)")
    result[axis] += extent
  }
  return TensorType(inputs[0].elementType, result)
}

private func gatheredShape(_ data: Shape, indices: Shape, axis: Int) -> Shape {
  Shape(data.dimensions[..<axis] + indices.dimensions + data.dimensions[(axis + 1)...])
}

private func requireAxis(_ axis: Int, _ shape: Shape) throws(ShapeError) {
  try require(shape.dimensions.indices.contains(axis), "axis \(axis) is out of range for \(shape)")
}
