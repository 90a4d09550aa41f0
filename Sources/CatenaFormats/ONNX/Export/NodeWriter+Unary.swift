import CatenaGraph
import CatenaTensors

extension NodeWriter {
  /// Writes a function of one element.
  mutating func writeUnary(
    _ function: UnaryFunction, _ inputs: [String], _ outputs: [String], _ type: ElementType
  ) throws(ONNXError) {
    switch function {
    case .relu: try add("Relu", inputs, outputs)
    case .leakyRelu(let alpha): try add("LeakyRelu", inputs, outputs, [.float("alpha", alpha)])
    case .elu(let alpha): try add("Elu", inputs, outputs, [.float("alpha", alpha)])
    case .selu(let alpha, let gamma):
      try add("Selu", inputs, outputs, [.float("alpha", alpha), .float("gamma", gamma)])
    case .sigmoid: try add("Sigmoid", inputs, outputs)
    case .hardSigmoid(let alpha, let beta):
      try add("HardSigmoid", inputs, outputs, [.float("alpha", alpha), .float("beta", beta)])
    case .hardSwish: try add("HardSwish", inputs, outputs)
    case .tanh: try add("Tanh", inputs, outputs)
    case .softplus: try add("Softplus", inputs, outputs)
    case .erf: try add("Erf", inputs, outputs)
    case .gelu where opset < 20: try writeGelu(inputs[0], outputs[0], type)
    case .gelu: try add("Gelu", inputs, outputs)
    case .geluTanh: try add("Gelu", inputs, outputs, [.string("approximate", "tanh")])
    case .clip(let minimum, let maximum): try writeClip(minimum, maximum, inputs, outputs, type)
    case .squareRoot: try add("Sqrt", inputs, outputs)
    case .exponential: try add("Exp", inputs, outputs)
    case .logarithm: try add("Log", inputs, outputs)
    case .negate: try add("Neg", inputs, outputs)
    case .absolute: try add("Abs", inputs, outputs)
    case .reciprocal: try add("Reciprocal", inputs, outputs)
    case .floor: try add("Floor", inputs, outputs)
    case .ceiling: try add("Ceil", inputs, outputs)
    case .sign: try add("Sign", inputs, outputs)
    case .not: try add("Not", inputs, outputs)
    }
  }

  /// x / 2 * (1 + erf(x / sqrt 2)), for operator sets without Gelu.
  private mutating func writeGelu(_ input: String, _ output: String, _ type: ElementType) throws(ONNXError) {
    func number(_ value: Double) -> Tensor { Tensor(doubles: [value], shape: .scalar, elementType: type) }
    let steps = ["scaled", "erf", "shifted", "halved"].map { freshName("\(output)/\($0)") }
    try add("Mul", [input, addConstant("\(output)/root", number(0.5.squareRoot()))], [steps[0]])
    try add("Erf", [steps[0]], [steps[1]])
    try add("Add", [steps[1], addConstant("\(output)/one", number(1))], [steps[2]])
    try add("Mul", [steps[2], addConstant("\(output)/half", number(0.5))], [steps[3]])
    try add("Mul", [input, steps[3]], [output])
  }

  /// Bounds were attributes until operator set 10.
  private mutating func writeClip(
    _ minimum: Float, _ maximum: Float, _ inputs: [String], _ outputs: [String], _ type: ElementType
  ) throws(ONNXError) {
    guard opset >= 11 else {
      return try add("Clip", inputs, outputs, [.float("min", minimum), .float("max", maximum)])
    }
    var bounds: [String] = []
    for (name, value) in [("min", minimum), ("max", maximum)] {
      let tensor = Tensor(doubles: [Double(value)], shape: .scalar, elementType: type)
      bounds.append(value.isInfinite ? "" : addConstant("\(outputs[0])/\(name)", tensor))
    }
    while bounds.last == "" { bounds.removeLast() }
    try add("Clip", inputs + bounds, outputs)
  }
}
