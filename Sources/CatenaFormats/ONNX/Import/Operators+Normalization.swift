import CatenaGraph
import CatenaTensors

extension OperatorImport {
  /// Normalisations at inference.
  static let normalization: [OperatorImport] = [
    OperatorImport(
      "BatchNormalization", .floats, note: "inference: no training mode, no running statistics as outputs"
    ) { importer, node throws(NodeFailure) in
      guard try !node.flag("training_mode"), !(1..<5).contains(where: node.wants) else {
        throw .unsupported("it is in training mode; export the model for inference")
      }
      guard try node.flag("spatial", default: true) else {
        throw .unsupported("spatial = 0 (statistics per position) is not supported")
      }
      let epsilon = try node.float("epsilon", default: 1e-5)
      return try importer.emit(
        .batchNormalization(epsilon: epsilon), importer.uniformOperands(node, count: 5), node)
    },
    OperatorImport("InstanceNormalization", .floats) { importer, node throws(NodeFailure) in
      let epsilon = try node.float("epsilon", default: 1e-5)
      return try importer.emit(
        .instanceNormalization(epsilon: epsilon), importer.uniformOperands(node, count: 3), node)
    },
    OperatorImport("LRN", .floats) { importer, node throws(NodeFailure) in
      guard let size = try node.int("size"), (1...ONNXLimits.parameter).contains(size) else {
        throw .invalid("size is missing or not positive")
      }
      let parameters = LocalResponseNormalization(
        alpha: try node.float("alpha", default: 1e-4), beta: try node.float("beta", default: 0.75),
        bias: try node.float("bias", default: 1), size: size)
      return try importer.emit(
        .localResponseNormalization(parameters), importer.operands(node, count: 1), node)
    },
    OperatorImport(
      "LayerNormalization", .floats, since: 17, note: "as its elementary operators; computed in the data's own type"
    ) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      let rank = importer.shape(data).rank
      let axis = try normalizedAxis(node.int("axis", default: -1), rank: rank)
      let moments = try importer.standardized(
        data, axes: Array(axis..<rank), epsilon: node.float("epsilon", default: 1e-5), node)
      var result = try importer.emit(
        .binary(.multiply), [moments.result, try importer.operand(node, 1)], node, isLast: !node.has(2))[0]
      if let bias = try importer.operand(node, ifGiven: 2) {
        result = try importer.emit(.binary(.add), [result, bias], node)[0]
      }
      return [result, moments.mean, moments.inverseDeviation]
    },
    OperatorImport(
      "GroupNormalization", .floats, since: 18, note: "as its elementary operators; computed in the data's own type"
    ) { importer, node throws(NodeFailure) in
      let operands = try importer.uniformOperands(node, count: 3)
      let shape = importer.shape(operands[0])
      try requireRank(shape, atLeast: 3, "data")
      guard let groups = try node.int("num_groups"), groups > 0, shape[1] % groups == 0 else {
        throw .invalid("num_groups is missing or does not divide the \(shape[1]) channels")
      }
      let inner = shape.count(of: 2..<shape.rank)
      let grouped = try importer.emit(
        .reshape([shape[0], groups, shape[1] / groups * inner]), [operands[0]], node, isLast: false)[0]
      let moments = try importer.standardized(
        grouped, axes: [2], epsilon: node.float("epsilon", default: 1e-5), node)
      // Until operator set 20, scale and bias have one entry per group, then one per channel.
      let perGroup = node.opset < 21
      let parameterShape: Shape =
        perGroup ? [1, groups, 1] : Shape([1, shape[1]] + [Int](repeating: 1, count: shape.rank - 2))
      var result = moments.result
      if !perGroup { result = try importer.emit(.reshape(shape), [result], node, isLast: false)[0] }
      for (position, function) in [BinaryFunction.multiply, .add].enumerated() {
        let parameter = try importer.emit(
          .reshape(parameterShape), [operands[position + 1]], node, isLast: false)[0]
        result = try importer.emit(
          .binary(function), [result, parameter], node, isLast: !perGroup && function == .add)[0]
      }
      return perGroup ? try importer.emit(.reshape(shape), [result], node) : [result]
    },
    OperatorImport(
      "MeanVarianceNormalization", .floats, since: 9, note: "as its elementary operators"
    ) { importer, node throws(NodeFailure) in
      let data = try importer.operand(node, 0)
      let axes = try normalizedAxes(node.ints("axes") ?? [0, 2, 3], rank: importer.shape(data).rank)
      let mean = try importer.mean(data, axes, node)
      let centred = try importer.emit(.binary(.subtract), [data, mean], node, isLast: false)[0]
      let squares = try importer.emit(.binary(.multiply), [centred, centred], node, isLast: false)[0]
      let variance = try importer.mean(squares, axes, node)
      let deviation = try importer.emit(.unary(.squareRoot), [variance], node, isLast: false)[0]
      let epsilon = importer.scalar(1e-9, importer.type(data).elementType, node)
      let divisor = try importer.emit(.binary(.add), [deviation, epsilon], node, isLast: false)[0]
      return try importer.emit(.binary(.divide), [centred, divisor], node)
    },
  ]
}

extension GraphImporter {
  fileprivate mutating func mean(
    _ data: ValueID, _ axes: [Int], _ node: ImportedNode
  ) throws(NodeFailure) -> ValueID {
    try emit(.reduce(Reduce(.mean, axes: axes, keepsDimensions: true)), [data], node, isLast: false)[0]
  }

  /// (x - mean) / sqrt(variance + epsilon) over `axes`.
  fileprivate mutating func standardized(
    _ data: ValueID, axes: [Int], epsilon: Float, _ node: ImportedNode
  ) throws(NodeFailure) -> (result: ValueID, mean: ValueID, inverseDeviation: ValueID) {
    let mean = try mean(data, axes, node)
    let centred = try emit(.binary(.subtract), [data, mean], node, isLast: false)[0]
    let squares = try emit(.binary(.multiply), [centred, centred], node, isLast: false)[0]
    let variance = try self.mean(squares, axes, node)
    let constant = scalar(Double(epsilon), type(data).elementType, node)
    let shifted = try emit(.binary(.add), [variance, constant], node, isLast: false)[0]
    let deviation = try emit(.unary(.squareRoot), [shifted], node, isLast: false)[0]
    let inverse = try emit(.unary(.reciprocal), [deviation], node, isLast: false)[0]
    let result = try emit(.binary(.multiply), [centred, inverse], node, isLast: false)[0]
    return (result, mean, inverse)
  }
}
