import CatenaFormats
import CatenaTensors
import Testing

@Suite("Operator claims")
struct OperatorClaimTests {
  /// The operators that Catena promises at the least.
  static let promised = [
    "Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "InstanceNormalization", "LRN", "MaxPool",
    "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool", "Relu", "LeakyRelu", "PRelu", "Elu",
    "Selu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Clip", "Softplus", "Erf", "Gelu", "Add", "Sub", "Mul",
    "Div",
    "Pow", "Sqrt", "Exp", "Log", "Neg", "Abs", "Min", "Max", "Where", "Softmax", "LogSoftmax", "ReduceMean",
    "ReduceSum", "ReduceMax", "ArgMax", "Concat", "Split", "Slice", "Pad", "Reshape", "Flatten", "Transpose", "Squeeze",
    "Unsqueeze", "Expand", "Gather", "Resize", "Upsample", "Identity", "Dropout", "Constant", "ConstantOfShape",
    "Shape",
    "Cast",
  ]

  @Test("every promised operator is claimed up to operator set 22", arguments: promised)
  func promisedOperators(name: String) throws {
    let claim = try #require(OperatorClaim.claim(on: name))
    #expect(claim.operatorType == name)
    #expect(claim.opsets.upperBound == (name == "Upsample" ? 9 : 22))
    #expect(!claim.elementTypes.isEmpty)
  }

  @Test("the table for the documentation has a row per claim")
  func table() {
    let lines = OperatorClaim.markdown().split(separator: "\n")
    #expect(lines.count == OperatorClaim.all.count + 2)
    #expect(lines.contains { $0.hasPrefix("| Conv | 7-22 | float16, bfloat16, float32, float64 |") })
  }
}
