import Foundation

extension UnaryFunction {
  /// The function's value at `x`, literally, in double precision. `not` takes 0 as false and everything else as true.
  public func value(at x: Double) -> Double {
    switch self {
    case .relu: x > 0 || x.isNaN ? x : 0
    case .leakyRelu(let alpha): x < 0 ? Double(alpha) * x : x
    case .elu(let alpha): x < 0 ? Double(alpha) * expm1(x) : x
    case .selu(let alpha, let gamma): Double(gamma) * (x > 0 ? x : Double(alpha) * expm1(x))
    case .sigmoid: 1 / (1 + exp(-x))
    case .hardSigmoid(let alpha, let beta): clamped(Double(alpha) * x + Double(beta), 0, 1)
    case .hardSwish: x * clamped(x / 6 + 0.5, 0, 1)
    case .tanh: Foundation.tanh(x)
    case .softplus: max(x, 0) + log1p(exp(-abs(x)))
    case .erf: Foundation.erf(x)
    case .gelu: 0.5 * x * (1 + Foundation.erf(x / 2.0.squareRoot()))
    case .geluTanh: 0.5 * x * (1 + Foundation.tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
    case .clip(let minimum, let maximum): clamped(x, Double(minimum), Double(maximum))
    case .squareRoot: x.squareRoot()
    case .exponential: exp(x)
    case .logarithm: log(x)
    case .negate: -x
    case .absolute: abs(x)
    case .reciprocal: 1 / x
    case .floor: x.rounded(.down)
    case .ceiling: x.rounded(.up)
    case .sign: x > 0 ? 1 : x < 0 ? -1 : x
    case .not: x == 0 ? 1 : 0
    }
  }
}

/// ONNX's Clip: the maximum wins where the bounds cross.
private func clamped(_ x: Double, _ minimum: Double, _ maximum: Double) -> Double {
  x.isNaN ? x : min(max(x, minimum), maximum)
}
