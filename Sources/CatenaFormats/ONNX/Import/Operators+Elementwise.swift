import CatenaGraph
import CatenaTensors

extension OperatorImport {
  /// Functions of one element.
  static let activations: [OperatorImport] =
    [
      unary("Relu", .floats) { _ in .relu },
      unary("LeakyRelu", .floats) { node throws(NodeFailure) in
        .leakyRelu(alpha: try node.float("alpha", default: 0.01))
      },
      unary("Elu", .floats) { node throws(NodeFailure) in .elu(alpha: try node.float("alpha", default: 1)) },
      unary("Selu", .floats) { node throws(NodeFailure) in
        .selu(
          alpha: try node.float("alpha", default: 1.673_263_192_176_818_8),
          gamma: try node.float("gamma", default: 1.050_701_022_148_132_3))
      },
      unary("Sigmoid", .floats) { _ in .sigmoid },
      unary("HardSigmoid", .floats) { node throws(NodeFailure) in
        .hardSigmoid(alpha: try node.float("alpha", default: 0.2), beta: try node.float("beta", default: 0.5))
      },
      unary("HardSwish", .floats, since: 14) { _ in .hardSwish },
      unary("Tanh", .floats) { _ in .tanh },
      unary("Softplus", .floats) { _ in .softplus },
      unary("Erf", .floats, since: 9) { _ in .erf },
      unary("Gelu", .floats, since: 20) { node throws(NodeFailure) in
        switch try node.string("approximate", default: "none") {
        case "none": .gelu
        case "tanh": .geluTanh
        case let other: throw .invalid("approximate '\(other)' does not exist")
        }
      },
      unary("Sqrt", .floats) { _ in .squareRoot },
      unary("Exp", .floats) { _ in .exponential },
      unary("Log", .floats) { _ in .logarithm },
      unary("Neg", .numbers) { _ in .negate },
      unary("Abs", .numbers) { _ in .absolute },
      unary("Reciprocal", .floats) { _ in .reciprocal },
      unary("Floor", .floats) { _ in .floor },
      unary("Ceil", .floats) { _ in .ceiling },
      unary("Sign", .numbers, since: 9) { _ in .sign },
      unary("Not", .bool, since: 1) { _ in .not },
      OperatorImport("Clip", .numbers) { importer, node throws(NodeFailure) in try importer.clip(node) },
    ]

  /// Functions of two elements, and sums of several.
  static let arithmetic: [OperatorImport] =
    [
      binary("Add", .numbers, .add), binary("Sub", .numbers, .subtract), binary("Mul", .numbers, .multiply),
      binary("Div", .numbers, .divide), binary("PRelu", .floats, .prelu),
      binary("Equal", Set<ElementType>.numbers.union([.bool]), .equal), binary("Less", .numbers, .less),
      binary("Greater", .numbers, .greater), binary("LessOrEqual", .numbers, .lessOrEqual, since: 12),
      binary("GreaterOrEqual", .numbers, .greaterOrEqual, since: 12), binary("And", .bool, .and),
      binary("Or", .bool, .or), binary("Xor", .bool, .xor),
      chain("Sum", .floats, .add), chain("Min", .numbers, .minimum), chain("Max", .numbers, .maximum),
      OperatorImport("Mean", .floats) { importer, node throws(NodeFailure) in
        let sum = try importer.chain(.add, node, isLast: false)
        let count = importer.scalar(Double(node.inputs.count), importer.type(sum).elementType, node)
        return try importer.emit(.binary(.divide), [sum, count], node)
      },
      OperatorImport("Mod", [.int32, .int64], since: 10, note: "fmod = 0") { importer, node throws(NodeFailure) in
        guard try !node.flag("fmod") else { throw .unsupported("fmod = 1 is not supported") }
        return try importer.emit(.binary(.modulo), importer.uniformOperands(node, count: 2), node)
      },
      OperatorImport("Pow", .numbers) { importer, node throws(NodeFailure) in
        let operands = try importer.operands(node, count: 2)
        let (base, exponent) = (importer.type(operands[0]).elementType, importer.type(operands[1]).elementType)
        guard Set<ElementType>.numbers.contains(exponent) else {
          throw .unsupported("an exponent of type \(exponent.rawValue) is not supported")
        }
        // The base's type is the result's; a fractional exponent of an integer base needs fractions in between.
        guard base != exponent else { return try importer.emit(.binary(.power), operands, node) }
        if base.isFloatingPoint || exponent.isInteger {
          let cast = try importer.emit(.cast(base), [operands[1]], node, isLast: false)
          return try importer.emit(.binary(.power), [operands[0], cast[0]], node)
        }
        let cast = try importer.emit(.cast(exponent), [operands[0]], node, isLast: false)
        let power = try importer.emit(.binary(.power), [cast[0], operands[1]], node, isLast: false)
        return try importer.emit(.cast(base), power, node)
      },
      OperatorImport("Where", .anything, since: 9, typedOperand: 1) { importer, node throws(NodeFailure) in
        let operands = try importer.operands(node, count: 3)
        guard importer.type(operands[0]).elementType == .bool else { throw .invalid("the condition is not bool") }
        try importer.requireOneElementType(Array(operands[1...]))
        return try importer.emit(.select, operands, node)
      },
      OperatorImport("Cast", .anything) { importer, node throws(NodeFailure) in
        guard let code = try node.int("to") else { throw .invalid("to is missing") }
        guard let type = ElementType(onnx: Int32(clamping: code)), Set.anything.contains(type) else {
          throw .unsupported("a cast to \(ElementType.onnxName(Int32(clamping: code))) is not supported")
        }
        return try importer.emit(.cast(type), importer.operands(node, count: 1), node)
      },
      OperatorImport("CastLike", .anything, since: 15) { importer, node throws(NodeFailure) in
        let operands = try importer.operands(node, count: 2)
        let type = importer.type(operands[1]).elementType
        guard Set.anything.contains(type) else { throw .unsupported("a cast to \(type.rawValue) is not supported") }
        return try importer.emit(.cast(type), [operands[0]], node)
      },
      OperatorImport("Identity", .anything) { importer, node throws(NodeFailure) in
        try importer.emit(.identity, importer.operands(node, count: 1), node)
      },
      OperatorImport("Dropout", .floats, note: "inference: the identity") { importer, node throws(NodeFailure) in
        let data = try importer.operand(node, 0)
        if node.has(2), try importer.knownScalar(node, 2, "training_mode") != 0 {
          throw .unsupported("it is in training mode; export the model for inference")
        }
        let result = try importer.emit(.identity, [data], node)
        guard node.wants(1) else { return result }
        // Before, runtimes disagree on what the mask of an inactive dropout holds.
        guard node.opset >= 12 else { throw .unsupported("its output 1 (mask) is supported from operator set 12 on") }
        return [result[0], try importer.filled(Tensor(scalar: true), importer.shape(data), node, output: 1)]
      },
    ]

  private static func unary(
    _ name: String, _ types: Set<ElementType>, since: Int = 7,
    _ function: @escaping @Sendable (ImportedNode) throws(NodeFailure) -> UnaryFunction
  ) -> OperatorImport {
    OperatorImport(name, types, since: since) { importer, node throws(NodeFailure) in
      try importer.emit(.unary(function(node)), importer.operands(node, count: 1), node)
    }
  }

  private static func binary(
    _ name: String, _ types: Set<ElementType>, _ function: BinaryFunction, since: Int = 7
  ) -> OperatorImport {
    OperatorImport(name, types, since: since) { importer, node throws(NodeFailure) in
      try importer.emit(.binary(function), importer.uniformOperands(node, count: 2), node)
    }
  }

  private static func chain(
    _ name: String, _ types: Set<ElementType>, _ function: BinaryFunction
  ) -> OperatorImport {
    OperatorImport(name, types) { importer, node throws(NodeFailure) in [try importer.chain(function, node)] }
  }
}

extension GraphImporter {
  /// One operand after the other; a single one is passed on.
  fileprivate mutating func chain(
    _ function: BinaryFunction, _ node: ImportedNode, isLast: Bool = true
  ) throws(NodeFailure) -> ValueID {
    let operands = try uniformOperands(node)
    guard operands.count > 1 else { return try emit(.identity, operands, node, isLast: isLast)[0] }
    var result = operands[0]
    for (position, operand) in operands.enumerated().dropFirst() {
      result = try emit(
        .binary(function), [result, operand], node, isLast: isLast && position == operands.count - 1)[0]
    }
    return result
  }

  /// Known bounds of floats become the function's parameters; others (integers, computed bounds) a maximum and a
  /// minimum.
  fileprivate mutating func clip(_ node: ImportedNode) throws(NodeFailure) -> [ValueID] {
    let data = try operand(node, 0)
    let type = type(data)
    let hasAttributes = node.opset < 11
    guard type.elementType.isFloatingPoint || node.opset >= 12 else {
      throw .unsupported("integers are supported from operator set 12 on")
    }
    if hasAttributes {
      return try emit(
        .unary(
          .clip(
            minimum: try node.float("min", default: -.greatestFiniteMagnitude),
            maximum: try node.float("max", default: .greatestFiniteMagnitude))), [data], node)
    }
    let minimum = try operand(node, ifGiven: 1)
    let maximum = try operand(node, ifGiven: 2)
    try requireOneElementType([data] + [minimum, maximum].compactMap { $0 })
    for bound in [minimum, maximum] {
      if let bound, shape(bound).elementCount != 1 { throw .invalid("a bound is \(shape(bound)), not a scalar") }
    }
    if type.elementType.isFloatingPoint, type.elementType != .float64,
      let low = try knownBound(minimum, default: -.infinity), let high = try knownBound(maximum, default: .infinity),
      low <= high
    {
      return try emit(.unary(.clip(minimum: low, maximum: high)), [data], node)
    }
    var result = data
    if let minimum { result = try emit(.binary(.maximum), [result, minimum], node, isLast: maximum == nil)[0] }
    if let maximum { result = try emit(.binary(.minimum), [result, maximum], node)[0] }
    return minimum == nil && maximum == nil ? try emit(.identity, [data], node) : [result]
  }

  private mutating func knownBound(_ bound: ValueID?, default value: Float) throws(NodeFailure) -> Float? {
    guard let bound else { return value }
    return try known(bound)?.doubles.first.map { Float($0) }
  }
}
