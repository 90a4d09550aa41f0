import CatenaAutodiff
import CatenaCompute
import CatenaGraph
import CatenaTensors

/// A gated step of a small CIFAR ResNet with random weights: three stages of one block, shortcuts of option A (every
/// other position, channels padded with zeros), batch normalisation unfolded, KL to given targets, Adam on the scores.
struct ResidualStep {
  var program: Program
  var images: ValueID
  var targets: ValueID
  var loss: ValueID
  var gradients: [ValueID] = []
  /// Scores, moments and step count, carried from step to step.
  var carried: [ValueID] = []
  var values: [ValueID: Tensor] = [:]

  /// - Parameters:
  ///   - batch: Images, a multiple of `regions`.
  ///   - regions: Regions with scores of their own.
  ///   - part: The region whose images and scores alone are taken, when one run of several is wanted.
  init(batch: Int = 3, regions: Int = 1, part: Int? = nil, optimizes: Bool = true) throws {
    var builder = Builder()
    let whole = batch
    let taken = part == nil ? batch : batch / 3
    let input = builder.graph.addInput("image", TensorType(.float32, [taken, 3, 16, 16]))
    var value = try builder.layer(input, 16, stride: 1)
    for (channels, stride) in [(16, 1), (32, 2), (64, 2)] {
      var branch = try builder.layer(value, channels, stride: stride)
      branch = try builder.normalized(builder.convolution(branch, channels, stride: 1))
      let shortcut = stride == 1 ? value : try builder.shortcut(value, channels)
      value = try builder.graph.add(.unary(.relu), builder.graph.add(.binary(.add), branch, shortcut))
    }
    let logits = try builder.classifier(value, classes: 10)
    let network = builder.graph
    let gated = try network.gated(network.gateSites(), regions: part == nil ? regions : 1)
    var graph = gated.graph
    let targets = graph.addInput("target", TensorType(.float32, [taken, 10]))
    let logProbabilities = try graph.add(.logSoftmax(axes: [1]), logits)
    // Cross entropy: KL but for a constant. The sum over regions, each a mean over its own images.
    let products = try graph.add(.binary(.multiply), targets, logProbabilities)
    let sum = try graph.add(.reduce(Reduce(.sum, axes: [0, 1], keepsDimensions: false)), products)
    let scale = graph.addConstant("scale", Tensor(scalar: Float(-3) / Float(whole)))
    let loss = try graph.add(.binary(.multiply), sum, scale)
    let scores = [gated.scores] + (gated.blockScores.map { [$0] } ?? [])
    let differentiated = try graph.differentiating([DerivativeTarget(loss)], withRespectTo: scores)
    graph = differentiated.graph
    self.images = input
    self.targets = targets
    self.loss = loss
    gradients = scores.compactMap { differentiated.gradients[$0] }
    graph.outputs = [loss, logits] + gradients
    var carries: [Program.Carry] = []
    var generator = SeededGenerator(seed: 7)
    func random(_ shape: Shape, _ low: Double, _ high: Double) -> Tensor {
      Tensor((0..<shape.elementCount).map { _ in Float(low + (high - low) * generator.uniform()) }, shape: shape)
    }
    func rows(_ tensor: Tensor, _ count: Int) -> Tensor {
      guard let part else { return tensor }
      let width = tensor.elementCount / tensor.shape[0]
      let own = Array(tensor.floats[part * count * width..<(part + 1) * count * width])
      return Tensor(own, shape: Shape([count] + tensor.shape.dimensions.dropFirst()))
    }
    values[input] = rows(random([whole, 3, 16, 16], -1, 1), taken)
    values[targets] = rows(random([whole, 10], 0, 0.2), taken)
    for (score, gradient) in zip(scores, gradients) {
      let type = graph.type(score)
      let initial = random([part == nil ? type.shape[0] : 3, type.shape[1]], 0.5, 2)
      values[score] = rows(initial, 1)
      carried.append(score)
      guard optimizes else { continue }
      let (first, second) = (graph.addInput("first", type), graph.addInput("second", type))
      let count = graph.addInput("count", TensorType(.float32, .scalar))
      let mask = graph.addConstant("mask", Tensor(scalar: Float(1)))
      let updated = try graph.add(
        .adam(Adam(learningRate: 0.05)), inputs: [score, gradient, first, second, count, mask])
      for (from, to) in zip(updated, [score, first, second, count]) {
        carries.append(Program.Carry(from: from, to: to))
        if to != score {
          values[to] = Tensor(zeros: graph.shape(to))
          carried.append(to)
        }
      }
    }
    program = Program(graph, carries: carries)
  }

  /// Compiles, writes all inputs, runs.
  func run(on backend: any Backend, steps: Int) async throws -> any Executable {
    let executable = try await backend.compile(program, options: CompileOptions())
    for (input, tensor) in values { try await executable.write(tensor, to: input) }
    try await executable.run(steps: steps)
    return executable
  }
}

private struct Builder {
  var graph = Graph()
  private var generator = SeededGenerator(seed: 3)

  private mutating func constant(_ shape: Shape, _ low: Double, _ high: Double) -> ValueID {
    graph.addConstant(
      "constant",
      Tensor((0..<shape.elementCount).map { _ in Float(low + (high - low) * generator.uniform()) }, shape: shape))
  }

  mutating func convolution(_ data: ValueID, _ filters: Int, stride: Int) throws -> ValueID {
    let channels = graph.shape(data)[1]
    let range = 1 / Double(channels * 9).squareRoot()
    let geometry = Convolution(
      strides: [stride, stride], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1])
    return try graph.add(
      .convolution(geometry), data, constant([filters, channels, 3, 3], -2 * range, 2 * range),
      constant([filters], -0.1, 0.1))
  }

  mutating func normalized(_ data: ValueID) throws -> ValueID {
    let channels: Shape = [graph.shape(data)[1]]
    return try graph.add(
      .batchNormalization(epsilon: 1e-5), data, constant(channels, 0.5, 1.5), constant(channels, -0.5, 0.5),
      constant(channels, -0.5, 0.5), constant(channels, 0.5, 1.5))
  }

  mutating func layer(_ data: ValueID, _ filters: Int, stride: Int) throws -> ValueID {
    try graph.add(.unary(.relu), normalized(convolution(data, filters, stride: stride)))
  }

  mutating func shortcut(_ data: ValueID, _ channels: Int) throws -> ValueID {
    let shape = graph.shape(data)
    let halves = shape.dimensions[2...].map { ($0 + 1) / 2 }
    let slice = Slice(starts: [0, 0, 0, 0], sizes: [shape[0], shape[1]] + halves, steps: [1, 1, 2, 2])
    let side = (channels - shape[1]) / 2
    let pad = Pad(.constant(0), begins: [0, side, 0, 0], ends: [0, side, 0, 0])
    return try graph.add(.pad(pad), graph.add(.slice(slice), data))
  }

  mutating func classifier(_ data: ValueID, classes: Int) throws -> ValueID {
    let shape = graph.shape(data)
    let extents = Array(shape.dimensions[2...])
    let pool = Pool(
      .average(countIncludesPadding: false), kernel: extents, strides: [1, 1], padsBegin: [0, 0], padsEnd: [0, 0],
      dilations: [1, 1])
    let pooled = try graph.add(.pool(pool), data)
    let flat = try graph.add(.reshape([shape[0], shape[1]]), pooled)
    return try graph.add(
      .gemm(Gemm(transposeB: true)), flat, constant([classes, shape[1]], -0.5, 0.5), constant([classes], -0.5, 0.5))
  }
}
