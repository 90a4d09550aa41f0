import CatenaAutodiff
import CatenaGraph
import CatenaTensors
import Testing

@Suite("Units, blocks and gates of network patterns")
struct GateTests {
  @Test(arguments: NetworkPattern.all)
  func unitsAndBlocksAreFound(_ pattern: NetworkPattern) throws {
    let graph = try pattern.network().builder.graph
    let sites = graph.gateSites()
    let layers = sites.layers.map { layer in
      let block = layer.block.map { " in \(sites.blocks[$0].name)" } ?? ""
      return "\(layer.name) -> \(graph[layer.value].name) x \(layer.count)\(block)"
    }
    #expect(layers == pattern.layers)
    #expect(
      sites.blocks.map { "\($0.name) = \(graph[$0.shortcut].name) + \(graph[$0.branch].name)" } == pattern.blocks)
    for layer in sites.layers { #expect(graph.shape(layer.value)[layer.axis] == layer.count) }
  }

  @Test(arguments: NetworkPattern.all)
  func gatesOfOneChangeNothing(_ pattern: NetworkPattern) throws {
    let (builder, output) = try pattern.network()
    let gated = try builder.graph.gated(builder.graph.gateSites(), parametrization: .identity)
    try gated.graph.checkInvariants()
    var inputs = builder.inputs
    for scores in [gated.scores, gated.blockScores].compactMap({ $0 }) {
      inputs[scores] = filled(1, gated.graph.shape(scores))
    }
    let gatedOutput = gated.graph.outputs[0]
    #expect(
      try evaluate(builder.graph, builder.inputs, [output])[output]
        == evaluate(gated.graph, inputs, [gatedOutput])[gatedOutput])
  }

  @Test(arguments: NetworkPattern.all, [GradientRules.GateGradients.fromInput, .fromOutput])
  func scoreGradientsAgreeWithCentralDifferences(
    _ pattern: NetworkPattern, gateGradients: GradientRules.GateGradients
  ) throws {
    var (builder, _) = try pattern.network()
    let gated = try builder.graph.gated(builder.graph.gateSites(), regions: 2)
    builder.graph = gated.graph
    let scores = [gated.scores, gated.blockScores].compactMap { $0 }
    for score in scores { builder.setInput(score, to: builder.random(gated.graph.shape(score))) }
    try checkGradients(
      of: gated.graph.outputs[0], in: builder, withRespectTo: scores,
      rules: GradientRules(gateGradients: gateGradients))
  }

  @Test(arguments: NetworkPattern.all.filter { !$0.blocks.isEmpty })
  func aBlockGateOfZeroLeavesTheShortcut(_ pattern: NetworkPattern) throws {
    let (builder, _) = try pattern.network()
    let gated = try builder.graph.gated(builder.graph.gateSites(), parametrization: .identity)
    let blockScores = try #require(gated.blockScores)
    var inputs = builder.inputs
    inputs[gated.scores] = filled(1, gated.graph.shape(gated.scores))
    inputs[blockScores] = filled(0, gated.graph.shape(blockScores))
    for block in gated.sites.blocks {
      let sum = gated.graph.nodes.first { $0.outputs == builder.graph.nodes[block.add].outputs }
      let operands = try #require(sum?.inputs)
      let values = try evaluate(gated.graph, inputs, operands + builder.graph.nodes[block.add].outputs)
      let output = builder.graph.nodes[block.add].outputs[0]
      let zeros = try operands.filter { try #require(values[$0]).allSatisfy { $0 == 0 } }
      #expect(zeros.count == 1)
      let other = try #require(operands.first { $0 != zeros.first })
      #expect(values[output] == values[other])
    }
  }

  @Test func aUnitGateOfZeroSilencesItsChannelInItsRegionOnly() throws {
    let (builder, _) = try NetworkPattern.all[0].network()
    let gated = try builder.graph.gated(builder.graph.gateSites(), regions: 2, parametrization: .identity)
    var gates = [Double](repeating: 1, count: 2 * gated.sites.unitCount)
    gates[gated.sites.unitCount + 2] = 0
    var inputs = builder.inputs
    inputs[gated.scores] = Tensor(gates, shape: gated.graph.shape(gated.scores))
    let (before, after) = (gated.sites.layers[0].value, gated.gatedValues[0])
    let values = try evaluate(gated.graph, inputs, [before, after])
    var expected = try #require(values[before])
    for position in 0..<9 { expected[(4 + 2) * 9 + position] = 0 }
    #expect(values[after] == expected)
  }

  @Test func effectiveGatesAreAlphaTimesUnitGateForEveryUnitOfABlock() throws {
    let pattern = try #require(NetworkPattern.all.first { $0.testDescription == "basic block" })
    let (builder, _) = try pattern.network()
    let gated = try builder.graph.gated(builder.graph.gateSites(), regions: 2, parametrization: .identity)
    let blockScores = try #require(gated.blockScores)
    var inputs = builder.inputs
    inputs[gated.scores] = filled(0.5, gated.graph.shape(gated.scores))
    inputs[blockScores] = Tensor([0.25, 0.75], shape: [2, 1])
    let first = (0..<13).map { $0 < 4 ? 0.5 : 0.125 }
    let second = (0..<13).map { $0 < 4 ? 0.5 : 0.375 }
    #expect(
      try evaluate(gated.graph, inputs, [gated.effectiveGates])[gated.effectiveGates] == first + second)
    #expect(gated.sites.unitOffsets == [0, 4, 9])
  }

  @Test func aBranchThatEndsInALayerIsMultipliedByOneGateNode() throws {
    func gateCount(_ name: String) throws -> Int {
      let pattern = try #require(NetworkPattern.all.first { $0.testDescription == name })
      let graph = try pattern.network().builder.graph
      let gated = try graph.gated(graph.gateSites())
      return gated.graph.nodes.count { if case .gate = $0.operation { true } else { false } }
    }
    #expect(try gateCount("basic block") == 3)
    #expect(try gateCount("squeeze and excite with gemm, inside a residual branch") == 4 + 1)
  }

  @Test func theGateGradientFromTheOutputDoesNotKeepTheUngatedActivation() throws {
    let (builder, _) = try NetworkPattern.all[0].network()
    let gated = try builder.graph.gated(builder.graph.gateSites())
    var graph = gated.graph
    let seed = graph.addInput("seed", graph.type(graph.outputs[0]))
    let result = try graph.differentiating(
      [.init(graph.outputs[0], cotangent: seed)], withRespectTo: [gated.scores],
      rules: GradientRules(gateGradients: .fromOutput))
    let backward = result.graph.nodes.dropFirst(graph.nodes.count)
    for layer in gated.sites.layers { #expect(!backward.contains { $0.inputs.contains(layer.value) }) }
  }

  @Test func whatCannotBeGatedIsRefused() throws {
    var builder = NetworkBuilder()
    let input = builder.input([2, 3, 4, 4])
    let output = try builder.head(input)
    builder.graph.outputs = [output]
    let graph = builder.graph
    #expect(throws: GraphError.self) { try graph.gated(graph.gateSites()) }
    let chain = try NetworkPattern.all[0].network().builder.graph
    #expect(throws: GraphError.self) { try chain.gated(chain.gateSites(), regions: 3) }
  }

  private func filled(_ number: Double, _ shape: Shape) -> Tensor {
    Tensor([Double](repeating: number, count: shape.elementCount), shape: shape)
  }
}
