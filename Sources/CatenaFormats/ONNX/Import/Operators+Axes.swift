import CatenaGraph
import CatenaTensors

extension OperatorImport {
  /// Operators along axes.
  static let axes: [OperatorImport] = [
    OperatorImport("Softmax", .floats) { importer, node throws(NodeFailure) in
      let data = try importer.operands(node, count: 1)
      return try importer.emit(.softmax(axes: softmaxAxes(node, importer.shape(data[0]))), data, node)
    },
    OperatorImport("LogSoftmax", .floats) { importer, node throws(NodeFailure) in
      let data = try importer.operands(node, count: 1)
      return try importer.emit(.logSoftmax(axes: softmaxAxes(node, importer.shape(data[0]))), data, node)
    },
    reduction("ReduceSum", .sum, axesAreInputSince: 13), reduction("ReduceMean", .mean),
    reduction("ReduceMax", .maximum), reduction("ReduceMin", .minimum), reduction("ReduceProd", .product),
    argReduction("ArgMax", findsMaximum: true), argReduction("ArgMin", findsMaximum: false),
  ]

  private static func reduction(
    _ name: String, _ kind: Reduce.Kind, axesAreInputSince: Int = 18
  ) -> OperatorImport {
    OperatorImport(name, .numbers) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      let reduce = try importer.reduction(kind, node, axesAreInput: node.opset >= axesAreInputSince)
      return try importer.emit(.reduce(reduce), [data], node)
    }
  }

  private static func argReduction(_ name: String, findsMaximum: Bool) -> OperatorImport {
    OperatorImport(name, .numbers) { importer, node throws(NodeFailure) in
      let data = try importer.operands(node, count: 1)
      let rank = importer.shape(data[0]).rank
      let reduce = ArgReduce(
        findsMaximum: findsMaximum, axis: try normalizedAxis(node.int("axis", default: 0), rank: rank),
        keepsDimensions: try node.flag("keepdims", default: true), selectsLast: try node.flag("select_last_index"))
      return try importer.emit(.argReduce(reduce), data, node)
    }
  }
}

/// Until operator set 12 a softmax ran over all axes from `axis` on, by default all but the first.
private func softmaxAxes(_ node: ImportedNode, _ shape: Shape) throws(NodeFailure) -> [Int] {
  if node.opset >= 13 { return [try normalizedAxis(node.int("axis", default: -1), rank: shape.rank)] }
  let axis = try normalizedAxis(node.int("axis", default: 1), rank: shape.rank)
  return Array(axis..<shape.rank)
}

extension GraphImporter {
  /// A reduction over the axes that the node's attribute or second input lists.
  mutating func reduction(
    _ kind: Reduce.Kind, _ node: ImportedNode, axesAreInput: Bool
  ) throws(NodeFailure) -> Reduce {
    let rank = shape(try operand(node, 0)).rank
    let listed = axesAreInput ? try knownIntegers(node, 1, "axes") : try node.ints("axes")
    var axes = try normalizedAxes(listed ?? [], rank: rank)
    if axes.isEmpty, try !node.flag("noop_with_empty_axes") { axes = Array(0..<rank) }
    return Reduce(kind, axes: axes, keepsDimensions: try node.flag("keepdims", default: true))
  }
}
