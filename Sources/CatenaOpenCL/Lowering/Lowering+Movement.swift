import CatenaCompute
import CatenaGraph
import CatenaTensors

extension Lowering {
  /// Operators that only move data are copies between strided views; results keep the data's layout.
  mutating func lowerMovement(_ node: Node) {
    let output = node.outputs[0]
    switch node.operation {
    case .transpose(let permutation):
      let source = location(of: node.inputs[0])
      let strides = source.layout.strides(of: graph.shape(node.inputs[0]))
      let shape = graph.shape(output)
      let target = makeMovedSlot(for: output, .rowMajor)
      copy(from: source.slot, permutation.map { strides[$0] }, to: target, shape.strides, shape.dimensions)
    case .expand:
      let source = location(of: node.inputs[0])
      let shape = graph.shape(output)
      let layout =
        source.layout == .channelsLast && graph.shape(node.inputs[0]).rank == shape.rank ? source.layout : .rowMajor
      let target = makeMovedSlot(for: output, layout)
      copy(
        from: source.slot, broadcastStrides(graph.shape(node.inputs[0]), source.layout, to: shape), to: target,
        layout.canonical(for: shape).strides(of: shape), shape.dimensions)
    case .slice(let slice): copyPart(of: node.inputs[0], at: slice, to: output)
    case .sliceGradient(let slice, _): place(node.inputs[0], at: slice, in: output, filler: 0)
    case .pad(let pad):
      if case .constant(let filler) = pad.mode {
        lowerPad(node, pad, filler: filler)
      } else {
        lowerRepeating(node, pad)
      }
    case .padGradient(let pad, let inputShape):
      if case .constant = pad.mode {
        lowerPad(node, pad.inverse, filler: 0)
      } else {
        lowerRepeatingGradient(node, pad, inputShape: inputShape)
      }
    case .concatenate(let axis): lowerConcatenation(node, axis: axis)
    case .split(let axis, let sizes):
      let shape = graph.shape(node.inputs[0])
      var start = 0
      for (part, size) in zip(node.outputs, sizes) {
        copyPart(of: node.inputs[0], at: Slice(start..<start + size, axis: axis, of: shape), to: part)
        start += size
      }
    default: preconditionFailure("\(node.operation.name) does not move data")
    }
  }

  private mutating func copyPart(of value: ValueID, at slice: Slice, to output: ValueID) {
    let source = location(of: value)
    let strides = source.layout.strides(of: graph.shape(value))
    let shape = graph.shape(output)
    let target = makeMovedSlot(for: output, source.layout)
    copy(
      from: source.slot, zip(strides, slice.steps).map { $0 * $1 },
      offset: zip(strides, slice.starts).reduce(0) { $0 + $1.0 * $1.1 }, to: target,
      location(of: output).layout.strides(of: shape), shape.dimensions)
  }

  /// Writes the value where the slice lies in the output, and `filler` elsewhere.
  private mutating func place(_ value: ValueID, at slice: Slice, in output: ValueID, filler: Double) {
    let shape = graph.shape(output)
    let source = location(of: value)
    let target = makeMovedSlot(for: output, source.layout)
    let strides = location(of: output).layout.strides(of: shape)
    willWritePieces(of: target, from: [source.slot])
    if graph.shape(value) != shape { fill(target, with: filler) }
    copy(
      from: source.slot, source.layout.strides(of: graph.shape(value)), to: target,
      zip(strides, slice.steps).map { $0 * $1 },
      targetOffset: zip(strides, slice.starts).reduce(0) { $0 + $1.0 * $1.1 }, graph.shape(value).dimensions)
  }

  /// Constant padding and cropping: what is left of the data is copied into a filled output.
  private mutating func lowerPad(_ node: Node, _ pad: Pad, filler: Double) {
    let (data, output) = (node.inputs[0], node.outputs[0])
    let source = location(of: data)
    let shape = graph.shape(output)
    let dataShape = graph.shape(data)
    let target = makeMovedSlot(for: output, source.layout)
    let sourceStrides = source.layout.strides(of: dataShape)
    let targetStrides = location(of: output).layout.strides(of: shape)
    willWritePieces(of: target, from: [source.slot])
    if pad.begins.contains(where: { $0 > 0 }) || pad.ends.contains(where: { $0 > 0 }) {
      fill(target, with: filler)
    }
    let starts = pad.begins.map { max(-$0, 0) }
    let extents = dataShape.dimensions.indices.map {
      max(dataShape[$0] - starts[$0] - max(-pad.ends[$0], 0), 0)
    }
    copy(
      from: source.slot, sourceStrides, offset: zip(sourceStrides, starts).reduce(0) { $0 + $1.0 * $1.1 },
      to: target, targetStrides,
      targetOffset: zip(targetStrides, pad.begins).reduce(0) { $0 + $1.0 * max($1.1, 0) }, extents)
  }

  /// Takes elements of the data's axis, with indices of any shape that may be computed.
  mutating func lowerComputedGather(_ node: Node, axis: Int) {
    let data = node.inputs[0]
    let shape = graph.shape(data)
    let indices = absoluteIndices(node.inputs[1], extent: shape[axis])
    let source = slot(of: data, .rowMajor, as: graph.type(data).elementType)
    let result = makeMovedSlot(for: node.outputs[0], .rowMajor)
    take(
      from: source, indices, to: result, outer: shape.count(of: 0..<axis), extent: shape[axis],
      inner: shape.count(of: axis + 1..<shape.rank))
  }

  /// Takes the elements with these indices of the middle axis.
  mutating func take(
    from source: SlotID, _ indices: SlotID, to target: SlotID, outer: Int, extent: Int, inner: Int
  ) {
    let slot = program.slots[target.index]
    launch(
      .movement, "gather_\(slot.type.byteCount)",
      [
        .read(source), .read(indices), .write(target),
        .integers([outer, extent, inner, program.slots[indices.index].elementCount]),
      ], workItems: slot.elementCount)
  }

  /// Gives the gradients of elements back that were taken so.
  mutating func lowerComputedGatherGradient(_ node: Node, data: Shape, axis: Int) {
    let indices = absoluteIndices(node.inputs[1], extent: data[axis])
    let count = program.slots[indices.index].elementCount
    launch(
      .movement, "gather_gradient",
      [
        .read(slot(of: node.inputs[0], .rowMajor)), .read(indices), .write(makeSlot(for: node.outputs[0], .rowMajor)),
        .integers([data.count(of: 0..<axis), data[axis], data.count(of: axis + 1..<data.rank), count]),
      ], workItems: data.elementCount)
  }

  private mutating func lowerConcatenation(_ node: Node, axis: Int) {
    let output = node.outputs[0]
    let shape = graph.shape(output)
    let target = makeMovedSlot(for: output, elementwiseLayout(node))
    let strides = location(of: output).layout.strides(of: shape)
    let sources = node.inputs.map { location(of: $0) }
    willWritePieces(of: target, from: sources.map(\.slot))
    var start = 0
    for (input, source) in zip(node.inputs, sources) {
      let own = graph.shape(input)
      copy(
        from: source.slot, source.layout.strides(of: own), to: target, strides, targetOffset: start * strides[axis],
        own.dimensions)
      start += own[axis]
    }
  }
}

extension Pad {
  /// The padding with zeros that undoes this one: the gradient of constant padding.
  fileprivate var inverse: Pad { Pad(.constant(0), begins: begins.map { -$0 }, ends: ends.map { -$0 }) }
}
