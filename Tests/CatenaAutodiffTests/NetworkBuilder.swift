import CatenaAutodiff
import CatenaGraph
import CatenaReference
import CatenaTensors
import TestSupport
import Testing

/// Builds small networks with random weights, and inputs to run them on.
struct NetworkBuilder {
  var graph = Graph()
  /// A tensor for every input made so far.
  private(set) var inputs: ValueMap<Tensor> = [:]
  private var generator: SeededGenerator

  init(seed: UInt64 = 1) { generator = SeededGenerator(seed: seed) }

  mutating func random(_ shape: Shape, in range: ClosedRange<Double> = -1...1) -> Tensor {
    let values = (0..<shape.elementCount).map { _ in
      Float(range.lowerBound + (range.upperBound - range.lowerBound) * generator.uniform())
    }
    return Tensor(values, shape: shape)
  }

  mutating func input(_ shape: Shape, in range: ClosedRange<Double> = -1...1, name: String = "input") -> ValueID {
    let id = graph.addInput(name, TensorType(.float32, shape))
    inputs[id] = random(shape, in: range)
    return id
  }

  /// Sets what an input that a rewrite of the graph has added is run on.
  mutating func setInput(_ id: ValueID, to tensor: Tensor) { inputs[id] = tensor }

  mutating func constant(_ shape: Shape, in range: ClosedRange<Double> = -1...1) -> ValueID {
    graph.addConstant("constant", random(shape, in: range))
  }

  mutating func add(_ operation: Operator, _ inputs: ValueID..., name: String? = nil) throws -> ValueID {
    try graph.add(operation, inputs: inputs, names: name.map { [$0] } ?? [])[0]
  }

  // MARK: Layers

  mutating func convolution(
    _ data: ValueID, _ filters: Int, kernel: Int = 3, stride: Int = 1, groups: Int = 1, bias: Bool = false, name: String
  ) throws -> ValueID {
    let channels = graph.shape(data)[1]
    let weight = constant([filters, channels / groups, kernel, kernel])
    let pads = [kernel / 2, kernel / 2]
    let geometry = Convolution(
      strides: [stride, stride], padsBegin: pads, padsEnd: pads, dilations: [1, 1], groups: groups)
    let operands = [data, weight] + (bias ? [constant([filters])] : [])
    return try graph.add(.convolution(geometry), inputs: operands, names: [name])[0]
  }

  mutating func batchNormalization(_ data: ValueID, name: String) throws -> ValueID {
    let channels: Shape = [graph.shape(data)[1]]
    return try add(
      .batchNormalization(epsilon: 1e-5), data, constant(channels, in: 0.5...1.5), constant(channels, in: -0.5...0.5),
      constant(channels, in: -0.5...0.5), constant(channels, in: 0.5...1.5), name: name)
  }

  mutating func relu(_ data: ValueID, name: String) throws -> ValueID { try add(.unary(.relu), data, name: name) }

  /// convolution, batch norm, ReLU, named `name`, `name.norm`, `name.relu`
  mutating func convolutionNormRelu(
    _ data: ValueID, _ filters: Int, kernel: Int = 3, stride: Int = 1, groups: Int = 1, name: String
  ) throws -> ValueID {
    let mixed = try convolution(data, filters, kernel: kernel, stride: stride, groups: groups, name: name)
    return try relu(batchNormalization(mixed, name: "\(name).norm"), name: "\(name).relu")
  }

  mutating func globalAverage(_ data: ValueID, name: String) throws -> ValueID {
    let extents = Array(graph.shape(data).dimensions[2...])
    let (ones, zeros) = (extents.map { _ in 1 }, extents.map { _ in 0 })
    return try add(
      .pool(
        Pool(
          .average(countIncludesPadding: false), kernel: extents, strides: ones, padsBegin: zeros, padsEnd: zeros,
          dilations: ones)), data, name: name)
  }

  mutating func maximumPool(_ data: ValueID, name: String) throws -> ValueID {
    try add(
      .pool(
        Pool(
          .maximum, kernel: [2, 2], strides: [2, 2], padsBegin: [0, 0], padsEnd: [0, 0], dilations: [1, 1])), data,
      name: name)
  }

  mutating func flatten(_ data: ValueID, name: String) throws -> ValueID {
    let shape = graph.shape(data)
    return try add(.reshape([shape[0], shape.count(of: 1..<shape.rank)]), data, name: name)
  }

  mutating func linear(_ data: ValueID, _ outputs: Int, bias: Bool = true, name: String) throws -> ValueID {
    let weight = constant([outputs, graph.shape(data)[1]])
    let operands = [data, weight] + (bias ? [constant([outputs])] : [])
    return try graph.add(.gemm(Gemm(transposeB: true)), inputs: operands, names: [name])[0]
  }

  /// Global average, flatten, linear: `pool`, `flat`, `classifier`.
  mutating func head(_ data: ValueID, classes: Int = 3) throws -> ValueID {
    try linear(flatten(globalAverage(data, name: "pool"), name: "flat"), classes, name: "classifier")
  }
}

/// The values of a graph in double.
func evaluate(_ graph: Graph, _ inputs: ValueMap<Tensor>, _ values: [ValueID]) throws -> ValueMap<[Double]> {
  try Reference.run(graph, inputs: inputs, precision: .double, values: values).mapValues(\.doubles)
}

/// Checks the gradients of sum(r * output), r random, element by element against central differences.
func checkGradients(
  of output: ValueID, in builder: NetworkBuilder, withRespectTo sources: [ValueID],
  rules: any DerivativeRules = GradientRules()
) throws {
  var graph = builder.graph
  let cotangent = graph.addInput("cotangent", graph.type(output))
  let derivative = try graph.differentiating(
    [.init(output, cotangent: cotangent)], withRespectTo: sources, rules: rules)
  try derivative.graph.checkInvariants()
  for source in sources {
    // Truncation and rounding of central differences with a step of 1e-5 in double leave about 1e-9.
    try checkGradient(
      of: builder.graph, output: output, withRespectTo: source, gradientGraph: derivative.graph,
      gradient: try #require(derivative.gradients[source]), cotangent: cotangent, inputs: builder.inputs,
      elements: .max, tolerance: 1e-7)
  }
}
