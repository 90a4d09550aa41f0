import CatenaGraph
import CatenaTensors

/// Writes nodes of a graph as nodes of an operator set, with the constants that their parameters need.
struct NodeWriter {
  let opset: Int
  private(set) var nodes: [Onnx_NodeProto] = []
  private(set) var initializers: [(name: String, tensor: Tensor)] = []
  private var names: Set<String>

  /// A writer that makes no name among `names`.
  init(opset: Int, names: Set<String>) {
    self.opset = opset
    self.names = names
  }

  /// A name that nothing has yet: `base`, or `base` with a number.
  mutating func freshName(_ base: String) -> String {
    if !base.isEmpty, names.insert(base).inserted { return base }
    var number = 1
    while !names.insert("\(base)_\(number)").inserted { number += 1 }
    return "\(base)_\(number)"
  }

  /// A constant of that name, or of one derived from it.
  mutating func addConstant(_ base: String, _ tensor: Tensor) -> String {
    let name = freshName(base)
    initializers.append((name, tensor))
    return name
  }

  mutating func addParameter(_ base: String, _ values: [Int]) -> String {
    addConstant(base, Tensor(values.map(Int64.init), shape: [values.count]))
  }

  mutating func add(
    _ operatorType: String, _ inputs: [String], _ outputs: [String], _ attributes: [Onnx_AttributeProto] = []
  ) throws(ONNXError) {
    guard let claim = OperatorClaim.claim(on: operatorType), claim.opsets.contains(opset) else {
      throw .notExpressible("operator set \(opset) has no \(operatorType) that would stand for '\(outputs[0])'")
    }
    nodes.append(Onnx_NodeProto(operatorType, inputs: inputs, outputs: outputs, attributes: attributes))
  }

  /// Writes `node`; its operands and results have these names.
  mutating func write(_ node: Node, of graph: Graph, inputs: [String], outputs: [String]) throws(ONNXError) {
    let types = node.inputs.map { graph.type($0) }
    switch node.operation {
    case .convolution(let geometry): try add("Conv", inputs, outputs, geometry.attributes)
    case .convolutionTranspose(let transpose):
      try add(
        "ConvTranspose", inputs, outputs,
        transpose.convolution.attributes + [.ints("output_padding", transpose.outputPadding)])
    case .gemm(let gemm): try writeGemm(gemm, inputs, outputs, types[0].elementType)
    case .matmul: try add("MatMul", inputs, outputs)
    case .batchNormalization(let epsilon): try add("BatchNormalization", inputs, outputs, [.float("epsilon", epsilon)])
    case .instanceNormalization(let epsilon):
      try add("InstanceNormalization", inputs, outputs, [.float("epsilon", epsilon)])
    case .localResponseNormalization(let lrn):
      try add(
        "LRN", inputs, outputs,
        [.float("alpha", lrn.alpha), .float("beta", lrn.beta), .float("bias", lrn.bias), .int("size", lrn.size)])
    case .pool(let pool): try writePool(pool, inputs, outputs)
    case .unary(let function): try writeUnary(function, inputs, outputs, types[0].elementType)
    case .binary(let function): try add(function.onnxName, inputs, outputs)
    case .select: try add("Where", inputs, outputs)
    case .cast(let type): try add("Cast", inputs, outputs, [.int("to", Int(type.onnxCode))])
    case .identity: try add("Identity", inputs, outputs)
    case .softmax(let axes): try writeSoftmax("Softmax", axes, types[0].shape, inputs, outputs)
    case .logSoftmax(let axes): try writeSoftmax("LogSoftmax", axes, types[0].shape, inputs, outputs)
    case .reduce(let reduce): try writeReduce(reduce, inputs, outputs)
    case .argReduce(let reduce):
      let last: [Onnx_AttributeProto] = reduce.selectsLast ? [.int("select_last_index", 1)] : []
      try add(
        reduce.findsMaximum ? "ArgMax" : "ArgMin", inputs, outputs,
        [.int("axis", reduce.axis), .int("keepdims", reduce.keepsDimensions ? 1 : 0)] + last)
    default: try writeMovement(node, types, inputs, outputs)
    }
  }

  private mutating func writeGemm(
    _ gemm: Gemm, _ inputs: [String], _ outputs: [String], _ type: ElementType
  ) throws(ONNXError) {
    var inputs = inputs
    // The third operand may be left out from operator set 11 on.
    if inputs.count == 2, opset < 11 {
      inputs.append(addConstant("\(outputs[0])/zero", Tensor(zeros: .scalar, elementType: type)))
    }
    try add(
      "Gemm", inputs, outputs,
      [
        .float("alpha", gemm.alpha), .float("beta", gemm.beta), .int("transA", gemm.transposeA ? 1 : 0),
        .int("transB", gemm.transposeB ? 1 : 0),
      ])
  }

  private mutating func writePool(_ pool: Pool, _ inputs: [String], _ outputs: [String]) throws(ONNXError) {
    let operatorType: String
    let dilatedSince: Int
    let ceilSince: Int
    var attributes: [Onnx_AttributeProto] = [
      .ints("kernel_shape", pool.kernel), .ints("strides", pool.strides), .ints("pads", pool.padsBegin + pool.padsEnd),
    ]
    switch pool.kind {
    case .maximum: (operatorType, dilatedSince, ceilSince) = ("MaxPool", 10, 10)
    case .average(let includes):
      (operatorType, dilatedSince, ceilSince) = ("AveragePool", 19, 10)
      if includes { attributes.append(.int("count_include_pad", 1)) }
    case .norm(let p):
      (operatorType, dilatedSince, ceilSince) = ("LpPool", 18, 18)
      attributes.append(.int("p", p))
    }
    let isDilated = pool.dilations.contains { $0 != 1 }
    guard !isDilated || opset >= dilatedSince, !pool.ceilMode || opset >= ceilSince else {
      throw .notExpressible("operator set \(opset) has no \(operatorType) that would stand for '\(outputs[0])'")
    }
    if isDilated { attributes.append(.ints("dilations", pool.dilations)) }
    if pool.ceilMode { attributes.append(.int("ceil_mode", 1)) }
    try add(operatorType, inputs, outputs, attributes)
  }

  private mutating func writeSoftmax(
    _ operatorType: String, _ axes: [Int], _ shape: Shape, _ inputs: [String], _ outputs: [String]
  ) throws(ONNXError) {
    // Before operator set 13 a softmax runs over all axes from one on.
    let trailing = axes.sorted() == Array((shape.rank - axes.count)..<shape.rank)
    guard let first = axes.min(), opset >= 13 ? axes.count == 1 : trailing else {
      throw .notExpressible("operator set \(opset) has no \(operatorType) over the axes \(axes) ('\(outputs[0])')")
    }
    try add(operatorType, inputs, outputs, [.int("axis", first)])
  }

  private mutating func writeReduce(_ reduce: Reduce, _ inputs: [String], _ outputs: [String]) throws(ONNXError) {
    guard !reduce.axes.isEmpty else { return try add("Identity", inputs, outputs) }
    let operatorType =
      switch reduce.kind {
      case .sum: "ReduceSum"
      case .mean: "ReduceMean"
      case .maximum: "ReduceMax"
      case .minimum: "ReduceMin"
      case .product: "ReduceProd"
      }
    let keeps = Onnx_AttributeProto.int("keepdims", reduce.keepsDimensions ? 1 : 0)
    if opset >= (reduce.kind == .sum ? 13 : 18) {
      try add(operatorType, inputs + [addParameter("\(outputs[0])/axes", reduce.axes)], outputs, [keeps])
    } else {
      try add(operatorType, inputs, outputs, [.ints("axes", reduce.axes), keeps])
    }
  }
}

extension Convolution {
  fileprivate var attributes: [Onnx_AttributeProto] {
    [
      .ints("strides", strides), .ints("pads", padsBegin + padsEnd), .ints("dilations", dilations),
      .int("group", groups),
    ]
  }
}

extension BinaryFunction {
  fileprivate var onnxName: String {
    switch self {
    case .add: "Add"
    case .subtract: "Sub"
    case .multiply: "Mul"
    case .divide: "Div"
    case .power: "Pow"
    case .minimum: "Min"
    case .maximum: "Max"
    case .prelu: "PRelu"
    case .modulo: "Mod"
    case .equal: "Equal"
    case .less: "Less"
    case .lessOrEqual: "LessOrEqual"
    case .greater: "Greater"
    case .greaterOrEqual: "GreaterOrEqual"
    case .and: "And"
    case .or: "Or"
    case .xor: "Xor"
    }
  }
}
