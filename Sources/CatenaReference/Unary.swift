import CatenaGraph
import CatenaTensors
import Foundation

extension UnaryFunction {
  /// The derivative at the function's input, or computed from its output where `derivativeReadsOutput`.
  ///
  /// At kinks it is PyTorch's: 0 at the kink of relu, abs, hardSigmoid; 1 at clip's bounds; the left slope of leakyRelu;
  /// the outer slopes of hardSwish.
  func derivative(_ value: Double) -> Double {
    switch self {
    case .relu: return value > 0 ? 1 : 0
    case .leakyRelu(let alpha): return value > 0 ? 1 : Double(alpha)
    case .elu(let alpha): return value > 0 ? 1 : Double(alpha) * exp(value)
    case .selu(let alpha, let gamma): return Double(gamma) * (value > 0 ? 1 : Double(alpha) * exp(value))
    case .sigmoid: return value * (1 - value)
    case .hardSigmoid(let alpha, let beta):
      let inner = Double(alpha) * value + Double(beta)
      return inner > 0 && inner < 1 ? Double(alpha) : 0
    case .hardSwish: return value <= -3 ? 0 : value < 3 ? value / 3 + 0.5 : 1
    case .tanh: return 1 - value * value
    case .softplus: return logistic(value)
    case .erf: return 2 / Double.pi.squareRoot() * exp(-value * value)
    case .gelu:
      let density = exp(-value * value / 2) / (2 * Double.pi).squareRoot()
      return 0.5 * (1 + Foundation.erf(value / 2.squareRoot())) + value * density
    case .geluTanh:
      let tangent = Foundation.tanh(geluInner(value))
      let slope = (2 / Double.pi).squareRoot() * (1 + 3 * 0.044715 * value * value)
      return 0.5 * (1 + tangent) + 0.5 * value * (1 - tangent * tangent) * slope
    case .clip(let minimum, let maximum): return value >= Double(minimum) && value <= Double(maximum) ? 1 : 0
    case .squareRoot: return 0.5 / value
    case .exponential: return value
    case .logarithm: return 1 / value
    case .negate: return -1
    case .absolute: return value > 0 ? 1 : value < 0 ? -1 : 0
    case .reciprocal: return -value * value
    case .floor, .ceiling, .sign, .not: return 0
    }
  }

  /// The function of one integer, wrapping at its width; `nil` where it has no meaning for integers.
  fileprivate func integerValue<Integer: FixedWidthInteger>(_ x: Integer) -> Integer? {
    switch self {
    case .relu: x < 0 ? 0 : x
    case .negate: 0 &- x
    case .absolute: x < 0 ? 0 &- x : x
    case .sign: x.signum()
    case .floor, .ceiling: x
    case .clip(let minimum, let maximum):
      // A bound outside the type's range does not bind.
      Swift.min(Swift.max(x, Integer(clamping: minimum)), Integer(clamping: maximum))
    default: nil
    }
  }
}

extension FixedWidthInteger {
  /// The nearest integer of this type towards zero; NaN is 0.
  fileprivate init(clamping value: Float) {
    if let exact = Self(exactly: value.rounded(.towardZero)) {
      self = exact
    } else {
      self = value.isNaN ? 0 : value < 0 ? Self.min : Self.max
    }
  }
}

/// 1 / (1 + e^-x) without overflow.
private func logistic(_ x: Double) -> Double {
  if x >= 0 { return 1 / (1 + exp(-x)) }
  let power = exp(x)
  return power / (1 + power)
}

private func geluInner(_ x: Double) -> Double { (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x) }

extension Reference {
  static func unary(_ function: UnaryFunction, _ data: Tensor) throws(EvaluationError) -> Tensor {
    if data.elementType.isFloatingPoint {
      let values = try data.reals()
      return Tensor(reals: makeReals(values.count) { function.value(at: values[$0]) }, data.type)
    }
    if data.elementType == .bool {
      guard function == .not else { throw EvaluationError(reason: "\(function) has no meaning for bool") }
      return Tensor(data.doubles.map { $0 == 0 }, shape: data.shape)
    }
    return try withInteger(data.elementType, IntegerUnary(function: function, data: data))
  }

  static func unaryGradient(
    _ function: UnaryFunction, _ gradient: Tensor, _ value: Tensor
  ) throws(EvaluationError) -> Tensor {
    let gradients = try gradient.reals("the gradient")
    let values = try value.reals()
    return Tensor(
      reals: makeReals(gradients.count) { index in
        let slope = function.derivative(values[index])
        return slope == 0 && function.selects ? 0 : gradients[index] * slope
      }, gradient.type)
  }
}

extension UnaryFunction {
  /// Whether the function does not look at its input where its slope is 0, so that no gradient passes, whatever it is.
  fileprivate var selects: Bool {
    switch self {
    case .relu, .clip, .hardSigmoid, .hardSwish, .absolute: true
    default: false
    }
  }
}

private struct IntegerUnary: IntegerWork {
  let function: UnaryFunction
  let data: Tensor

  func run<Integer: TensorInteger>(_ type: Integer.Type) throws(EvaluationError) -> Tensor {
    var results: [Integer] = []
    for element in data.elements(of: type) {
      guard let result = function.integerValue(element) else {
        throw EvaluationError(reason: "\(function) has no meaning for \(data.elementType.rawValue)")
      }
      results.append(result)
    }
    return Tensor(results, shape: data.shape)
  }
}
