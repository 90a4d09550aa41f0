import CatenaFormats
import CatenaTensors
import TestSupport

/// Small models in forms that exporters write now and then. They read N x 3 x 6 x 6, but for single tokens.
enum RareModel: String, CaseIterable, Sendable {
  case softmax, logSoftmax, reshapedSoftmax, openExpand, axislessSqueeze, normalizedByCopies, sumOfThree, shapeOfSum
  case lengthOfChannels, sharedConstant, divisor, sequenceFirst, computedExpand, normalizedBranch, responses
  case computedScale, channelsLast

  /// - Parameter batch: the batch that the file states; -1 for any.
  func model(batch: Int = -1) throws -> ONNXModel {
    var builder = ModelBuilder(opset: 17)
    builder.input("x", [batch, 3, 6, 6])
    builder.output("y", [-1, 5])
    switch self {
    case .softmax, .logSoftmax, .reshapedSoftmax: try addSoftmax(&builder)
    case .openExpand: addOpenExpand(&builder)
    case .axislessSqueeze: addSqueeze(&builder)
    case .normalizedByCopies: addNormalization(&builder)
    case .sumOfThree, .shapeOfSum: addBranches(&builder)
    case .lengthOfChannels: addLength(&builder)
    case .sharedConstant: addSharedConstant(&builder)
    case .divisor: addDivisor(&builder)
    case .sequenceFirst: addAttention(&builder)
    case .computedExpand: addComputedExpand(&builder)
    case .normalizedBranch: addNormalizedBranch(&builder)
    case .responses: addResponses(&builder)
    case .computedScale: addHeads(&builder)
    case .channelsLast: addChannelsLast(&builder)
    }
    return try builder.model()
  }

  private func addSoftmax(_ builder: inout ModelBuilder) throws {
    builder.convolution("x", "a", 3, 8, seed: 1)
    builder.classifier("a", self == .softmax ? "logits" : "raw", 8)
    switch self {
    case .softmax: builder.node("Softmax", ["logits"], ["y"], [.int("axis", 1)])
    case .logSoftmax: builder.node("LogSoftmax", ["raw"], ["y"], [.int("axis", 1)])
    default:
      builder.node("Softmax", ["raw"], ["p"], [.int("axis", 1)])
      builder.integers("rows", [-1, 5])
      builder.node("Reshape", ["p", "rows"], ["y"])
    }
  }

  /// Means of channels, spread over their images again: the target says 1 for the batch.
  private func addOpenExpand(_ builder: inout ModelBuilder) {
    builder.convolution("x", "a", 3, 6, seed: 1)
    builder.node("GlobalAveragePool", ["a"], ["m"])
    builder.integers("target", [1, 6, 6, 6])
    builder.node("Expand", ["m", "target"], ["e"])
    builder.convolution("e", "b", 6, 8, seed: 2)
    builder.classifier("b", "y", 8)
  }

  /// Gates of channels, spread over images as exporters write it: only the batch is read of the data, channels are stated.
  private func addComputedExpand(_ builder: inout ModelBuilder) {
    builder.convolution("x", "a", 3, 6, seed: 1)
    builder.node("GlobalAveragePool", ["a"], ["m"])
    builder.shape("target", batchOf: "x", [6, 6, 6])
    builder.node("Expand", ["m", "target"], ["e"])
    builder.node("Mul", ["a", "e"], ["g"])
    builder.convolution("g", "b", 6, 8, seed: 2)
    builder.classifier("b", "y", 8)
  }

  /// A factor that is normalised first, of two units that may both go.
  private func addNormalizedBranch(_ builder: inout ModelBuilder) {
    builder.node("GlobalAveragePool", ["x"], ["p"])
    builder.node("Flatten", ["p"], ["f"])
    for (name, seed) in [("a", UInt64(1)), ("v", 2)] {
      builder.constant("\(name)/w", randomTensor([3, 2], seed: seed))
      builder.node("Gemm", ["f", "\(name)/w"], [name])
    }
    builder.constant("scale", randomTensor([2], seed: 3))
    builder.constant("bias", randomTensor([2], seed: 4))
    builder.node("LayerNormalization", ["v", "scale", "bias"], ["n"])
    builder.node("Mul", ["a", "n"], ["product"])
    builder.constant("o/w", randomTensor([2, 6], seed: 5))
    builder.node("Gemm", ["product", "o/w"], ["o"])
    builder.constant("c/w", randomTensor([6, 5], seed: 6))
    builder.node("Gemm", ["o", "c/w"], ["y"])
  }

  /// Channels scaled by their lengths over the mean length, as ConvNeXt V2 does.
  private func addResponses(_ builder: inout ModelBuilder) {
    builder.convolution("x", "a", 3, 6, seed: 1)
    builder.node("ReduceL2", ["a"], ["lengths"], [.ints("axes", [2, 3]), .int("keepdims", 1)])
    builder.node("ReduceMean", ["lengths"], ["mean"], [.ints("axes", [1]), .int("keepdims", 1)])
    builder.constant("epsilon", Tensor(scalar: Float(1e-6)))
    builder.node("Add", ["mean", "epsilon"], ["divisor"])
    builder.node("Div", ["lengths", "divisor"], ["shares"])
    builder.node("Mul", ["a", "shares"], ["scaled"])
    builder.convolution("scaled", "b", 6, 8, seed: 2)
    builder.classifier("b", "y", 8)
  }

  private func addSqueeze(_ builder: inout ModelBuilder) {
    builder.convolution("x", "a", 3, 6, seed: 1)
    builder.node("GlobalAveragePool", ["a"], ["m"])
    builder.node("Squeeze", ["m"], ["s"])
    builder.constant("w", randomTensor([6, 5], seed: 3))
    builder.node("Gemm", ["s", "w"], ["y"])
  }

  /// Layer normalisations whose scales and biases are copies of one initialiser, as exporters write equal ones.
  private func addNormalization(_ builder: inout ModelBuilder) {
    builder.constant("zeros", Tensor([Float](repeating: 0, count: 6), shape: [6]))
    builder.constant("ones", Tensor([Float](repeating: 1, count: 6), shape: [6]))
    builder.node("Identity", ["zeros"], ["bias"])
    builder.convolution("x", "a", 3, 6, seed: 1)
    builder.node("LayerNormalization", ["a", "ones", "bias"], ["n"], [.int("axis", 3)])
    builder.convolution("n", "b", 6, 8, seed: 2)
    builder.classifier("b", "y", 8)
  }

  /// A stream and two branches in one sum; with `shapeOfSum` the sum's shape is read as well, and the branches are added
  /// one after the other.
  private func addBranches(_ builder: inout ModelBuilder) {
    builder.convolution("x", "s", 3, 6, seed: 1)
    builder.convolution("s", "b1", 6, 4, seed: 2)
    builder.convolution("b1", "b2", 4, 6, seed: 3)
    builder.convolution("s", "c1", 6, 4, seed: 4)
    builder.convolution("c1", "c2", 4, 6, seed: 5)
    builder.convolution("c2", "c3", 6, 6, seed: 6)
    if self == .sumOfThree {
      builder.node("Sum", ["s", "b2", "c3"], ["t"])
      builder.convolution("t", "d", 6, 8, seed: 7)
    } else {
      builder.node("Add", ["s", "b2"], ["half"])
      builder.node("Add", ["half", "c3"], ["t"])
      builder.shape("rows", batchOf: "t", [6, 36])
      builder.node("Reshape", ["t", "rows"], ["flat"])
      builder.integers("images", [0, 0, 6, 6])
      builder.node("Reshape", ["flat", "images"], ["u"])
      builder.convolution("u", "d", 6, 8, seed: 7)
    }
    builder.classifier("d", "y", 8)
  }

  /// The length of the vector of channels: several of the graph's operators for one of the file's nodes.
  private func addLength(_ builder: inout ModelBuilder) {
    builder.convolution("x", "a", 3, 6, seed: 1)
    builder.node("ReduceL2", ["a"], ["length"], [.ints("axes", [1]), .int("keepdims", 1)])
    builder.convolution("length", "b", 1, 8, seed: 2)
    builder.classifier("b", "y", 8)
  }

  /// A bias that a node of the file makes, and that two layers share.
  private func addSharedConstant(_ builder: inout ModelBuilder) {
    var value = Onnx_AttributeProto()
    value.name = "value"
    value.type = .tensor
    value.t = randomTensor([6], seed: 9).proto(named: "")
    builder.node("Constant", [], ["bias"], [value])
    builder.convolution("x", "a", 3, 6, seed: 1, bias: "bias")
    builder.convolution("a", "b", 6, 6, seed: 2, bias: "bias")
    builder.convolution("b", "c", 6, 8, seed: 3)
    builder.classifier("c", "y", 8)
  }

  private func addDivisor(_ builder: inout ModelBuilder) {
    builder.convolution("x", "a", 3, 6, seed: 1)
    builder.convolution("x", "raw", 3, 6, seed: 2)
    builder.node("Sigmoid", ["raw"], ["b"])
    builder.node("Div", ["a", "b"], ["q"])
    builder.convolution("q", "c", 6, 8, seed: 3)
    builder.classifier("c", "y", 8)
  }

  /// Attention as exporters write it whose tokens come before samples, and a perceptron behind it.
  private func addAttention(_ builder: inout ModelBuilder) {
    builder.convolution("x", "a", 3, 8, seed: 1)
    builder.integers("tokens", [0, 8, 36])
    builder.node("Reshape", ["a", "tokens"], ["channels"])
    builder.node("Transpose", ["channels"], ["sequence"], [.ints("perm", [2, 0, 1])])
    builder.constant("wqkv", randomTensor([8, 24], seed: 2))
    builder.node("MatMul", ["sequence", "wqkv"], ["qkv"])
    builder.integers("thirds", [8, 8, 8])
    builder.node("Split", ["qkv", "thirds"], ["q", "k", "v"], [.int("axis", 2)])
    builder.integers("heads", [36, -1, 4])
    for name in ["q", "k", "v"] {
      builder.node("Reshape", [name, "heads"], ["\(name)h"])
      builder.node(
        "Transpose", ["\(name)h"], ["\(name)t"], [.ints("perm", name == "k" ? [1, 2, 0] : [1, 0, 2])])
    }
    builder.node("MatMul", ["qt", "kt"], ["scores"])
    builder.node("Softmax", ["scores"], ["weights"], [.int("axis", 2)])
    builder.node("MatMul", ["weights", "vt"], ["mixed"])
    builder.node("Transpose", ["mixed"], ["back"], [.ints("perm", [1, 0, 2])])
    builder.integers("rows", [-1, 8])
    builder.node("Reshape", ["back", "rows"], ["matrix"])
    builder.constant("wo", randomTensor([8, 8], seed: 3))
    builder.node("Gemm", ["matrix", "wo"], ["projected"])
    builder.integers("sequences", [36, -1, 8])
    builder.node("Reshape", ["projected", "sequences"], ["tokenwise"])
    builder.node("Add", ["sequence", "tokenwise"], ["stream"])
    builder.node("Transpose", ["stream"], ["batched"], [.ints("perm", [1, 0, 2])])
    builder.constant("w1", randomTensor([8, 12], seed: 4))
    builder.constant("w2", randomTensor([12, 8], seed: 5))
    builder.node("MatMul", ["batched", "w1"], ["hidden"])
    builder.node("Relu", ["hidden"], ["active"])
    builder.node("MatMul", ["active", "w2"], ["out"])
    builder.node("Add", ["batched", "out"], ["final"])
    builder.node("ReduceMean", ["final"], ["means"], [.ints("axes", [1]), .int("keepdims", 0)])
    builder.constant("wc", randomTensor([8, 5], seed: 6))
    builder.node("Gemm", ["means", "wc"], ["y"])
  }

  /// Attention whose scale the file computes from the channels of a head, as exporters write it.
  private func addHeads(_ builder: inout ModelBuilder) {
    builder.convolution("x", "a", 3, 8, seed: 1)
    builder.integers("tokens", [0, 8, 36])
    builder.node("Reshape", ["a", "tokens"], ["channels"])
    builder.node("Transpose", ["channels"], ["t"], [.ints("perm", [0, 2, 1])])
    builder.constant("wqkv", randomTensor([8, 36], seed: 2))
    builder.node("MatMul", ["t", "wqkv"], ["qkv"])
    builder.integers("packed", [0, 36, 3, 2, 6])
    builder.node("Reshape", ["qkv", "packed"], ["split"])
    builder.node("Transpose", ["split"], ["parts"], [.ints("perm", [2, 0, 3, 1, 4])])
    for (index, name) in ["q", "k", "v"].enumerated() {
      builder.constant("part\(name)", Tensor([Int64(index)], shape: []))
      builder.node("Gather", ["parts", "part\(name)"], [name], [.int("axis", 0)])
    }
    builder.node("Shape", ["q"], ["extents"])
    builder.integers("last", [-1])
    builder.node("Gather", ["extents", "last"], ["length"])
    builder.node("Cast", ["length"], ["number"], [.int("to", 1)])
    builder.node("Sqrt", ["number"], ["root"])
    builder.node("Div", ["q", "root"], ["scaled"])
    builder.node("Transpose", ["k"], ["turned"], [.ints("perm", [0, 1, 3, 2])])
    builder.node("MatMul", ["scaled", "turned"], ["scores"])
    builder.node("Softmax", ["scores"], ["weights"], [.int("axis", 3)])
    builder.node("MatMul", ["weights", "v"], ["mixed"])
    builder.node("Transpose", ["mixed"], ["back"], [.ints("perm", [0, 2, 1, 3])])
    builder.integers("joined", [0, 36, 12])
    builder.node("Reshape", ["back", "joined"], ["heads"])
    builder.constant("wo", randomTensor([12, 8], seed: 3))
    builder.node("MatMul", ["heads", "wo"], ["projected"])
    builder.node("Add", ["t", "projected"], ["stream"])
    builder.node("ReduceMean", ["stream"], ["means"], [.ints("axes", [1]), .int("keepdims", 0)])
    builder.constant("wc", randomTensor([8, 5], seed: 6))
    builder.node("Gemm", ["means", "wc"], ["y"])
  }

  /// Images flattened with channels last, as frameworks write them whose images are so.
  private func addChannelsLast(_ builder: inout ModelBuilder) {
    builder.convolution("x", "a", 3, 6, seed: 1)
    builder.node("Transpose", ["a"], ["last"], [.ints("perm", [0, 2, 3, 1])])
    builder.integers("rows", [-1, 216])
    builder.node("Reshape", ["last", "rows"], ["flat"])
    builder.constant("w", randomTensor([216, 8], seed: 2))
    builder.node("Gemm", ["flat", "w"], ["hidden"])
    builder.node("Relu", ["hidden"], ["active"])
    builder.constant("wc", randomTensor([8, 5], seed: 3))
    builder.node("Gemm", ["active", "wc"], ["y"])
  }
}

extension ModelBuilder {
  /// A convolution that keeps the image's size, and a ReLU.
  fileprivate mutating func convolution(
    _ input: String, _ output: String, _ channels: Int, _ filters: Int, seed: UInt64, bias: String? = nil
  ) {
    constant("\(output)/w", randomTensor([filters, channels, 3, 3], seed: seed))
    if bias == nil { constant("\(output)/b", randomTensor([filters], seed: seed + 100)) }
    node("Conv", [input, "\(output)/w", bias ?? "\(output)/b"], ["\(output)/c"], [.ints("pads", [1, 1, 1, 1])])
    node("Relu", ["\(output)/c"], [output])
  }

  /// A shape of which only the batch is read of a value.
  fileprivate mutating func shape(_ name: String, batchOf value: String, _ rest: [Int64]) {
    node("Shape", [value], ["extents"])
    integers("first", [0])
    node("Gather", ["extents", "first"], ["batch"])
    integers("rest", rest)
    node("Concat", ["batch", "rest"], [name], [.int("axis", 0)])
  }

  /// Logits of five classes from the means of channels.
  fileprivate mutating func classifier(_ input: String, _ output: String, _ channels: Int) {
    node("GlobalAveragePool", [input], ["\(output)/means"])
    node("Flatten", ["\(output)/means"], ["\(output)/flat"])
    constant("\(output)/w", randomTensor([channels, 5], seed: 50))
    node("Gemm", ["\(output)/flat", "\(output)/w"], [output])
  }
}
