import CatenaGraph
import CatenaTensors

extension SlicedModelWriter {
  /// Changes the parameters that differ, in the form in which the node states them.
  mutating func editParameters(
    of proto: inout Onnx_NodeProto, _ index: Int, from group: [Node], to kept: [Node]
  ) throws(ONNXError) {
    guard group.count == 1, kept.count == 1 else { return }
    let data = kept[0].inputs.first.map { sliced.shape($0) } ?? .scalar
    let oldData = group[0].inputs.first.map { original.shape($0) } ?? .scalar
    let before = group[0]
    let after = kept[0]
    switch (before.operation, after.operation) {
    case (.convolution(let old), .convolution(let new)):
      if old.groups != new.groups { proto.set(.int("group", new.groups)) }
    case (.convolutionTranspose(let old), .convolutionTranspose(let new)):
      if old.convolution.groups != new.convolution.groups { proto.set(.int("group", new.convolution.groups)) }
    case (.split(_, let old), .split(let axis, let new)) where old != new:
      editSplit(&proto, sizes: new, extent: data[axis])
    // Bounds that count from the end, or are computed from the extent, change their meaning with the extent.
    case (.slice(let old), .slice(let new)) where old != new || oldData != data:
      try editSlice(&proto, index, old, oldData, new, data)
    case (.pad(let old), .pad(let new)) where old != new: try editPad(&proto, index, new)
    case (.reshape(let old), .reshape(let new)) where proto.opType == "Reshape" && old != new:
      try editReshape(&proto, index, old, new, data)
    case (.reshape, .reshape) where proto.opType == "Squeeze": editSqueeze(&proto, oldData, data)
    case (.expand(let old), .expand(let new)) where proto.opType == "Expand" && old != new:
      editExpand(&proto, old, new, data)
    case (.resize(let old), .resize(let new)) where old.sizes != new.sizes: editResize(&proto, new)
    default: break
    }
  }

  /// The tensor that input `position` of a node states in the file: an initialiser or a Constant.
  private func literal(_ proto: Onnx_NodeProto, _ position: Int) -> [Int]? {
    guard proto.input.indices.contains(position), !proto.input[position].isEmpty else { return nil }
    let name = proto.input[position]
    if let tensor = model.initializers[name] { return tensor.elementType.isInteger ? tensor.integers : nil }
    guard
      let constant = model.proto.graph.node.first(where: { $0.output.contains(name) && $0.opType == "Constant" }),
      let attribute = constant.attribute.first
    else { return nil }
    switch attribute.name {
    case "value_ints": return attribute.ints.map(Int.init)
    case "value":
      do throws(ONNXError) {
        let tensor = try Tensor(attribute.t, directory: nil)
        return tensor.elementType.isInteger ? tensor.integers : nil
      } catch { return nil }
    default: return nil
    }
  }

  /// States integers in input `position`: in place where the old initialiser has no other reader, else in a new one.
  private mutating func state(_ values: [Int], in proto: inout Onnx_NodeProto, _ position: Int, _ role: String) {
    while proto.input.count <= position { proto.input.append("") }
    let name = proto.input[position]
    let old = model.initializers[name]
    let type = old?.elementType == .int32 ? ElementType.int32 : .int64
    let tensor =
      type == .int32
      ? Tensor(values.map { Int32(truncatingIfNeeded: $0) }, shape: [values.count])
      : Tensor(values.map(Int64.init), shape: [values.count])
    let readers = model.proto.graph.node.reduce(0) { $0 + $1.input.filter { $0 == name }.count }
    let isOutput = model.proto.graph.output.contains { $0.name == name }
    if old != nil, readers == 1, !isOutput {
      initializers[name] = tensor
    } else {
      proto.input[position] = writer.addConstant(
        name.isEmpty ? "\(proto.output.first ?? "")/\(role)" : name, tensor)
    }
  }

  private mutating func editSplit(_ proto: inout Onnx_NodeProto, sizes: [Int], extent: Int) {
    let isStated = model.opset < 13 ? proto.attribute.contains { $0.name == "split" } : proto.input.count > 1
    let size = (extent + sizes.count - 1) / sizes.count
    let isEven = sizes.enumerated().allSatisfy { $1 == min(size, max(0, extent - $0 * size)) }
    if !isStated, isEven, model.opset >= 18 || extent % sizes.count == 0 { return }
    proto.removeAttribute("num_outputs")
    if model.opset < 13 {
      proto.set(.ints("split", sizes))
    } else {
      state(sizes, in: &proto, 1, "split")
    }
  }

  private mutating func editSlice(
    _ proto: inout Onnx_NodeProto, _ index: Int, _ old: Slice, _ oldShape: Shape, _ new: Slice, _ shape: Shape
  ) throws(ONNXError) {
    let isOld = model.opset < 10
    func values(_ name: String, _ position: Int) -> [Int]? {
      isOld ? proto.attribute.first { $0.name == name }?.ints.map(Int.init) : literal(proto, position)
    }
    guard var starts = values("starts", 1), var ends = values("ends", 2) else {
      return stateSlice(&proto, index, old, oldShape, new, shape)
    }
    let axes = values("axes", 3) ?? Array(starts.indices)
    let steps = values("steps", 4) ?? [Int](repeating: 1, count: starts.count)
    guard starts.count == ends.count, axes.count == starts.count, steps.count == starts.count else { return }
    for (position, axis) in axes.enumerated() {
      let axis = axis < 0 ? axis + shape.rank : axis
      let range = slicedRange(start: starts[position], end: ends[position], step: steps[position], extent: shape[axis])
      guard range != (new.starts[axis], new.sizes[axis], new.steps[axis]) else { continue }
      guard steps[position] == new.steps[axis] else { throw failure(index, "the step of axis \(axis) has changed") }
      starts[position] = new.starts[axis]
      ends[position] = new.end(of: axis)
    }
    if isOld {
      proto.set(.ints("starts", starts))
      proto.set(.ints("ends", ends))
    } else {
      state(starts, in: &proto, 1, "starts")
      state(ends, in: &proto, 2, "ends")
    }
  }

  /// States bounds that the file computes, as halves of a number of channels, where they do not depend on the batch.
  /// Others follow the shapes that they are computed from; the check at the end tells whether they do.
  private mutating func stateSlice(
    _ proto: inout Onnx_NodeProto, _ index: Int, _ old: Slice, _ oldShape: Shape, _ new: Slice, _ shape: Shape
  ) {
    func isWhole(_ slice: Slice, _ shape: Shape, _ axis: Int) -> Bool {
      slice.starts[axis] == 0 && slice.sizes[axis] == shape[axis] && slice.steps[axis] == 1
    }
    var atOtherBatch = old
    if case .slice(let other)? = otherGroups[index]?.first?.operation { atOtherBatch = other }
    let axes = new.starts.indices.filter { !isWhole(old, oldShape, $0) || !isWhole(new, shape, $0) }
    let isFixed = axes.allSatisfy { axis in
      old.starts[axis] == atOtherBatch.starts[axis] && old.sizes[axis] == atOtherBatch.sizes[axis]
    }
    guard !axes.isEmpty, isFixed else { return }
    state(axes.map { new.starts[$0] }, in: &proto, 1, "starts")
    state(axes.map { new.end(of: $0) }, in: &proto, 2, "ends")
    state(axes, in: &proto, 3, "axes")
    state(axes.map { new.steps[$0] }, in: &proto, 4, "steps")
  }

  private mutating func editPad(_ proto: inout Onnx_NodeProto, _ index: Int, _ pad: Pad) throws(ONNXError) {
    guard model.opset >= 11 else { return proto.set(.ints("pads", pad.begins + pad.ends)) }
    let rank = pad.begins.count
    let listed = model.opset >= 18 ? literal(proto, 3) : nil
    let axes = (listed ?? Array(0..<rank)).map { $0 < 0 ? $0 + rank : $0 }
    let others = (0..<rank).filter { !axes.contains($0) && (pad.begins[$0] != 0 || pad.ends[$0] != 0) }
    guard others.isEmpty else { throw failure(index, "the axes \(others) are padded, but the node does not list them") }
    state(axes.map { pad.begins[$0] } + axes.map { pad.ends[$0] }, in: &proto, 1, "pads")
  }

  private mutating func editReshape(
    _ proto: inout Onnx_NodeProto, _ index: Int, _ old: Shape, _ new: Shape, _ data: Shape
  ) throws(ONNXError) {
    let allowsZero = proto.attribute.contains { $0.name == "allowzero" && $0.i != 0 }
    func gives(_ target: [Int]) -> Bool {
      do throws(NodeFailure) { return try reshaped(data, to: target, allowsZero: allowsZero) == new } catch {
        return false
      }
    }
    if let stated = literal(proto, 1) {
      guard !gives(stated) else { return }
      let edited = stated.indices.map { axis in
        stated[axis] > 0 && axis < new.rank && axis < old.rank && old[axis] != new[axis] ? new[axis] : stated[axis]
      }
      if edited.count == new.rank, gives(edited) { return state(edited, in: &proto, 1, "shape") }
    }
    let target = try openTarget(index, new, data, allowsZero: allowsZero)
    guard gives(target) else { throw failure(index, "no target gives the shape \(new) from \(data)") }
    state(target, in: &proto, 1, "shape")
  }

  /// A target in which the extents that depend on the batch are left open.
  private func openTarget(
    _ index: Int, _ new: Shape, _ data: Shape, allowsZero: Bool
  ) throws(ONNXError) -> [Int] {
    guard let otherBatch, let other = otherGroups[index]?.first, let mine = originalGroups[index]?.first else {
      return new.dimensions
    }
    let (here, there) = (original.shape(mine.outputs[0]), otherBatch.shape(other.outputs[0]))
    var target = new.dimensions
    var open: [Int] = []
    for axis in 0..<new.rank where axis < here.rank && here[axis] != there[axis] {
      if !allowsZero, axis < data.rank, data[axis] == new[axis] {
        target[axis] = 0
      } else {
        open.append(axis)
        target[axis] = -1
      }
    }
    guard open.count <= 1 else { throw failure(index, "more than one extent of \(new) depends on the batch") }
    return target
  }

  /// A node that states no axes takes out all of one element, of which there may be more now.
  private mutating func editSqueeze(_ proto: inout Onnx_NodeProto, _ oldData: Shape, _ data: Shape) {
    func single(_ shape: Shape) -> [Int] { shape.dimensions.indices.filter { shape[$0] == 1 } }
    let isStated = model.opset < 13 ? proto.attribute.contains { $0.name == "axes" } : proto.input.count > 1
    guard !isStated, single(oldData) != single(data) else { return }
    if model.opset < 13 {
      proto.set(.ints("axes", single(oldData)))
    } else {
      state(single(oldData), in: &proto, 1, "axes")
    }
  }

  private mutating func editExpand(
    _ proto: inout Onnx_NodeProto, _ old: Shape, _ new: Shape, _ data: Shape
  ) {
    guard old.rank == new.rank, old != new else { return }
    if let stated = literal(proto, 1) {
      let missing = new.rank - stated.count
      let edited = stated.enumerated().map { index, extent in
        extent == 1 || old[index + missing] == new[index + missing] ? extent : new[index + missing]
      }
      return edited == stated ? () : state(edited, in: &proto, 1, "shape")
    }
    // A computed target may follow the shapes it is computed from, or have the old extents in its parts. Where the data
    // have an extent already, 1 leaves it to them, the batch among them.
    let offset = new.rank - data.rank
    let target = new.dimensions.indices.map { $0 >= offset && data[$0 - offset] == new[$0] ? 1 : new[$0] }
    state(target, in: &proto, 1, "shape")
  }

  private mutating func editResize(_ proto: inout Onnx_NodeProto, _ new: Resize) {
    // Scales follow the data; only stated sizes have to be changed.
    guard model.opset >= 11, let stated = literal(proto, 3), !stated.isEmpty, stated.count == new.sizes.count else {
      return
    }
    state(new.sizes, in: &proto, 3, "sizes")
  }
}
