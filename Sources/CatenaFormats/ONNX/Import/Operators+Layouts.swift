import CatenaGraph
import CatenaTensors

extension OperatorImport {
  /// Operators that change shapes.
  static let layouts: [OperatorImport] = [
    OperatorImport("Reshape", .anything) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      guard let target = try importer.knownIntegers(node, 1, "shape") else { throw .invalid("its shape is missing") }
      let shape = try reshaped(importer.shape(data), to: target, allowsZero: node.flag("allowzero"))
      return try importer.emit(.reshape(shape), [data], node)
    },
    OperatorImport("Flatten", .anything) { importer, node throws(NodeFailure) in
      let data = try importer.operands(node, count: 1)
      let shape = importer.shape(data[0])
      let axis = try node.int("axis", default: 1)
      guard axis >= -shape.rank, axis <= shape.rank else { throw .invalid("axis \(axis) is out of range for \(shape)") }
      let split = axis < 0 ? axis + shape.rank : axis
      return try importer.emit(
        .reshape([shape.count(of: 0..<split), shape.count(of: split..<shape.rank)]), data, node)
    },
    OperatorImport("Squeeze", .anything) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      let shape = importer.shape(data)
      let listed = try importer.listedAxes(node)
      let axes = try listed.map { (axes) throws(NodeFailure) in try normalizedAxes(axes, rank: shape.rank) }
      let removed = axes ?? (0..<shape.rank).filter { shape[$0] == 1 }
      if let axis = removed.first(where: { shape[$0] != 1 }) {
        throw .invalid("axis \(axis) of \(shape) has more than one element")
      }
      let kept = (0..<shape.rank).filter { !removed.contains($0) }
      return try importer.emit(.reshape(Shape(kept.map { shape[$0] })), [data], node)
    },
    OperatorImport("Unsqueeze", .anything) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      let shape = importer.shape(data)
      guard let axes = try importer.listedAxes(node) else { throw .invalid("axes are missing") }
      guard axes.count <= ONNXLimits.rank else { throw .invalid("\(axes.count) axes are too many") }
      var dimensions = shape.dimensions
      for axis in try normalizedAxes(axes, rank: shape.rank + axes.count) { dimensions.insert(1, at: axis) }
      return try importer.emit(.reshape(Shape(dimensions)), [data], node)
    },
    OperatorImport("Transpose", .anything) { importer, node throws(NodeFailure) in
      let data = try importer.operands(node, count: 1)
      let permutation = try node.ints("perm") ?? Array((0..<importer.shape(data[0]).rank).reversed())
      return try importer.emit(.transpose(permutation: permutation), data, node)
    },
    OperatorImport("Expand", .anything, since: 8) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      guard let target = try importer.knownIntegers(node, 1, "shape") else { throw .invalid("its shape is missing") }
      let stated = try ONNXLimits.shape(target.map(Int64.init))
      // The result's own shape: one operator, however the file leaves extents to the data.
      guard let shape = importer.shape(data).broadcast(with: stated) else {
        throw .invalid("\(importer.shape(data)) does not expand to \(stated)")
      }
      return try importer.emit(.expand(shape), [data], node)
    },
    OperatorImport("Tile", .anything, note: "as reshape and expand") { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      let shape = importer.shape(data)
      guard let repeats = try importer.knownIntegers(node, 1, "repeats") else { throw .invalid("repeats are missing") }
      try requireParameters("repeats", repeats, count: shape.rank, in: 0...ONNXLimits.parameter)
      guard 2 * shape.rank <= ONNXLimits.rank else { throw .unsupported("the data has \(shape.rank) axes") }
      let single = Shape(shape.dimensions.flatMap { [1, $0] })
      let repeated = try ONNXLimits.shape(zip(repeats, shape.dimensions).flatMap { [Int64($0), Int64($1)] })
      let folded = try importer.emit(.reshape(single), [data], node, isLast: false)
      let expanded = try importer.emit(.expand(repeated), folded, node, isLast: false)
      let result = try ONNXLimits.shape(zip(repeats, shape.dimensions).map { Int64($0 * $1) })
      return try importer.emit(.reshape(result), expanded, node)
    },
    OperatorImport("DepthToSpace", .anything, note: "as reshape and transpose") { importer, node throws(NodeFailure) in
      let (data, shape, block) = try importer.blocked(node)
      guard shape[1] % (block * block) == 0 else { throw .invalid("\(shape[1]) channels do not divide into blocks") }
      let depth = shape[1] / (block * block)
      let columnFirst: Bool
      switch try node.string("mode", default: "DCR") {
      case "DCR": columnFirst = false
      case "CRD": columnFirst = true
      case let mode: throw .invalid("mode '\(mode)' does not exist")
      }
      let split: Shape =
        columnFirst
        ? [shape[0], depth, block, block, shape[2], shape[3]] : [shape[0], block, block, depth, shape[2], shape[3]]
      let parts = try importer.emit(.reshape(split), [data], node, isLast: false)
      let permutation = columnFirst ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2]
      let moved = try importer.emit(.transpose(permutation: permutation), parts, node, isLast: false)
      return try importer.emit(.reshape([shape[0], depth, shape[2] * block, shape[3] * block]), moved, node)
    },
    OperatorImport("SpaceToDepth", .anything, note: "as reshape and transpose") { importer, node throws(NodeFailure) in
      let (data, shape, block) = try importer.blocked(node)
      guard shape[2] % block == 0, shape[3] % block == 0 else { throw .invalid("\(shape) does not divide into blocks") }
      let (rows, columns) = (shape[2] / block, shape[3] / block)
      let parts = try importer.emit(
        .reshape([shape[0], shape[1], rows, block, columns, block]), [data], node, isLast: false)
      let moved = try importer.emit(.transpose(permutation: [0, 3, 5, 1, 2, 4]), parts, node, isLast: false)
      return try importer.emit(.reshape([shape[0], shape[1] * block * block, rows, columns]), moved, node)
    },
  ]
}

extension GraphImporter {
  /// The axes of Squeeze and Unsqueeze: an attribute until operator set 12, then an input.
  fileprivate mutating func listedAxes(_ node: ImportedNode) throws(NodeFailure) -> [Int]? {
    node.opset < 13 ? try node.ints("axes") : try knownIntegers(node, 1, "axes")
  }

  fileprivate mutating func blocked(
    _ node: ImportedNode
  ) throws(NodeFailure) -> (data: ValueID, shape: Shape, block: Int) {
    let data = try operands(node, count: 1)[0]
    let shape = shape(data)
    guard shape.rank == 4 else { throw .invalid("the data needs 4 axes, it is \(shape)") }
    guard let block = try node.int("blocksize"), (1...(1 << 14)).contains(block) else {
      throw .invalid("blocksize is missing or not positive")
    }
    return (data, shape, block)
  }
}

/// ONNX's rule for Reshape: 0 copies the extent at its place (unless zeros are allowed), one -1 takes what is left.
func reshaped(_ shape: Shape, to target: [Int], allowsZero: Bool) throws(NodeFailure) -> Shape {
  var dimensions = target
  for (axis, extent) in target.enumerated() where extent == 0 && !allowsZero {
    guard axis < shape.rank else {
      throw .invalid("entry \(axis) of the shape \(target) copies an axis that \(shape) lacks")
    }
    dimensions[axis] = shape[axis]
  }
  let open = target.indices.filter { target[$0] == -1 }
  guard open.count <= 1 else { throw .invalid("the shape \(target) has more than one -1") }
  if let axis = open.first {
    dimensions[axis] = 1
    let rest = try ONNXLimits.shape(dimensions.map(Int64.init)).elementCount
    guard rest > 0 ? shape.elementCount % rest == 0 : shape.elementCount == 0 else {
      throw .invalid("\(shape) cannot be reshaped to \(target)")
    }
    guard rest > 0 else { throw .invalid("the -1 in the shape \(target) is ambiguous: the data is empty") }
    dimensions[axis] = shape.elementCount / rest
  }
  return try ONNXLimits.shape(dimensions.map(Int64.init))
}
