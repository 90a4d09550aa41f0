import CatenaAutodiff
import CatenaGraph
import CatenaTensors
import Testing

@Suite("Differentiation of graphs")
struct DifferentiationTests {
  @Test func contributionsOfSeveralReadersAreAdded() throws {
    var builder = NetworkBuilder()
    let data = builder.input([2, 2, 4, 4])
    let left = try builder.convolution(data, 3, name: "left")
    let right = try builder.relu(builder.convolution(data, 3, kernel: 1, name: "right"), name: "relu")
    let output = try builder.head(builder.add(.binary(.add), left, right))
    try checkGradients(of: output, in: builder, withRespectTo: [data])
  }

  @Test func intermediateValuesHaveGradientsToo() throws {
    var builder = NetworkBuilder()
    let data = builder.input([3])
    let square = try builder.add(.binary(.multiply), data, data)
    let total = try builder.add(.reduce(Reduce(.sum, axes: [0], keepsDimensions: false)), square)
    let result = try builder.graph.differentiating([.init(total)], withRespectTo: [data, square, total])
    let values = try evaluate(result.graph, builder.inputs, Array(result.gradients.values))
    let point = builder.inputs[data]?.doubles ?? []
    #expect(result.gradients[data].flatMap { values[$0] } == point.map { 2 * $0 })
    #expect(result.gradients[square].flatMap { values[$0] } == [1, 1, 1])
    #expect(result.gradients[total].flatMap { values[$0] } == [1])
  }

  @Test func aValueWithoutInfluenceHasZeroGradientAndUnneededNodesAreNotVisited() throws {
    var builder = NetworkBuilder()
    let (data, other) = (builder.input([3]), builder.input([2, 2]))
    _ = try builder.add(.argReduce(ArgReduce(axis: 0, keepsDimensions: false)), data)
    let total = try builder.add(.reduce(Reduce(.sum, axes: [0], keepsDimensions: false)), data)
    let result = try builder.graph.differentiating([.init(total)], withRespectTo: [other])
    #expect(result.graph.nodes.count == builder.graph.nodes.count)
    let gradient = try #require(result.gradients[other])
    #expect(result.graph.constants[gradient]?.doubles == [0, 0, 0, 0])
  }

  @Test func forwardNodesAndIdsStayAsTheyWere() throws {
    var builder = NetworkBuilder()
    let data = builder.input([1, 2, 4, 4])
    let output = try builder.add(
      .reduce(Reduce(.sum, axes: [0, 1], keepsDimensions: false)),
      builder.head(builder.convolutionNormRelu(data, 3, name: "stem")))
    let result = try builder.graph.differentiating([.init(output)], withRespectTo: [data])
    #expect(Array(result.graph.nodes.prefix(builder.graph.nodes.count)) == builder.graph.nodes)
    #expect(result.graph.inputs == builder.graph.inputs)
    try result.graph.checkInvariants()
  }

  @Test func equalElementsShareTheGradientOfAnExtremeEvenly() throws {
    var graph = Graph()
    let data = graph.addInput("x", TensorType(.float32, [4]))
    let largest = try graph.add(.reduce(Reduce(.maximum, axes: [0], keepsDimensions: false)), data)
    let values: [Float] = [2, 1, 2, 0]
    let result = try graph.differentiating([.init(largest)], withRespectTo: [data])
    let gradient = try #require(result.gradients[data])
    let inputs: ValueMap = [data: Tensor(values, shape: [4])]
    #expect(try evaluate(result.graph, inputs, [gradient])[gradient] == [0.5, 0, 0.5, 0])
  }

  @Test(arguments: [
    ([2.0, 3, 4], [12.0, 8, 6]), ([2, 0, 4], [0, 8, 0]), ([0, 0, 4], [0, 0, 0]),
  ])
  func productsHaveTheirGradientAtZeroToo(values: [Double], expected: [Double]) throws {
    var graph = Graph()
    let data = graph.addInput("x", TensorType(.float32, [3]))
    let product = try graph.add(.reduce(Reduce(.product, axes: [0], keepsDimensions: false)), data)
    let result = try graph.differentiating([.init(product)], withRespectTo: [data])
    let gradient = try #require(result.gradients[data])
    #expect(try evaluate(result.graph, [data: Tensor(values, shape: [3])], [gradient])[gradient] == expected)
  }

  @Test func powersOfZeroHaveFiniteGradients() throws {
    var graph = Graph()
    let base = graph.addInput("base", TensorType(.float32, [3]))
    let exponent = graph.addInput("exponent", TensorType(.float32, [3]))
    let power = try graph.add(.binary(.power), base, exponent)
    let seed = graph.addConstant("seed", Tensor([Float(1), 1, 1], shape: [3]))
    let result = try graph.differentiating([.init(power, cotangent: seed)], withRespectTo: [base, exponent])
    let inputs: ValueMap = [
      base: Tensor([0.0, 0, -2], shape: [3]), exponent: Tensor([0.0, 2, 2], shape: [3]),
    ]
    let gradient = try #require(result.gradients[base])
    #expect(try evaluate(result.graph, inputs, [gradient])[gradient] == [0, 0, -4])
    let other = try #require(result.gradients[exponent])
    #expect(try evaluate(result.graph, inputs, [other])[other]?.prefix(2) == [0, 0])
  }

  // MARK: Errors

  @Test func everyNodeWithoutARuleIsNamedAtOnce() throws {
    var builder = NetworkBuilder()
    let (data, gate) = (builder.input([2, 3]), builder.input([1, 3]))
    let seed = builder.constant([2, 3])
    let gated = try builder.add(.gateGradientFromOutput(axis: 1), data, seed, gate, name: "first")
    let slope = try builder.add(.unaryGradient(.relu), gated, gated, name: "second")
    let total = try builder.add(.reduce(Reduce(.sum, axes: [0, 1], keepsDimensions: false)), slope)
    do {
      _ = try builder.graph.differentiating([.init(total)], withRespectTo: [data])
      Issue.record("there is no derivative")
    } catch {
      guard case .noDerivative(let missing) = error else {
        Issue.record("\(error)")
        return
      }
      #expect(missing.map(\.output) == ["first", "second"])
      #expect(missing.map(\.operation) == ["gateGradientFromOutput", "unaryGradient"])
    }
  }

  @Test func weightsAreFrozen() throws {
    var builder = NetworkBuilder()
    let data = builder.input([1, 2, 4, 4])
    let mixed = try builder.convolution(data, 3, bias: true, name: "stem")
    let seed = builder.constant(builder.graph.shape(mixed))
    for parameter in builder.graph.nodes[0].inputs.dropFirst() {
      #expect(throws: DifferentiationError.self) {
        try builder.graph.differentiating([.init(mixed, cotangent: seed)], withRespectTo: [parameter])
      }
    }
  }

  @Test func targetsAndCotangentsAreChecked() throws {
    var builder = NetworkBuilder()
    let data = builder.input([3])
    let double = try builder.add(.binary(.add), data, data, name: "double")
    let index = try builder.add(.argReduce(ArgReduce(axis: 0, keepsDimensions: false)), data, name: "index")
    let wrong = builder.constant([2])
    let graph = builder.graph
    #expect(throws: DifferentiationError.cotangent(target: graph[double], cotangent: nil)) {
      try graph.differentiating([.init(double)], withRespectTo: [data])
    }
    #expect(throws: DifferentiationError.cotangent(target: graph[double], cotangent: graph[wrong])) {
      try graph.differentiating([.init(double, cotangent: wrong)], withRespectTo: [data])
    }
    #expect(throws: DifferentiationError.notFloatingPoint(graph[index])) {
      try graph.differentiating([.init(index)], withRespectTo: [data])
    }
  }
}
