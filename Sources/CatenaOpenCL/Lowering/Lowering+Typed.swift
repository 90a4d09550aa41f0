import CatenaCompute
import CatenaGraph
import CatenaTensors

/// Integers, bools, comparisons and conversions: elements of any type.
extension Lowering {
  /// Copies a value to where it lies in another type, in the order of the target's memory.
  mutating func convert(
    _ source: LoweredProgram.Location, to target: LoweredProgram.Location, _ shape: Shape
  ) {
    let walk = StridedWalk(
      extents: shape.dimensions, strides: [source.layout.strides(of: shape), target.layout.strides(of: shape)]
    ).reordered(target.layout.axes(rank: shape.rank)).collapsed()
    launch(
      .typed, "strided_convert",
      [
        .read(source.slot), .write(target.slot), .integers([code(source.type), code(target.type)]),
        .integers([walk.extents.count]), .integers(padded(walk.extents, with: 1)),
        .integers(padded(walk.strides[0], with: 0)), .integers(padded(walk.strides[1], with: 0)),
        .integers([shape.elementCount]),
      ], workItems: shape.elementCount)
  }

  /// An element-wise node on operands of any type.
  mutating func lowerTyped(_ node: Node) {
    switch node.operation {
    case .cast: lowerTyped(node, .convert, function: 0)
    case .unary(let function):
      let kernel = function.kernelFunction
      lowerTyped(node, .unary, function: kernel.code.rawValue, a: kernel.a, b: kernel.b)
    case .binary(let function): lowerTyped(node, .binary, function: function.kernelFunction.rawValue)
    case .select: lowerTyped(node, .select, function: 0)
    default: preconditionFailure("\(node.operation.name) is not element-wise")
    }
  }

  private mutating func lowerTyped(
    _ node: Node, _ operation: KernelFunctions.Typed, function: Int32, a: Float = 0, b: Float = 0
  ) {
    let output = node.outputs[0]
    let shape = graph.shape(output)
    let layout = elementwiseLayout(node)
    let sources = node.inputs.map { location(of: $0) }
    let missing = 3 - sources.count
    let walk = StridedWalk(
      extents: shape.dimensions,
      strides: zip(node.inputs, sources).map { broadcastStrides(graph.shape($0), $1.layout, to: shape) }
        + Array(repeating: shape.dimensions.map { _ in 0 }, count: missing)
    ).reordered(layout.axes(rank: shape.rank)).collapsed()
    let types = sources.map { code($0.type) } + Array(repeating: 0, count: missing)
    let fault = faultSlot()
    let result = makeMovedSlot(for: output, layout)
    launch(
      .typed, "typed_elementwise",
      sources.map { .read($0.slot) } + Array(repeating: .null, count: missing) + [
        .write(result), .write(fault), .integers([Int(operation.rawValue)]), .integers([Int(function)]),
        .integers(types + [code(graph.type(output).elementType)]), .floats([a, b]), .integers([walk.extents.count]),
        .integers(padded(walk.extents, with: 1)),
      ] + walk.strides.map { .integers(padded($0, with: 0)) } + [.integers([shape.elementCount])],
      workItems: shape.elementCount)
  }

  func code(_ type: ElementType) -> Int {
    guard let code = type.kernelType else { preconditionFailure("\(type.rawValue) was not refused") }
    return Int(code.rawValue)
  }

  // MARK: Along axes

  mutating func lowerIntegerReduce(_ node: Node, _ reduce: Reduce) {
    let source = location(of: node.inputs[0])
    let shape = graph.shape(node.inputs[0])
    let (kept, gone) = walks(shape, source.layout, axes: reduce.axes, order: Array(0..<shape.rank))
    let (kind, divisor): (KernelFunctions.Reduce, Int) =
      switch reduce.kind {
      case .sum: (.sum, 1)
      case .mean: (.sum, max(gone.count, 1))
      case .maximum: (.maximum, 1)
      case .minimum: (.minimum, 1)
      case .product: (.product, 1)
      }
    let result = makeMovedSlot(for: node.outputs[0], .rowMajor)
    launch(
      .typed, "integer_reduce",
      [
        .read(source.slot), .write(result), .integers([Int(kind.rawValue)]), .integers([code(source.type)]),
        .integers([divisor]),
      ] + walkArguments(kept) + walkArguments(gone) + [.integers([kept.count, gone.count])], workItems: kept.count)
  }

  mutating func lowerArgReduce(_ node: Node, _ reduce: ArgReduce) {
    let source = location(of: node.inputs[0])
    let shape = graph.shape(node.inputs[0])
    let (kept, _) = walks(shape, source.layout, axes: [reduce.axis], order: Array(0..<shape.rank))
    let result = makeMovedSlot(for: node.outputs[0], .rowMajor)
    launch(
      .typed, "arg_reduce",
      [
        .read(source.slot), .write(result), .integers([code(source.type)]),
        .integers([reduce.findsMaximum ? 1 : 0]), .integers([reduce.selectsLast ? 1 : 0]),
      ] + walkArguments(kept) + [
        .integers([kept.count, shape[reduce.axis], source.layout.strides(of: shape)[reduce.axis], 0])
      ], workItems: kept.count)
  }

  /// Rank, extents and strides of a walk over one operand.
  private func walkArguments(_ walk: StridedWalk) -> [Launch.Argument] {
    [
      .integers([walk.extents.count]), .integers(padded(walk.extents, with: 1)),
      .integers(padded(walk.strides[0], with: 0)),
    ]
  }

  // MARK: Matrix products

  mutating func lowerIntegerProduct(
    _ product: MatrixProduct, _ node: Node, summand: ValueID?, factors: (alpha: Int, beta: Int)
  ) {
    let output = node.outputs[0]
    let shape = graph.shape(output)
    let type = graph.type(output).elementType
    let batch = product.batch.collapsed()
    let operands = node.inputs[..<2].map { slot(of: $0, .rowMajor, as: type) }
    let summandSlot = summand.map { slot(of: $0, .rowMajor, as: type) }
    let summandStrides = summand.map { graph.shape($0).broadcastStrides(to: shape) } ?? [0, 0]
    let result = makeMovedSlot(for: output, .rowMajor)
    launch(
      .typed, "integer_product",
      operands.map { .read($0) } + [
        summandSlot.map { .read($0) } ?? .null, .write(result),
        .integers([product.batch.count, product.rows, product.columns, product.inner]), .integers(product.strides),
        .integers([batch.extents.count]), .integers(padded(batch.extents, with: 1)),
        .integers(padded(batch.strides[0], with: 0)), .integers(padded(batch.strides[1], with: 0)),
        .integers([code(type)]), .integers([factors.alpha, factors.beta] + summandStrides),
      ], workItems: shape.elementCount)
  }

  // MARK: Indices

  /// The indices of a gather as i32 counted from the axis' beginning; those that are no constants are checked by the
  /// device.
  mutating func absoluteIndices(_ value: ValueID, extent: Int) -> SlotID {
    if let constant = graph.constants[value] {
      let indices = constant.integers.map { Int32($0 < 0 ? $0 + extent : $0) }
      return addConstant(Tensor(indices, shape: [indices.count]))
    }
    let source = location(of: value)
    let count = graph.shape(value).elementCount
    let result = addSlot(count, .int32)
    let fault = faultSlot()
    launch(
      .typed, "absolute_indices",
      [
        .read(slot(of: value, .rowMajor)), .write(result), .write(fault), .integers([code(source.type)]),
        .integers([extent]), .integers([count]),
      ], workItems: count)
    return result
  }
}
