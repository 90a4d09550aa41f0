import COneDNN
import CatenaGraph

extension UnaryFunction {
  /// The kernels' instructions for the function and its gradient, with their parameters.
  var kernel: (operation: catena_operation, gradient: catena_operation, a: Float, b: Float) {
    switch self {
    case .relu: (CATENA_RELU, CATENA_RELU_GRADIENT, 0, 0)
    case .leakyRelu(let alpha): (CATENA_LEAKY_RELU, CATENA_LEAKY_RELU_GRADIENT, alpha, 0)
    case .elu(let alpha): (CATENA_ELU, CATENA_ELU_GRADIENT, alpha, 0)
    case .selu(let alpha, let gamma): (CATENA_SELU, CATENA_SELU_GRADIENT, alpha, gamma)
    case .sigmoid: (CATENA_SIGMOID, CATENA_SIGMOID_GRADIENT, 0, 0)
    case .hardSigmoid(let alpha, let beta): (CATENA_HARD_SIGMOID, CATENA_HARD_SIGMOID_GRADIENT, alpha, beta)
    case .hardSwish: (CATENA_HARD_SWISH, CATENA_HARD_SWISH_GRADIENT, 0, 0)
    case .tanh: (CATENA_TANH, CATENA_TANH_GRADIENT, 0, 0)
    case .softplus: (CATENA_SOFTPLUS, CATENA_SOFTPLUS_GRADIENT, 0, 0)
    case .erf: (CATENA_ERF, CATENA_ERF_GRADIENT, 0, 0)
    case .gelu: (CATENA_GELU, CATENA_GELU_GRADIENT, 0, 0)
    case .geluTanh: (CATENA_GELU_TANH, CATENA_GELU_TANH_GRADIENT, 0, 0)
    case .clip(let minimum, let maximum): (CATENA_CLIP, CATENA_CLIP_GRADIENT, minimum, maximum)
    case .squareRoot: (CATENA_SQUARE_ROOT, CATENA_SQUARE_ROOT_GRADIENT, 0, 0)
    case .exponential: (CATENA_EXPONENTIAL, CATENA_EXPONENTIAL_GRADIENT, 0, 0)
    case .logarithm: (CATENA_LOGARITHM, CATENA_LOGARITHM_GRADIENT, 0, 0)
    case .negate: (CATENA_NEGATE, CATENA_NEGATE_GRADIENT, 0, 0)
    case .absolute: (CATENA_ABSOLUTE, CATENA_ABSOLUTE_GRADIENT, 0, 0)
    case .reciprocal: (CATENA_RECIPROCAL, CATENA_RECIPROCAL_GRADIENT, 0, 0)
    case .floor: (CATENA_FLOOR, CATENA_ZERO_GRADIENT, 0, 0)
    case .ceiling: (CATENA_CEILING, CATENA_ZERO_GRADIENT, 0, 0)
    case .sign: (CATENA_SIGN, CATENA_ZERO_GRADIENT, 0, 0)
    case .not: (CATENA_NOT, CATENA_ZERO_GRADIENT, 0, 0)
    }
  }

  /// Whether the function has a meaning for integers.
  var takesIntegers: Bool {
    switch self {
    case .relu, .negate, .absolute, .sign, .clip, .not: true
    default: false
    }
  }

  /// The function as post-operation of a mixing primitive, where it has one.
  var postOperation: catena_post_operation? {
    func operation(_ function: catena_eltwise, _ alpha: Float = 0, _ beta: Float = 0) -> catena_post_operation {
      catena_post_operation(kind: CATENA_POST_ELTWISE, function: function, alpha: alpha, beta: beta)
    }
    switch self {
    case .relu: return operation(CATENA_ELTWISE_RELU)
    case .leakyRelu(let alpha): return operation(CATENA_ELTWISE_RELU, alpha)
    case .clip(let minimum, let maximum): return operation(CATENA_ELTWISE_CLIP, minimum, maximum)
    case .elu(let alpha): return operation(CATENA_ELTWISE_ELU, alpha)
    case .sigmoid: return operation(CATENA_ELTWISE_LOGISTIC)
    case .tanh: return operation(CATENA_ELTWISE_TANH)
    default: return nil
    }
  }
}

extension BinaryFunction {
  /// The kernels' instruction.
  var kernel: catena_operation {
    switch self {
    case .add: CATENA_ADD
    case .subtract: CATENA_SUBTRACT
    case .multiply: CATENA_MULTIPLY
    case .divide: CATENA_DIVIDE
    case .power: CATENA_POWER
    case .minimum: CATENA_MINIMUM
    case .maximum: CATENA_MAXIMUM
    case .prelu: CATENA_PRELU
    case .modulo: CATENA_MODULO
    case .equal: CATENA_EQUAL
    case .less: CATENA_LESS
    case .lessOrEqual: CATENA_LESS_OR_EQUAL
    case .greater: CATENA_GREATER
    case .greaterOrEqual: CATENA_GREATER_OR_EQUAL
    case .and: CATENA_AND
    case .or: CATENA_OR
    case .xor: CATENA_XOR
    }
  }
}
