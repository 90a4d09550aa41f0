import CatenaAutodiff
import CatenaCompute
import CatenaGraph
import CatenaTensors

/// A gated step of a network: forward, cross entropy to given targets, gradients of the scores, Adam on the scores.
struct GatedStep {
  var program: Program
  var gradients: [ValueID] = []
  /// Scores, moments and step count, carried from step to step.
  var carried: [ValueID] = []
  var values: ValueMap<Tensor> = [:]

  /// The step of a small network for three images.
  /// - Parameters:
  ///   - regions: Regions with scores of their own.
  ///   - part: The one of three regions whose image and scores alone are taken.
  init(regions: Int = 1, part: Int? = nil, optimizes: Bool = true) throws {
    let network = try residualNetwork(batch: part == nil ? 3 : 1)
    try self.init(network: network, regions: regions, part: part, optimizes: optimizes)
  }

  /// The step of a network with one input, images, and one output, logits.
  init(network: Graph, regions: Int = 1, part: Int? = nil, optimizes: Bool = true) throws {
    let (image, logits) = (network.inputs[0], network.outputs[0])
    let gated = try network.gated(network.gateSites(), regions: regions)
    var graph = gated.graph
    let targets = graph.addInput("target", graph.type(logits))
    let logProbabilities = try graph.add(.logSoftmax(axes: [1]), logits)
    // Cross entropy is KL but for a constant; summed over images, so that a region's part does not depend on others.
    let products = try graph.add(.binary(.multiply), targets, logProbabilities)
    let sum = try graph.add(.reduce(Reduce(.sum, axes: [0, 1], keepsDimensions: false)), products)
    let loss = try graph.add(.unary(.negate), sum)
    let scores = [gated.scores] + (gated.blockScores.map { [$0] } ?? [])
    let differentiated = try graph.differentiating([DerivativeTarget(loss)], withRespectTo: scores)
    graph = differentiated.graph
    gradients = scores.compactMap { differentiated.gradients[$0] }
    graph.outputs = [loss, logits] + gradients
    var carries: [Program.Carry] = []
    var random = RandomTensors(part: part)
    values[image] = random.tensor(graph.shape(image), -1, 1)
    values[targets] = random.tensor(graph.shape(targets), 0, 0.2)
    for (score, gradient) in zip(scores, gradients) {
      let type = graph.type(score)
      values[score] = random.tensor(type.shape, 0.5, 2)
      carried.append(score)
      guard optimizes else { continue }
      let (first, second) = (graph.addInput("first", type), graph.addInput("second", type))
      let count = graph.addInput("count", TensorType(.float32, .scalar))
      let mask = graph.addConstant("mask", Tensor(scalar: Float(1)))
      let updated = try graph.add(
        .adam(Adam(learningRate: 0.05)), inputs: [score, gradient, first, second, count, mask])
      for (from, to) in zip(updated, [score, first, second, count]) {
        carries.append(Program.Carry(from: from, to: to))
        guard to != score else { continue }
        values[to] = Tensor(zeros: graph.shape(to))
        carried.append(to)
      }
    }
    program = Program(graph, carries: carries)
  }

  /// Compiles, writes all inputs, runs.
  func run(on backend: any Backend, steps: Int) async throws -> any Executable {
    let executable = try await backend.compile(program, options: CompileOptions())
    try await fill(executable)
    try await executable.run(steps: steps)
    return executable
  }

  /// Writes all inputs.
  func fill(_ executable: any Executable) async throws {
    for (input, tensor) in values { try await executable.write(tensor, to: input) }
  }
}

/// Random inputs for three regions, or the rows of one of them: what is drawn does not depend on which.
private struct RandomTensors {
  let part: Int?
  private var generator = SeededGenerator(seed: 7)

  init(part: Int?) { self.part = part }

  mutating func tensor(_ shape: Shape, _ low: Double, _ high: Double) -> Tensor {
    var whole = shape
    if part != nil { whole[0] *= 3 }
    let numbers = (0..<whole.elementCount).map { _ in Float(low + (high - low) * generator.uniform()) }
    let first = (part ?? 0) * shape.elementCount
    return Tensor(Array(numbers[first..<first + shape.elementCount]), shape: shape)
  }
}

/// A small CIFAR ResNet with random weights: three stages of one block, shortcuts of option A (every other position,
/// channels padded with zeros), batch normalisation unfolded.
private func residualNetwork(batch: Int) throws -> Graph {
  var builder = Builder()
  let image = builder.graph.addInput("image", TensorType(.float32, [batch, 3, 16, 16]))
  var value = try builder.layer(image, 16, stride: 1)
  for (channels, stride) in [(16, 1), (32, 2), (64, 2)] {
    var branch = try builder.layer(value, channels, stride: stride)
    branch = try builder.normalized(builder.convolution(branch, channels, stride: 1))
    let shortcut = stride == 1 ? value : try builder.shortcut(value, channels)
    value = try builder.graph.add(.unary(.relu), builder.graph.add(.binary(.add), branch, shortcut))
  }
  builder.graph.outputs = [try builder.classifier(value, classes: 10)]
  return builder.graph
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
