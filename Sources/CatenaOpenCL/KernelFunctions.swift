import CatenaGraph

/// The numbers by which host and kernels name functions. The kernels see them as definitions made from these tables.
enum KernelFunctions {
  /// Functions of one element.
  enum Unary: Int32, CaseIterable {
    case identity, relu, leakyRelu, elu, selu, sigmoid, hardSigmoid, hardSwish, tanh, softplus, erf, gelu, geluTanh
    case clip, squareRoot, exponential, logarithm, negate, absolute, reciprocal, floor, ceiling, sign
  }
  /// Functions of two elements.
  enum Binary: Int32, CaseIterable {
    case add, subtract, multiply, divide, power, minimum, maximum, prelu
  }
  /// How a stage of an epilogue finds its operand.
  enum Stage: Int32, CaseIterable {
    case none, unary, full, channel, row, scalar
  }
  /// What a pool computes.
  enum Pool: Int32, CaseIterable {
    case maximum, average, averageWithPadding, norm
  }
  /// What a reduction computes; a mean is a scaled sum.
  enum Reduce: Int32, CaseIterable {
    case sum, maximum, minimum, product
  }
  /// Added to a binary function's code: the operand comes first.
  static let reversed: Int32 = 64
  /// Added to a unary function's code: the value times the function's derivative at the operand.
  static let gradient: Int32 = 128

  static var definitions: String {
    let tables =
      [
        table("UNARY", Unary.self), table("BINARY", Binary.self), table("STAGE", Stage.self), table("POOL", Pool.self),
        table("REDUCE", Reduce.self),
      ].joined() + ["FUNCTION_REVERSED \(reversed)", "FUNCTION_GRADIENT \(gradient)"]
    return tables.map { "#define \($0)\n" }.joined()
  }

  private static func table<Code: CaseIterable & RawRepresentable<Int32>>(_ prefix: String, _: Code.Type) -> [String] {
    Code.allCases.map { "\(prefix)_\(upperSnakeCase("\($0)")) \($0.rawValue)" }
  }

  private static func upperSnakeCase(_ name: String) -> String {
    name.map { $0.isUppercase ? "_\($0)" : $0.uppercased() }.joined()
  }
}

extension UnaryFunction {
  /// The kernels' code with the function's parameters, `nil` where there is no kernel.
  var kernelFunction: (code: KernelFunctions.Unary, a: Float, b: Float)? {
    switch self {
    case .relu: (.relu, 0, 0)
    case .leakyRelu(let alpha): (.leakyRelu, alpha, 0)
    case .elu(let alpha): (.elu, alpha, 0)
    case .selu(let alpha, let gamma): (.selu, alpha, gamma)
    case .sigmoid: (.sigmoid, 0, 0)
    case .hardSigmoid(let alpha, let beta): (.hardSigmoid, alpha, beta)
    case .hardSwish: (.hardSwish, 0, 0)
    case .tanh: (.tanh, 0, 0)
    case .softplus: (.softplus, 0, 0)
    case .erf: (.erf, 0, 0)
    case .gelu: (.gelu, 0, 0)
    case .geluTanh: (.geluTanh, 0, 0)
    case .clip(let minimum, let maximum): (.clip, minimum, maximum)
    case .squareRoot: (.squareRoot, 0, 0)
    case .exponential: (.exponential, 0, 0)
    case .logarithm: (.logarithm, 0, 0)
    case .negate: (.negate, 0, 0)
    case .absolute: (.absolute, 0, 0)
    case .reciprocal: (.reciprocal, 0, 0)
    case .floor: (.floor, 0, 0)
    case .ceiling: (.ceiling, 0, 0)
    case .sign: (.sign, 0, 0)
    case .not: nil
    }
  }
}

extension BinaryFunction {
  /// The kernels' code, `nil` where there is no kernel.
  var kernelFunction: KernelFunctions.Binary? {
    switch self {
    case .add: .add
    case .subtract: .subtract
    case .multiply: .multiply
    case .divide: .divide
    case .power: .power
    case .minimum: .minimum
    case .maximum: .maximum
    case .prelu: .prelu
    case .modulo, .equal, .less, .lessOrEqual, .greater, .greaterOrEqual, .and, .or, .xor: nil
    }
  }
}
