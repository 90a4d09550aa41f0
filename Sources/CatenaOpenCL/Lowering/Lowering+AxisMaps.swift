import CatenaCompute
import CatenaGraph
import CatenaTensors

/// Resizing, padding that repeats data, and elements with known indices: along each axis a sparse matrix, whose transpose
/// is the gradient.
extension Lowering {
  /// Takes elements of the data's axis.
  mutating func lowerGather(_ node: Node, axis: Int) {
    guard let map = map(ofIndices: node.inputs[1], extent: graph.shape(node.inputs[0])[axis]) else {
      return lowerComputedGather(node, axis: axis)
    }
    take(node, graph.shape(node.inputs[0]).dimensions.indices.map { $0 == axis ? map : nil })
  }

  /// Gives the gradients of taken elements back.
  mutating func lowerGatherGradient(_ node: Node, data: Shape, axis: Int) {
    guard let map = map(ofIndices: node.inputs[1], extent: data[axis])?.transposed(columns: data[axis]) else {
      return lowerComputedGatherGradient(node, data: data, axis: axis)
    }
    sum(node, data.dimensions.indices.map { $0 == axis ? map : nil })
  }

  /// One row of constant indices.
  private func map(ofIndices value: ValueID, extent: Int) -> AxisMap? {
    guard let indices = graph.constants[value], indices.shape.rank == 1 else { return nil }
    return AxisMap(taking: indices.integers.map { Int($0) + ($0 < 0 ? extent : 0) })
  }

  mutating func lowerResize(_ node: Node, _ resize: Resize) {
    let shape = graph.shape(node.inputs[0])
    let maps = shape.dimensions.indices.map { resize.map(axis: $0, extent: shape[$0]) }
    if case .nearest = resize.interpolation { take(node, maps) } else { sum(node, maps) }
  }

  mutating func lowerResizeGradient(_ node: Node, _ resize: Resize, inputShape: Shape) {
    let maps = inputShape.dimensions.indices.map { axis in
      resize.map(axis: axis, extent: inputShape[axis])?.transposed(columns: inputShape[axis])
    }
    sum(node, maps)
  }

  /// Padding that repeats data moves elements of any type.
  mutating func lowerRepeating(_ node: Node, _ pad: Pad) {
    let shape = graph.shape(node.inputs[0])
    take(node, shape.dimensions.indices.map { pad.map(axis: $0, extent: shape[$0]) })
  }

  mutating func lowerRepeatingGradient(_ node: Node, _ pad: Pad, inputShape: Shape) {
    let maps = inputShape.dimensions.indices.map { axis in
      pad.map(axis: axis, extent: inputShape[axis])?.transposed(columns: inputShape[axis])
    }
    sum(node, maps)
  }

  /// Takes one element per index: axis by axis, each into a slot of its own but the last, which is the result.
  private mutating func take(_ node: Node, _ maps: [AxisMap?]) {
    let source = location(of: node.inputs[0])
    walk(node, maps, from: source, isMoved: true) { lowering, map, from, to, box in
      let indices = lowering.addConstant(Tensor(map.columns, shape: [map.columns.count]))
      lowering.take(from: from, indices, to: to, outer: box.outer, extent: box.extent, inner: box.inner)
    }
  }

  private mutating func sum(_ node: Node, _ maps: [AxisMap?]) {
    let source = computed(node.inputs[0])
    walk(node, maps, from: source, isMoved: false) { lowering, map, from, to, box in
      let rows = lowering.addConstant(Tensor(map.rows, shape: [map.rows.count]))
      let columns = lowering.addConstant(Tensor(map.columns, shape: [map.columns.count]))
      let weights = lowering.addConstant(Tensor(map.weights, shape: [map.weights.count]))
      lowering.launch(
        .movement, "axis_sum",
        [
          .read(from), .read(rows), .read(columns), .read(weights), .write(to),
          .integers([box.outer, box.extent, box.inner, map.rows.count - 1]),
        ], workItems: box.outer * (map.rows.count - 1) * box.inner)
    }
  }

  /// A tensor seen from one axis.
  private struct Box {
    var outer: Int
    var extent: Int
    var inner: Int
  }

  private mutating func walk(
    _ node: Node, _ maps: [AxisMap?], from source: LoweredProgram.Location, isMoved: Bool,
    _ apply: (inout Lowering, AxisMap, SlotID, SlotID, Box) -> Void
  ) {
    let output = node.outputs[0]
    let changed = maps.indices.filter { maps[$0] != nil }
    guard !changed.isEmpty else {
      bind(output, to: location(of: node.inputs[0]))
      return
    }
    let result =
      isMoved ? makeMovedSlot(for: output, source.layout) : makeSlot(for: output, source.layout)
    let order = source.layout.axes(rank: graph.shape(output).rank)
    var shape = graph.shape(node.inputs[0])
    var slot = source.slot
    for axis in changed {
      guard let map = maps[axis], let position = order.firstIndex(of: axis) else { continue }
      let box = Box(
        outer: order[..<position].reduce(1) { $0 * shape[$1] }, extent: shape[axis],
        inner: order[(position + 1)...].reduce(1) { $0 * shape[$1] })
      shape[axis] = map.rows.count - 1
      let next = axis == changed.last ? result : addSlot(shape.elementCount, source.type)
      apply(&self, map, slot, next, box)
      slot = next
    }
  }
}
