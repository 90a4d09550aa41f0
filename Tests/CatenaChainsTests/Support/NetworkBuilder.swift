import CatenaFormats
import CatenaGraph
import CatenaTensors

/// Builds small networks with random weights. Activations are tanh: unlike rectifiers they never go dead, so that an
/// output depends on the input wherever a path leads from one to the other.
struct NetworkBuilder {
  var graph = Graph()
  private var generator: SeededGenerator

  init(seed: UInt64 = 1) { generator = SeededGenerator(seed: seed) }

  mutating func input(_ shape: Shape) -> ValueID { graph.addInput("input", TensorType(.float32, shape)) }

  mutating func constant(_ shape: Shape, _ name: String) -> ValueID {
    let values = (0..<shape.elementCount).map { _ in Float(2 * generator.uniform() - 1) }
    return graph.addConstant(name, Tensor(values, shape: shape))
  }

  mutating func convolution(_ data: ValueID, _ filters: Int, kernel: Int = 3, name: String) throws -> ValueID {
    let weight = constant([filters, graph.shape(data)[1], kernel, kernel], "\(name).weight")
    let pads = [kernel / 2, kernel / 2]
    let geometry = Convolution(strides: [1, 1], padsBegin: pads, padsEnd: pads, dilations: [1, 1])
    return try graph.add(
      .convolution(geometry), data, weight, constant([filters], "\(name).bias"), name: name)
  }

  mutating func tanh(_ data: ValueID) throws -> ValueID {
    try graph.add(.unary(.tanh), data, name: "\(graph[data].name)/tanh")
  }

  mutating func sum(_ left: ValueID, _ right: ValueID, name: String) throws -> ValueID {
    try graph.add(.binary(.add), left, right, name: name)
  }

  /// Spatial mean and a linear classifier, whose result is the network's output.
  mutating func classify(_ data: ValueID, classes: Int) throws {
    let shape = graph.shape(data)
    let mean = try graph.add(.reduce(Reduce(.mean, axes: [2, 3], keepsDimensions: false)), data, name: "mean")
    let weight = constant([classes, shape[1]], "classifier.weight")
    graph.outputs = [
      try graph.add(
        .gemm(Gemm(transposeB: true)), mean, weight, constant([classes], "classifier.bias"), name: "logits")
    ]
  }

  // MARK: Networks

  /// A stem of four units and one residual block of three and four.
  static func residual(batch: Int) throws -> ONNXModel {
    var builder = NetworkBuilder(seed: 3)
    let stem = try builder.tanh(builder.convolution(builder.input([batch, 2, 5, 5]), 4, name: "stem"))
    let inner = try builder.tanh(builder.convolution(stem, 3, name: "first"))
    let branch = try builder.convolution(inner, 4, name: "second")
    try builder.classify(builder.tanh(builder.sum(branch, stem, name: "sum")), classes: 3)
    return try ONNXModel(exporting: builder.graph)
  }

  /// Two residual blocks, the second in the branch of a third.
  static func nested(batch: Int) throws -> ONNXModel {
    var builder = NetworkBuilder(seed: 4)
    let stem = try builder.tanh(builder.convolution(builder.input([batch, 2, 5, 5]), 4, name: "stem"))
    let plain = try builder.sum(
      builder.convolution(builder.tanh(builder.convolution(stem, 3, name: "plain 1")), 4, name: "plain 2"), stem,
      name: "plain sum")
    let head = try builder.tanh(builder.convolution(plain, 5, name: "outer 1"))
    let inner = try builder.convolution(
      builder.tanh(builder.convolution(head, 3, name: "inner 1")), 5, name: "inner 2")
    let middle = try builder.tanh(builder.sum(inner, head, name: "inner sum"))
    let tail = try builder.convolution(middle, 4, name: "outer 2")
    try builder.classify(builder.tanh(builder.sum(tail, plain, name: "outer sum")), classes: 3)
    return try ONNXModel(exporting: builder.graph)
  }

  /// Parallel paths: two expansions of a squeeze layer that are concatenated, a residual block with a convolution on its
  /// shortcut, and channels that are scaled by what they excite.
  static func parallel(batch: Int) throws -> ONNXModel {
    var builder = NetworkBuilder(seed: 5)
    let stem = try builder.tanh(builder.convolution(builder.input([batch, 2, 5, 5]), 4, name: "stem"))
    let squeeze = try builder.tanh(builder.convolution(stem, 3, kernel: 1, name: "squeeze"))
    let narrow = try builder.tanh(builder.convolution(squeeze, 3, kernel: 1, name: "expand 1x1"))
    let wide = try builder.tanh(builder.convolution(squeeze, 3, name: "expand 3x3"))
    let fire = try builder.graph.add(.concatenate(axis: 1), narrow, wide, name: "fire")
    let branch = try builder.convolution(
      builder.tanh(builder.convolution(fire, 3, name: "branch 1")), 5, name: "branch 2")
    let shortcut = try builder.convolution(fire, 5, kernel: 1, name: "shortcut")
    let sum = try builder.tanh(builder.sum(branch, shortcut, name: "sum"))
    let mean = try builder.graph.add(.reduce(Reduce(.mean, axes: [2, 3], keepsDimensions: true)), sum, name: "pooled")
    let excitation = try builder.convolution(
      builder.tanh(builder.convolution(mean, 2, kernel: 1, name: "reduce")), 5, kernel: 1, name: "excite")
    let scale = try builder.graph.add(.unary(.sigmoid), excitation, name: "scale")
    try builder.classify(builder.graph.add(.binary(.multiply), sum, scale, name: "scaled"), classes: 3)
    return try ONNXModel(exporting: builder.graph)
  }
}
