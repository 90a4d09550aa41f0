import COneDNN
import CatenaCompute
import CatenaGraph
import CatenaTensors

extension Lowering {
  /// Lowers operators that only move elements: as views where possible.
  func lowerMovement(_ node: Node) {
    let (data, value) = (node.inputs[0], node.outputs[0])
    switch node.operation {
    case .identity: views[value] = view(data)
    case .reshape(let shape): views[value] = view(data).reshaped(to: shape) ?? reshapedCopy(data, shape)
    case .transpose(let permutation):
      var result = view(data)
      result.shape = graph.shape(value)
      result.strides = permutation.map { view(data).strides[$0] }
      views[value] = result
    case .expand: views[value] = view(data).broadcast(to: graph.shape(value))
    case .slice(let slice): views[value] = view(data).sliced(slice)
    case .split(let axis, let sizes): lowerSplit(node, axis: axis, sizes: sizes)
    case .concatenate(let axis): lowerConcatenate(node, axis: axis)
    case .sliceGradient(let slice, let shape):
      let result = zeros(shape, like: view(data), value)
      addCopy(view(data), result.sliced(slice), name: graph[value].name)
      views[value] = result
    case .pad(let pad): lowerPad(node, pad)
    case .padGradient(let pad, let shape): lowerPadGradient(node, pad, shape)
    case .gather(let axis): lowerGather(node, axis: axis)
    case .gatherGradient(let axis, let shape): lowerGatherGradient(node, axis: axis, shape: shape)
    case .resize(let resize):
      let maps = graph.shape(data).dimensions.enumerated().map { resize.map(axis: $0, extent: $1) }
      mapAxes(node, maps)
    case .resizeGradient(let resize, let shape):
      let maps = shape.dimensions.enumerated().map { resize.map(axis: $0, extent: $1)?.transposed(columns: $1) }
      mapAxes(node, maps)
    default: preconditionFailure("\(node.operation.name) moves no data")
    }
  }

  private func reshapedCopy(_ data: ValueID, _ shape: Shape) -> View {
    var result = logical(data, storage(data))
    result.shape = shape
    result.strides = shape.strides
    return result
  }

  /// A new dense tensor of zeros (or another number) in the order of memory of `other`, which may have gaps.
  private func zeros(_ shape: Shape, like other: View, _ value: ValueID, filledWith number: Double = 0) -> View {
    let result = allocate(shape, other.layoutOfCopy, other.storage)
    addFill(result, with: number, name: graph[value].name)
    return result
  }

  private func lowerSplit(_ node: Node, axis: Int, sizes: [Int]) {
    var start = 0
    let data = view(node.inputs[0])
    for (output, size) in zip(node.outputs, sizes) {
      views[output] = data.sliced(Slice(start..<start + size, axis: axis, of: data.shape))
      start += size
    }
  }

  private func lowerConcatenate(_ node: Node, axis: Int) {
    let value = node.outputs[0]
    let parts = node.inputs.map { view($0) }
    let filled = parts.filter { $0.shape.elementCount > 0 }
    let layout = (filled.first { $0.isDense } ?? filled.first ?? parts[0]).layoutOfCopy
    let result = allocate(graph.shape(value), layout, storage(value))
    var start = 0
    for part in parts {
      let end = start + part.shape[axis]
      if part.shape.elementCount > 0 {
        let slice = Slice(start..<end, axis: axis, of: result.shape)
        addCopy(part, result.sliced(slice), name: graph[value].name)
      }
      start = end
    }
    views[value] = result
  }

  // MARK: Padding

  private func lowerPad(_ node: Node, _ pad: Pad) {
    let data = view(node.inputs[0])
    let value = node.outputs[0]
    guard case .constant(let number) = pad.mode else {
      let maps = data.shape.dimensions.indices.map { pad.map(axis: $0, extent: data.shape[$0]) }
      mapAxes(node, maps)
      return
    }
    let result = zeros(graph.shape(value), like: data, value, filledWith: number)
    copyOverlap(data, at: pad.begins, into: result, value)
    views[value] = result
  }

  private func lowerPadGradient(_ node: Node, _ pad: Pad, _ shape: Shape) {
    let gradient = view(node.inputs[0])
    let value = node.outputs[0]
    guard case .constant = pad.mode else {
      let maps = shape.dimensions.indices.map {
        pad.map(axis: $0, extent: shape[$0])?.transposed(columns: shape[$0])
      }
      mapAxes(node, maps)
      return
    }
    if (pad.begins + pad.ends).allSatisfy({ $0 >= 0 }) {
      let steps = [Int](repeating: 1, count: shape.rank)
      views[value] = gradient.sliced(Slice(starts: pad.begins, sizes: shape.dimensions, steps: steps))
      return
    }
    let result = zeros(shape, like: gradient, value)
    copyOverlap(gradient, at: pad.begins.map { -$0 }, into: result, value)
    views[value] = result
  }

  /// Copies the part of `source`, laid at `origin` of `target`, that lies inside it.
  private func copyOverlap(_ source: View, at origin: [Int], into target: View, _ value: ValueID) {
    let axes = origin.indices
    let first = axes.map { max(0, origin[$0]) }
    let sizes = axes.map { min(target.shape[$0], origin[$0] + source.shape[$0]) - first[$0] }
    guard sizes.allSatisfy({ $0 > 0 }) else { return }
    let steps = [Int](repeating: 1, count: sizes.count)
    addCopy(
      source.sliced(Slice(starts: axes.map { first[$0] - origin[$0] }, sizes: sizes, steps: steps)),
      target.sliced(Slice(starts: first, sizes: sizes, steps: steps)), name: graph[value].name)
  }

  // MARK: Gathering

  private func lowerGather(_ node: Node, axis: Int) {
    if defineChannels(node, axis: axis, isPlaced: false) { return }
    let value = node.outputs[0]
    let shape = graph.shape(node.inputs[0])
    // Elements are copied as they are: an image may be kept in bf16 on one side only.
    let data = logical(node.inputs[0], storage(value))
    let indices = logical(node.inputs[1], storage(node.inputs[1]))
    let result = allocate(graph.shape(value), .logical(rank: graph.shape(value).rank), storage(value))
    addStep(record(value, "gather", inputs: [result, indices]), reads: [data, indices], writes: [result]) { binder in
      catena_add_gather(
        binder.program, binder.pointer(data), binder.pointer(indices), indices.storage.kernelType,
        binder.pointer(result), Int64(shape.count(of: 0..<axis)), Int64(shape[axis]),
        Int64(indices.shape.elementCount), Int64(shape.count(of: axis + 1..<shape.rank)),
        Int32(data.storage.byteCount))
    }
    views[value] = result
  }

  private func lowerGatherGradient(_ node: Node, axis: Int, shape: Shape) {
    if defineChannels(node, axis: axis, isPlaced: true) { return }
    let value = node.outputs[0]
    let gradient = logical(node.inputs[0])
    let indices = logical(node.inputs[1], storage(node.inputs[1]))
    let result = allocate(shape, .logical(rank: shape.rank), .float32)
    addStep(record(value, "gatherGradient", inputs: [gradient]), reads: [gradient, indices], writes: [result]) {
      binder in
      catena_add_scatter_add(
        binder.program, binder.floats(gradient), binder.pointer(indices), indices.storage.kernelType,
        binder.floats(result), Int64(shape.count(of: 0..<axis)), Int64(shape[axis]),
        Int64(indices.shape.elementCount), Int64(shape.count(of: axis + 1..<shape.rank)))
    }
    define(value, result)
  }

  /// Makes a view of images of which known channels are taken, or that get zeros between theirs; `false` where none does.
  private func defineChannels(_ node: Node, axis: Int, isPlaced: Bool) -> Bool {
    let value = node.outputs[0]
    let shape = graph.shape(value)
    guard axis == 1, shape.rank > 2, let indices = graph.constants[node.inputs[1]], indices.shape.rank == 1,
      var result = views[node.inputs[0]], result.isDense(.channelsLast(rank: shape.rank)),
      result.storage == .float32 || result.storage == .bfloat16
    else { return false }
    let extent = isPlaced ? shape[1] : result.shape[1]
    let channels = indices.integers.map { Int($0) + ($0 < 0 ? extent : 0) }
    guard let first = channels.first, let last = channels.last, first >= 0, last < extent,
      zip(channels, channels.dropFirst()).allSatisfy({ $0 < $1 })
    else { return false }
    if channels.count == extent {
      define(value, result)
    } else if !isPlaced, channels.count == 1 {
      define(value, result.sliced(Slice(first..<first + 1, axis: 1, of: result.shape)))
    } else {
      result.map = ChannelMap(channels: channels.map(Int32.init), isPlaced: isPlaced)
      result.strides[1] = 0
      result.shape = shape
      views[value] = result
    }
    return true
  }

  // MARK: Axis maps

  /// Applies one sparse matrix per axis (`nil`: the axis stays), one axis after the other.
  private func mapAxes(_ node: Node, _ maps: [AxisMap?]) {
    let value = node.outputs[0]
    let source = view(node.inputs[0])
    let layout = source.isDense ? source.layout : .logical(rank: source.shape.rank)
    var current = dense(node.inputs[0], layout)
    for (axis, map) in maps.enumerated() {
      guard let map else { continue }
      var shape = current.shape
      shape[axis] = map.rows.count - 1
      let result = allocate(shape, layout, .float32)
      addAxisMap(map, axis, current, result, record(value, node.operation.name, inputs: [current]))
      current = result
    }
    define(value, current)
  }

  private func addAxisMap(_ map: AxisMap, _ axis: Int, _ source: View, _ result: View, _ record: KernelRecord) {
    let order = source.layout.order
    guard let place = order.firstIndex(of: axis) else { preconditionFailure("a layout lists every axis") }
    let outer = order[..<place].reduce(1) { $0 * source.shape[$1] }
    let inner = order[(place + 1)...].reduce(1) { $0 * source.shape[$1] }
    addStep(record, reads: [source], writes: [result]) { binder in
      catena_add_axis_map(
        binder.program, binder.floats(source), binder.floats(result), Int64(outer), Int64(source.shape[axis]),
        Int64(result.shape[axis]), Int64(inner), map.rows, map.columns, map.weights)
    }
  }
}
