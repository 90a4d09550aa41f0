extension Operator {
  /// The operator's name in messages, plans and profiles, and in the names of values.
  public var name: String {
    // Written out: reflection took a quarter of the time in which a step was made.
    switch self {
    case .convolution: "convolution"
    case .convolutionTranspose: "convolutionTranspose"
    case .gemm: "gemm"
    case .matmul: "matmul"
    case .batchNormalization: "batchNormalization"
    case .instanceNormalization: "instanceNormalization"
    case .localResponseNormalization: "localResponseNormalization"
    case .localResponseNormalizationGradient: "localResponseNormalizationGradient"
    case .pool: "pool"
    case .poolGradient: "poolGradient"
    case .unary: "unary"
    case .unaryGradient: "unaryGradient"
    case .binary: "binary"
    case .select: "select"
    case .cast: "cast"
    case .identity: "identity"
    case .softmax: "softmax"
    case .logSoftmax: "logSoftmax"
    case .reduce: "reduce"
    case .argReduce: "argReduce"
    case .concatenate: "concatenate"
    case .split: "split"
    case .slice: "slice"
    case .sliceGradient: "sliceGradient"
    case .pad: "pad"
    case .padGradient: "padGradient"
    case .reshape: "reshape"
    case .transpose: "transpose"
    case .expand: "expand"
    case .gather: "gather"
    case .gatherGradient: "gatherGradient"
    case .resize: "resize"
    case .resizeGradient: "resizeGradient"
    case .gate: "gate"
    case .gateGradient: "gateGradient"
    case .gateGradientFromOutput: "gateGradientFromOutput"
    case .adam: "adam"
    }
  }
}

extension UnaryFunction {
  /// The function's name in profiles.
  package var name: String {
    switch self {
    case .relu: "relu"
    case .leakyRelu: "leakyRelu"
    case .elu: "elu"
    case .selu: "selu"
    case .sigmoid: "sigmoid"
    case .hardSigmoid: "hardSigmoid"
    case .hardSwish: "hardSwish"
    case .tanh: "tanh"
    case .softplus: "softplus"
    case .erf: "erf"
    case .gelu: "gelu"
    case .geluTanh: "geluTanh"
    case .clip: "clip"
    case .squareRoot: "squareRoot"
    case .exponential: "exponential"
    case .logarithm: "logarithm"
    case .negate: "negate"
    case .absolute: "absolute"
    case .reciprocal: "reciprocal"
    case .floor: "floor"
    case .ceiling: "ceiling"
    case .sign: "sign"
    case .not: "not"
    }
  }
}
