import CatenaAutodiff
import CatenaGraph
import CatenaTensors
import Testing

@Suite("Rule sets on a three-layer network, against loops")
struct RuleSetTests {
  private let selected = [0.0, 1, 0]

  /// What the rules say flows into the input from the second logit, and the logits.
  private func flow(
    _ network: LiteralNetwork, _ rules: any DerivativeRules, start: [Double], baseline: Tensor? = nil
  ) throws -> [Double] {
    var graph = network.graph
    var pairs: ValueMap<ValueID> = [:]
    if let baseline {
      let reference = graph.addConstant("baseline", baseline)
      (graph, pairs) = try graph.appendingCopy(replacing: [network.input: reference])
    }
    let seed = graph.addInput("seed", graph.type(network.logits))
    let result = try graph.differentiating(
      [.init(network.logits, cotangent: seed)], withRespectTo: [network.input], rules: rules, pairedValues: pairs)
    try result.graph.checkInvariants()
    var inputs = network.builder.inputs
    inputs[seed] = Tensor(start, shape: [1, 3])
    let gradient = try #require(result.gradients[network.input])
    return try #require(try evaluate(result.graph, inputs, [gradient])[gradient])
  }

  private func point(_ network: LiteralNetwork) throws -> [Double] {
    try #require(network.builder.inputs[network.input]).doubles
  }

  private func difference(_ left: [Double], _ right: [Double]) -> Double {
    left.count == right.count ? zip(left, right).map { abs($0 - $1) }.max() ?? 0 : .infinity
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func gradient(seed: UInt64) throws {
    let network = try LiteralNetwork(seed: seed, biases: true)
    let run = network.run(try point(network))
    let expected = network.back(
      selected, run: run, share: { _, flow in { output, _, weight in flow[output] * weight } },
      rectifier: { layer, flow in zip(flow, run.results[layer]).map { $1 > 0 ? $0 : 0 } })
    #expect(try difference(flow(network, GradientRules(), start: selected), expected) < 1e-12)
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func guidedBackpropagation(seed: UInt64) throws {
    let network = try LiteralNetwork(seed: seed, biases: true)
    let run = network.run(try point(network))
    let expected = network.back(
      selected, run: run, share: { _, flow in { output, _, weight in flow[output] * weight } },
      rectifier: { layer, flow in zip(flow, run.results[layer]).map { $0 > 0 && $1 > 0 ? $0 : 0 } })
    #expect(expected.contains { $0 != 0 })
    #expect(try difference(flow(network, GuidedBackpropagationRules(), start: selected), expected) < 1e-12)
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func deconvolution(seed: UInt64) throws {
    let network = try LiteralNetwork(seed: seed, biases: true)
    let expected = network.back(
      selected, run: network.run(try point(network)),
      share: { _, flow in { output, _, weight in flow[output] * weight } },
      rectifier: { _, flow in flow.map { max($0, 0) } })
    #expect(expected.contains { $0 != 0 })
    #expect(try difference(flow(network, DeconvolutionRules(), start: selected), expected) < 1e-12)
  }

  @Test(arguments: [true, false], [1, 2, 3] as [UInt64])
  func relevancePropagation(biases: Bool, seed: UInt64) throws {
    let network = try LiteralNetwork(seed: seed, biases: biases)
    let run = network.run(try point(network))
    let start = zip(selected, run.results[2]).map(*)
    let expected = network.back(
      start, run: run,
      share: { layer, flow in
        let inputs = run.inputs[layer]
        var totals = network.layers[layer].bias.map { max($0, 0) }
        for (output, input, weight) in network.layers[layer].connections {
          totals[output] += max(weight * inputs[input], 0)
        }
        return { output, input, weight in
          totals[output] == 0 ? 0 : max(weight * inputs[input], 0) / totals[output] * flow[output]
        }
      },
      rectifier: { _, flow in flow })
    let relevance = try flow(network, RelevanceRules(), start: start)
    #expect(expected.contains { $0 != 0 })
    #expect(difference(relevance, expected) < 1e-12)
    if !biases {
      #expect(abs(relevance.reduce(0, +) - start.reduce(0, +)) < 1e-9, "relevance is conserved")
    }
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func rescale(seed: UInt64) throws {
    let network = try LiteralNetwork(seed: seed, biases: true)
    let input = try point(network)
    var generator = NetworkBuilder(seed: seed + 100)
    let baseline = generator.random([1, 2, 5, 5])
    let run = network.run(input)
    let other = network.run(baseline.doubles)
    let expected = network.back(
      selected, run: run, share: { _, flow in { output, _, weight in flow[output] * weight } },
      rectifier: { layer, flow in
        flow.indices.map { index in
          let (x, x0) = (run.results[layer][index], other.results[layer][index])
          return flow[index] * (max(x, 0) - max(x0, 0)) / (x - x0)
        }
      })
    let multipliers = try flow(network, DeepLIFTRules(), start: selected, baseline: baseline)
    #expect(difference(multipliers, expected) < 1e-10)
    let contributions = zip(multipliers, zip(input, baseline.doubles)).map { $0 * ($1.0 - $1.1) }
    let change = zip(selected, zip(run.results[2], other.results[2])).map { $0 * ($1.0 - $1.1) }
    #expect(abs(contributions.reduce(0, +) - change.reduce(0, +)) < 1e-9, "contributions are complete")
  }

  @Test func rescaleIsCompleteThroughPoolingAndResidualSums() throws {
    var builder = NetworkBuilder(seed: 5)
    let input = builder.input([2, 2, 4, 4])
    let stem = try builder.maximumPool(builder.convolutionNormRelu(input, 4, name: "stem"), name: "stem.pool")
    let branch = try builder.convolutionNormRelu(stem, 4, name: "branch")
    let output = try builder.head(builder.add(.binary(.add), stem, branch))
    let baseline = builder.constant([2, 2, 4, 4])
    var (graph, pairs) = try builder.graph.appendingCopy(replacing: [input: baseline])
    let seed = graph.addConstant("seed", Tensor([Float(1), 0, 0, 1, 0, 0], shape: [2, 3]))
    let result = try graph.differentiating(
      [.init(output, cotangent: seed)], withRespectTo: [input], rules: DeepLIFTRules(), pairedValues: pairs)
    let multipliers = try #require(result.gradients[input])
    let paired = try #require(pairs[output])
    let values = try evaluate(result.graph, builder.inputs, [multipliers, output, paired, baseline, input])
    func value(_ id: ValueID) throws -> [Double] { try #require(values[id]) }
    var total = 0.0
    for index in 0..<64 {
      total += try value(multipliers)[index] * (value(input)[index] - value(baseline)[index])
    }
    let change = try value(output)[0] - value(paired)[0] + value(output)[3] - value(paired)[3]
    #expect(abs(total - change) < 1e-9)
  }

  /// x = (1, 3) and x0 = (4, 0) have their maxima at different places: y - y0 = -1 belongs to the reference's.
  @Test func rescaleGivesAFallToTheReferencesMaximum() throws {
    var graph = Graph()
    let input = graph.addInput("x", TensorType(.float32, [1, 1, 1, 2]))
    let baseline = graph.addConstant("x0", Tensor([Float(4), 0], shape: [1, 1, 1, 2]))
    let pool = Pool(
      .maximum, kernel: [1, 2], strides: [1, 1], padsBegin: [0, 0], padsEnd: [0, 0], dilations: [1, 1])
    let output = try graph.add(.pool(pool), input)
    let (both, pairs) = try graph.appendingCopy(replacing: [input: baseline])
    let result = try both.differentiating(
      [.init(output)], withRespectTo: [input], rules: DeepLIFTRules(), pairedValues: pairs)
    let multipliers = try #require(result.gradients[input])
    let inputs: ValueMap = [input: Tensor([Float(1), 3], shape: [1, 1, 1, 2])]
    #expect(try evaluate(result.graph, inputs, [multipliers])[multipliers] == [-1.0 / -3, 0])
  }

  @Test func relevanceIsConservedThroughPoolingAndResidualSums() throws {
    var builder = NetworkBuilder(seed: 6)
    let input = builder.input([1, 2, 4, 4])
    let stem = try builder.maximumPool(
      builder.relu(builder.convolution(input, 4, name: "stem"), name: "relu"), name: "stem.pool")
    let branch = try builder.relu(builder.convolution(stem, 4, name: "branch"), name: "branch.relu")
    let sum = try builder.add(.binary(.add), stem, branch)
    let pooled = try builder.flatten(builder.globalAverage(sum, name: "pool"), name: "flat")
    let output = try builder.linear(pooled, 3, bias: false, name: "logits")
    let seed = builder.graph.addConstant("seed", Tensor([Float(2), 0, 0], shape: [1, 3]))
    let result = try builder.graph.differentiating(
      [.init(output, cotangent: seed)], withRespectTo: [input], rules: RelevanceRules())
    let relevance = try #require(result.gradients[input])
    let values = try #require(try evaluate(result.graph, builder.inputs, [relevance])[relevance])
    #expect(abs(values.reduce(0, +) - 2) < 1e-9)
  }

  @Test func operatorsOutsideARuleSetAreNamed() throws {
    var builder = NetworkBuilder()
    let input = builder.input([1, 2, 4, 4])
    let output = try builder.head(builder.add(.unary(.absolute), input, name: "size"))
    let seed = builder.constant([1, 3])
    do {
      _ = try builder.graph.differentiating(
        [.init(output, cotangent: seed)], withRespectTo: [input], rules: RelevanceRules())
      Issue.record("the absolute value has no relevance rule")
    } catch {
      #expect(error.description.contains("'size' (unary)"))
    }
  }
}
