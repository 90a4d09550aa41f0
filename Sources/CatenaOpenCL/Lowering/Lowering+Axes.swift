import CatenaCompute
import CatenaGraph
import CatenaTensors

extension Lowering {
  // MARK: Pooling

  private func poolArguments(_ pool: Pool, _ data: Shape, _ result: Shape) -> [Launch.Argument] {
    let input = SpatialShape(data)
    /// Depth, height and width; an axis that the data lack holds the filler.
    func spatial(_ values: [Int], _ filler: Int) -> Launch.Argument {
      .integers(Array(repeating: filler, count: 3 - values.count) + values + [0])
    }
    let (kind, p): (KernelFunctions.Pool, Int) =
      switch pool.kind {
      case .maximum: (.maximum, 0)
      case .average(let countsPadding): (countsPadding ? .averageWithPadding : .average, 0)
      case .norm(let p): (.norm, p)
      }
    return [
      .integers([Int(kind.rawValue)]), .integers([input.samples, input.channels]), .integers(input.extents + [0]),
      .integers(SpatialShape(result).extents + [0]), spatial(pool.kernel, 1), spatial(pool.dilations, 1),
      spatial(pool.strides, 1), spatial(pool.padsBegin, 0), spatial(pool.padsEnd, 0), .integers([p]),
    ]
  }

  mutating func lowerPool(_ node: Node, _ pool: Pool) {
    let data = graph.shape(node.inputs[0])
    let result = graph.shape(node.outputs[0])
    launch(
      .pool, "pool",
      [
        .read(slot(of: node.inputs[0], .channelsLast, as: .float32)),
        .write(makeSlot(for: node.outputs[0], .channelsLast, as: .float32)),
      ] + poolArguments(pool, data, result),
      workItems: dividedUp(result[1], traits[.pool].lanes) * result.elementCount / max(result[1], 1))
  }

  mutating func lowerPoolGradient(_ node: Node, _ pool: Pool) {
    let data = graph.shape(node.outputs[0])
    launch(
      .pool, "pool_gradient",
      node.inputs.map { .read(slot(of: $0, .channelsLast)) }
        + [.write(makeSlot(for: node.outputs[0], .channelsLast))]
        + poolArguments(pool, data, graph.shape(node.inputs[0])),
      workItems: dividedUp(data[1], traits[.pool].lanes) * data.elementCount / max(data[1], 1))
  }

  // MARK: Reductions

  /// The walks over the axes that stay and over those that go, for data in `layout`.
  func walks(
    _ shape: Shape, _ layout: Layout, axes: [Int], order: [Int]
  ) -> (kept: StridedWalk, gone: StridedWalk) {
    let strides = layout.strides(of: shape)
    func walk(_ axes: [Int]) -> StridedWalk {
      StridedWalk(extents: axes.map { shape[$0] }, strides: [axes.map { strides[$0] }]).collapsed()
    }
    return (walk(order.filter { !axes.contains($0) }), walk(order.filter(axes.contains)))
  }

  mutating func lowerReduce(_ node: Node, _ reduce: Reduce) {
    guard !reduce.axes.isEmpty else {
      bind(node.outputs[0], to: location(of: node.inputs[0]))
      return
    }
    guard graph.type(node.inputs[0]).elementType.isFloatingPoint else {
      lowerIntegerReduce(node, reduce)
      return
    }
    let source = computed(node.inputs[0])
    let shape = graph.shape(node.inputs[0])
    let (kept, gone) = walks(shape, source.layout, axes: reduce.axes, order: Array(0..<shape.rank))
    let (kind, scale): (KernelFunctions.Reduce, Float) =
      switch reduce.kind {
      case .sum: (.sum, 1)
      case .mean: (.sum, 1 / Float(gone.count))
      case .maximum: (.maximum, 1)
      case .minimum: (.minimum, 1)
      case .product: (.product, 1)
      }
    if let columns = RowReduction(kept, gone) {
      reduceRows(source.slot, into: node.outputs[0], kind, scale: scale, columns)
      return
    }
    // Many parts only where there are few results: a part is worth a launch from some thousand elements on.
    let items = isReducedByGroup(kept, gone) ? kept.count * traits[.softmax].groupSize : kept.count
    let parts = traits.parts(of: gone.count, least: 16 * traits[.softmax].rowsPerPart, items: items)
    let result = makeSlot(for: node.outputs[0], .rowMajor)
    if parts == 1 {
      self.reduce(source.slot, into: result, kind, scale: scale, kept, gone, parts: 1)
    } else {
      let partial = addSlot(kept.count * parts)
      self.reduce(source.slot, into: partial, kind, scale: 1, kept, gone, parts: parts)
      self.reduce(
        partial, into: result, kind, scale: scale, StridedWalk(extents: [kept.count], strides: [[parts]]),
        StridedWalk(extents: [parts], strides: [[1]]), parts: 1)
    }
  }

  /// Whether a work-group shares out what becomes one result: elements that lie together, of so few results that they
  /// would not keep the device busy.
  private func isReducedByGroup(_ kept: StridedWalk, _ gone: StridedWalk) -> Bool {
    traits[.softmax].tile != nil && gone.extents.count == 1 && gone.strides[0][0] == 1
      && gone.count >= traits[.softmax].groupSize && kept.count < traits.busyItems
  }

  /// Rows of contiguous columns, in parts where there are few columns.
  private mutating func reduceRows(
    _ source: SlotID, into value: ValueID, _ kind: KernelFunctions.Reduce, scale: Float, _ extents: RowReduction
  ) {
    let items = extents.outer * dividedUp(extents.columns, traits[.softmax].lanes)
    let parts = traits.parts(of: extents.rows, least: traits[.softmax].rowsPerPart, items: items)
    let result = makeSlot(for: value, .rowMajor)
    if parts == 1 {
      reduceRows(source, into: result, kind, scale: scale, extents, parts: 1)
    } else {
      let partial = addSlot(extents.outer * parts * extents.columns)
      reduceRows(source, into: partial, kind, scale: 1, extents, parts: parts)
      let second = RowReduction(outer: extents.outer, rows: parts, columns: extents.columns)
      if traits[.softmax].tile != nil {
        launch(
          .softmax, "reduce_rows_by_group",
          [
            .read(partial), .write(result), .integers([Int(kind.rawValue)]), .floats([scale]),
            .integers([second.outer, second.rows, second.columns, 0]),
          ], groups: items)
      } else {
        reduceRows(partial, into: result, kind, scale: scale, second, parts: 1)
      }
    }
  }

  private mutating func reduceRows(
    _ source: SlotID, into result: SlotID, _ kind: KernelFunctions.Reduce, scale: Float, _ extents: RowReduction,
    parts: Int
  ) {
    launch(
      .softmax, "reduce_rows",
      [
        .read(source), .write(result), .integers([Int(kind.rawValue)]), .floats([scale]),
        .integers([extents.outer, extents.rows, extents.columns, 0]),
        .integers([parts, dividedUp(extents.rows, parts)]),
      ], workItems: extents.outer * parts * dividedUp(extents.columns, traits[.softmax].lanes))
  }

  private mutating func reduce(
    _ source: SlotID, into result: SlotID, _ kind: KernelFunctions.Reduce, scale: Float, _ kept: StridedWalk,
    _ gone: StridedWalk, parts: Int
  ) {
    let common: [Launch.Argument] = [
      .read(source), .write(result), .integers([Int(kind.rawValue)]), .floats([scale]),
      .integers([kept.extents.count]), .integers(padded(kept.extents, with: 1)),
      .integers(padded(kept.strides[0], with: 0)),
    ]
    if isReducedByGroup(kept, gone) {
      // Whole vectors, so that every part begins where the memory is aligned if the first does.
      let lanes = traits[.softmax].lanes
      let perPart = dividedUp(dividedUp(gone.count, parts), lanes) * lanes
      launch(
        .softmax, "reduce_by_group", common + [.integers([gone.count]), .integers([parts, perPart])],
        groups: kept.count * parts)
      return
    }
    let rows = StridedArguments(gone)
    launch(
      .softmax, "reduce",
      common + [
        .integers([rows.rank]), .integers(rows.extents), .integers(rows.strides[0]),
        .integers([gone.extents[gone.extents.count - 1], rows.innermost[0], kept.count, gone.count]),
        .integers([parts, dividedUp(gone.count, parts)]),
      ], workItems: kept.count * parts)
  }

  mutating func lowerSoftmax(_ node: Node, axes: [Int], isLogarithm: Bool) {
    let source = computed(node.inputs[0])
    let shape = graph.shape(node.inputs[0])
    let (kept, gone) = walks(shape, source.layout, axes: axes, order: source.layout.axes(rank: shape.rank))
    if isReducedByGroup(kept, gone) {
      // What stays lies in front of what goes: rows lie one behind the other.
      launch(
        .softmax, "softmax_by_group",
        [
          .read(source.slot), .write(makeSlot(for: node.outputs[0], source.layout)),
          .integers([isLogarithm ? 1 : 0]), .integers([gone.count]),
        ], groups: kept.count)
      return
    }
    launch(
      .softmax, "softmax",
      [
        .read(source.slot), .write(makeSlot(for: node.outputs[0], source.layout)), .integers([isLogarithm ? 1 : 0]),
        .integers([kept.extents.count]), .integers(padded(kept.extents, with: 1)),
        .integers(padded(kept.strides[0], with: 0)), .integers([gone.extents.count]),
        .integers(padded(gone.extents, with: 1)), .integers(padded(gone.strides[0], with: 0)),
        .integers([kept.count, gone.count]),
      ], workItems: kept.count)
  }
}

/// A reduction of the rows of outer x rows x columns.
private struct RowReduction {
  var outer: Int
  var rows: Int
  var columns: Int

  init(outer: Int, rows: Int, columns: Int) {
    self.outer = outer
    self.rows = rows
    self.columns = columns
  }

  /// `nil` where the walks over what stays and what goes are no such box.
  init?(_ kept: StridedWalk, _ gone: StridedWalk) {
    guard
      gone.extents.count == 1, kept.extents.count <= 2, let columns = kept.extents.last, columns > 1,
      kept.strides[0].last == 1, gone.strides[0][0] == columns,
      kept.extents.count == 1 || kept.strides[0][0] == columns * gone.extents[0]
    else { return nil }
    self.columns = columns
    rows = gone.extents[0]
    outer = kept.extents.count == 2 ? kept.extents[0] : 1
  }
}
