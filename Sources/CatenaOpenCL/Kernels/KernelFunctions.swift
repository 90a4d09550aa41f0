import CatenaGraph
import CatenaTensors

/// The numbers by which host and kernels name functions. The kernels see them as definitions made from these tables.
enum KernelFunctions {
  /// Functions of one element.
  enum Unary: Int32, CaseIterable {
    case identity, relu, leakyRelu, elu, selu, sigmoid, hardSigmoid, hardSwish, tanh, softplus, erf, gelu, geluTanh
    case clip, squareRoot, exponential, logarithm, negate, absolute, reciprocal, floor, ceiling, sign, not
  }
  /// Functions of two elements.
  enum Binary: Int32, CaseIterable {
    case add, subtract, multiply, divide, power, minimum, maximum, prelu, modulo
    case equal, less, lessOrEqual, greater, greaterOrEqual, and, or, xor
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
  /// Element types in memory, integers first.
  enum Element: Int32, CaseIterable {
    case bool, uint8, int8, uint16, int16, uint32, int32, int64, float16, bfloat16, float32, float64
  }
  /// What the kernel for elements of any type does.
  enum Typed: Int32, CaseIterable {
    case convert, unary, binary, select
  }
  /// What a kernel may find wrong with the data.
  enum Fault: Int32, CaseIterable {
    case none, indexOutOfRange, divisionByZero

    /// The fault in words.
    var reason: String {
      switch self {
      case .none: "nothing is wrong"
      case .indexOutOfRange: "an index is out of range"
      case .divisionByZero: "an integer is divided by zero"
      }
    }
  }
  /// Added to a binary function's code: the operand comes first.
  static let reversed: Int32 = 64
  /// Added to a unary function's code: the value times the function's derivative at the operand.
  static let gradient: Int32 = 128

  static var definitions: String {
    let tables =
      [
        table("UNARY", Unary.self), table("BINARY", Binary.self), table("STAGE", Stage.self), table("POOL", Pool.self),
        table("REDUCE", Reduce.self), table("TYPE", Element.self), table("TYPED", Typed.self),
        table("FAULT", Fault.self),
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
  /// The kernels' code with the function's parameters.
  var kernelFunction: (code: KernelFunctions.Unary, a: Float, b: Float) {
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
    case .not: (.not, 0, 0)
    }
  }

  /// Whether the function has a meaning for integers.
  var takesIntegers: Bool {
    switch self {
    case .relu, .negate, .absolute, .sign, .clip, .not, .floor, .ceiling: true
    default: false
    }
  }
}

extension BinaryFunction {
  /// The kernels' code.
  var kernelFunction: KernelFunctions.Binary {
    switch self {
    case .add: .add
    case .subtract: .subtract
    case .multiply: .multiply
    case .divide: .divide
    case .power: .power
    case .minimum: .minimum
    case .maximum: .maximum
    case .prelu: .prelu
    case .modulo: .modulo
    case .equal: .equal
    case .less: .less
    case .lessOrEqual: .lessOrEqual
    case .greater: .greater
    case .greaterOrEqual: .greaterOrEqual
    case .and: .and
    case .or: .or
    case .xor: .xor
    }
  }
}

extension ElementType {
  /// The kernels' code, `nil` for what is not held.
  var kernelType: KernelFunctions.Element? {
    switch self {
    case .bool: .bool
    case .uint8: .uint8
    case .int8: .int8
    case .uint16: .uint16
    case .int16: .int16
    case .uint32: .uint32
    case .int32: .int32
    case .uint64: nil
    case .int64: .int64
    case .float16: .float16
    case .bfloat16: .bfloat16
    case .float32: .float32
    case .float64: .float64
    }
  }

  /// The type that kernels compute in: fractions of 16 bits are stored, and computed in f32.
  var computed: ElementType { self == .float16 || self == .bfloat16 ? .float32 : self }
}
