import CatenaGraph
import CatenaTensors

extension OperatorImport {
  /// Functions that are written as a few elementary operators.
  static let composed: [OperatorImport] = [
    OperatorImport("Softsign", .floats, note: note) { importer, node throws(NodeFailure) in
      let data = try importer.operands(node, count: 1)
      let size = try importer.emit(.unary(.absolute), data, node, isLast: false)[0]
      let one = importer.scalar(1, importer.type(size).elementType, node)
      let divisor = try importer.emit(.binary(.add), [size, one], node, isLast: false)[0]
      return try importer.emit(.binary(.divide), [data[0], divisor], node)
    },
    OperatorImport("Mish", .floats, since: 18, note: note) { importer, node throws(NodeFailure) in
      let data = try importer.operands(node, count: 1)
      let softplus = try importer.emit(.unary(.softplus), data, node, isLast: false)
      let factor = try importer.emit(.unary(.tanh), softplus, node, isLast: false)[0]
      return try importer.emit(.binary(.multiply), [data[0], factor], node)
    },
    OperatorImport("Celu", [.float32], since: 12, note: note) { importer, node throws(NodeFailure) in
      let data = try importer.operands(node, count: 1)
      let alpha = importer.scalar(Double(try node.float("alpha", default: 1)), .float32, node)
      let scaled = try importer.emit(.binary(.divide), [data[0], alpha], node, isLast: false)
      let elu = try importer.emit(.unary(.elu(alpha: 1)), scaled, node, isLast: false)[0]
      // alpha * elu(x / alpha) is x where x is positive and alpha * (exp(x / alpha) - 1) elsewhere.
      return try importer.emit(.binary(.multiply), [elu, alpha], node)
    },
    OperatorImport("ThresholdedRelu", .floats, since: 10, note: note) { importer, node throws(NodeFailure) in
      let data = try importer.operands(node, count: 1)[0]
      let type = importer.type(data).elementType
      let threshold = importer.scalar(Double(try node.float("alpha", default: 1)), type, node)
      let passes = try importer.emit(.binary(.greater), [data, threshold], node, isLast: false)[0]
      return try importer.emit(.select, [passes, data, importer.scalar(0, type, node)], node)
    },
    OperatorImport("IsNaN", .floats, since: 9, note: note) { importer, node throws(NodeFailure) in
      let data = try importer.operands(node, count: 1)[0]
      let equal = try importer.emit(.binary(.equal), [data, data], node, isLast: false)
      return try importer.emit(.unary(.not), equal, node)
    },
    reduction("ReduceL1", before: .absolute, .sum),
    OperatorImport("ReduceL2", .floats, note: note) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      let reduce = try importer.reduction(.sum, node, axesAreInput: node.opset >= 18)
      let squares = try importer.emit(.binary(.multiply), [data, data], node, isLast: false)
      let sum = try importer.emit(.reduce(reduce), squares, node, isLast: false)[0]
      // The root's slope at zero is infinite, the norm's is taken as 0 there: a layer that is off has no gradient.
      let type = importer.type(sum).elementType
      let (zero, one) = (importer.scalar(0, type, node), importer.scalar(1, type, node))
      let isZero = try importer.emit(.binary(.equal), [sum, zero], node, isLast: false)[0]
      let safe = try importer.emit(.select, [isZero, one, sum], node, isLast: false)
      let root = try importer.emit(.unary(.squareRoot), safe, node, isLast: false)[0]
      return try importer.emit(.select, [isZero, zero, root], node)
    },
    reduction("ReduceSumSquare", squares: true, .sum),
    reduction("ReduceLogSum", .sum, after: .logarithm),
    OperatorImport("ReduceLogSumExp", .floats, note: note) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      let reduce = try importer.reduction(.sum, node, axesAreInput: node.opset >= 18)
      // The largest element is taken out first, so that no exponential overflows.
      let peak = try importer.emit(
        .reduce(Reduce(.maximum, axes: reduce.axes, keepsDimensions: true)), [data], node, isLast: false)[0]
      let shifted = try importer.emit(.binary(.subtract), [data, peak], node, isLast: false)
      let powers = try importer.emit(.unary(.exponential), shifted, node, isLast: false)
      let sum = try importer.emit(.reduce(reduce), powers, node, isLast: false)
      let logarithm = try importer.emit(.unary(.logarithm), sum, node, isLast: false)[0]
      let offset = try importer.emit(.reshape(importer.shape(logarithm)), [peak], node, isLast: false)[0]
      return try importer.emit(.binary(.add), [logarithm, offset], node)
    },
  ]

  private static let note = "as its elementary operators"

  private static func reduction(
    _ name: String, before: UnaryFunction? = nil, squares: Bool = false, _ kind: Reduce.Kind,
    after: UnaryFunction? = nil
  ) -> OperatorImport {
    OperatorImport(name, .floats, note: note) { importer, node throws(NodeFailure) in
      var data = try importer.operand(node, 0)
      let reduce = try importer.reduction(kind, node, axesAreInput: node.opset >= 18)
      if let before { data = try importer.emit(.unary(before), [data], node, isLast: false)[0] }
      if squares { data = try importer.emit(.binary(.multiply), [data, data], node, isLast: false)[0] }
      let result = try importer.emit(.reduce(reduce), [data], node, isLast: after == nil)
      return try after.map { (after) throws(NodeFailure) in try importer.emit(.unary(after), result, node) } ?? result
    }
  }
}
