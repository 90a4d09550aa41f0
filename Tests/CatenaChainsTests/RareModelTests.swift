import CatenaChains
import CatenaCPU
import CatenaFormats
import CatenaGraph
import CatenaReference
import CatenaTensors
import Foundation
import TestSupport
import Testing

@Suite("Chains of models in rare forms")
struct RareModelTests {
  private func samples(_ count: Int) -> Tensor { randomTensor([count, 3, 6, 6], seed: 77) }

  private func output(of graph: Graph, _ samples: Tensor) throws -> [Double] {
    try Reference.run(graph, inputs: [graph.inputs[0]: samples], precision: .double)[graph.outputs[0]]?.doubles ?? []
  }

  /// What the written file says is what the source says with the units and branches that went as zeros, whatever the batch.
  @Test(arguments: RareModel.allCases, 0..<8)
  func writtenChainsComputeTheNetworkWithZeros(_ rare: RareModel, _ seed: UInt64) throws {
    let model = try rare.model()
    let network = try ChainNetwork(model: model, batch: 3)
    #expect(network.sites.unitCount > 0)
    var generator = SeededGenerator(seed: seed)
    let units = (0..<network.sites.unitCount).map { _ in generator.uniform() < 0.6 }
    let blocks = network.sites.blocks.map { _ in generator.uniform() < 0.5 }
    let sliced = try network.sliced(keeping: units, blocks: blocks)
    let written = try model.sliced(to: sliced.graph, from: network.graph)
    let dead = network.zeroedChannels(keeping: units, blocks: blocks)
    for batch in [2, 3, 4] {
      let expected = try output(
        of: model.graph(batch: batch).zeroing(dead.channels, values: dead.values), samples(batch))
      let found = try output(of: written.graph(batch: batch), samples(batch))
      #expect(found.count == expected.count)
      #expect(zip(found, expected).allSatisfy { abs($0 - $1) <= 1e-6 * max(1, abs($1)) })
    }
  }

  @Test(arguments: RareModel.allCases)
  func chainsAreExtractedAndVerified(_ rare: RareModel) async throws {
    let region = try Region(name: "noise", samples: samples(6), sampleNames: (0..<6).map { "\($0)" })
    var settings = ChainSettings()
    (settings.steps, settings.batch) = (20, 4)
    let chain = try await ChainFolder(
      rare.model(), region, request: .keep(fraction: 0.5), settings: settings, threads: 2)
    let verified = try await chain.verify()
    #expect(verified.samples == 6 && verified.largestDifference < 1e-4)
  }

  /// The logits that a final softmax reads are what is reported, not what it makes of them.
  @Test func inferenceGivesLogitsOfNetworksThatEndInASoftmax() async throws {
    let region = try Region(name: "noise", samples: samples(2), sampleNames: ["0", "1"])
    let model = try RareModel.softmax.model()
    let found = try await NetworkRunner(model: model, batch: 2, backend: CPUBackend()).logits(of: region)
    let graph = try model.graph(batch: 2)
    let probabilities = try output(of: graph, samples(2))
    #expect(zip(found.joined(), probabilities).allSatisfy { abs(Double($0) - $1) > 1e-6 })
    for (row, logits) in found.enumerated() {
      let own = logProbabilities(logits).enumerated().map { abs(exp($1) - probabilities[5 * row + $0]) }
      #expect((own.max() ?? 1) < 1e-5)
    }
  }

  /// A softmax over the two classes of every anchor leaves rows whole.
  @Test func inferenceKeepsRowsOfAnchors() async throws {
    var builder = ModelBuilder()
    builder.input("x", [-1, 6])
    builder.output("y", [-1, 6])
    builder.integers("pairs", [-1, 2])
    builder.integers("rows", [-1, 6])
    builder.node("Reshape", ["x", "pairs"], ["p"])
    builder.node("Softmax", ["p"], ["s"], [.int("axis", 1)])
    builder.node("Reshape", ["s", "rows"], ["y"])
    let samples = randomTensor([2, 6], seed: 5)
    let region = try Region(name: "noise", samples: samples, sampleNames: ["0", "1"])
    let model = try builder.model()
    let found = try await NetworkRunner(model: model, batch: 2, backend: CPUBackend()).logits(of: region)
    let expected = try output(of: model.graph(batch: 2), samples)
    #expect(found.map(\.count) == [6, 6])
    #expect(zip(found.joined(), expected).allSatisfy { abs(Double($0) - $1) < 1e-6 })
  }

  /// A file that leaves the batch open and states one of 1 inside serves one sample.
  @Test func aBatchOfOneStatedInside() throws {
    var builder = ModelBuilder()
    builder.input("x", [-1, 4])
    builder.output("y", [-1, 3])
    builder.constant("w", randomTensor([4, 6], seed: 1))
    builder.constant("v", randomTensor([6, 3], seed: 2))
    builder.integers("one", [1, 6])
    builder.node("Gemm", ["x", "w"], ["h"])
    builder.node("Reshape", ["h", "one"], ["r"])
    builder.node("Gemm", ["r", "v"], ["y"])
    let model = try builder.model()
    #expect(throws: (any Error).self) { try ChainNetwork(model: model, batch: 2) }
    #expect(try ChainNetwork(model: model, batch: 1).sites.unitCount == 6)
  }

  /// One layer of units and one sample: gates have the shape of what they scale.
  @Test func oneSampleOfANetworkOfOneLayer() async throws {
    var builder = ModelBuilder()
    builder.input("x", [-1, 4])
    builder.output("y", [-1, 3])
    builder.constant("w", randomTensor([4, 6], seed: 1))
    builder.constant("v", randomTensor([6, 3], seed: 2))
    builder.node("Gemm", ["x", "w"], ["h"])
    builder.node("Relu", ["h"], ["r"])
    builder.node("Gemm", ["r", "v"], ["y"])
    var settings = ChainSettings()
    (settings.steps, settings.batch) = (20, 1)
    let region = try Region(name: "one", samples: randomTensor([1, 4], seed: 3), sampleNames: ["0"])
    let chain = try await ChainFolder(
      builder.model(), region, request: .keep(fraction: 0.5), settings: settings, threads: 1)
    #expect(try await chain.verify().samples == 1)
  }

  /// A search in which no branch is left ends where it is, and what it found counts.
  @Test func searchesThatLoseAllBranchesGoOn() async throws {
    var builder = ModelBuilder()
    builder.input("x", [-1, 3, 6, 6])
    builder.output("y", [-1, 3])
    builder.constant("w", randomTensor([8, 3, 3, 3], seed: 1))
    // What the branch adds hardly matters.
    builder.constant("v", Tensor(randomTensor([3, 8, 3, 3], seed: 2).floats.map { $0 * 1e-6 }, shape: [3, 8, 3, 3]))
    builder.node("Conv", ["x", "w"], ["a"], [.ints("pads", [1, 1, 1, 1])])
    builder.node("Relu", ["a"], ["r"])
    builder.node("Conv", ["r", "v"], ["b"], [.ints("pads", [1, 1, 1, 1])])
    builder.node("Add", ["x", "b"], ["s"])
    builder.node("GlobalAveragePool", ["s"], ["m"])
    builder.node("Flatten", ["m"], ["y"])
    let region = try Region(name: "noise", samples: samples(6), sampleNames: (0..<6).map { "\($0)" })
    var settings = ChainSettings()
    settings.steps = 60
    let chain = try await ChainFolder(
      builder.model(), region, request: .keep(fraction: 0.1), settings: settings, threads: 1)
    #expect(try await chain.verify().samples == 6)
    #expect(chain.manifest.fidelity.binary.agreement == 1)
  }

  /// A derivative that is no number is an error with a reason.
  @Test func derivativesThatAreNoNumbersEndASearch() async throws {
    var builder = ModelBuilder()
    builder.input("x", [-1, 3, 6, 6])
    builder.output("y", [-1, 5])
    var weights = randomTensor([6, 4, 1, 1], seed: 1).floats
    for index in 0..<4 { weights[index] = 0 }
    builder.constant("u", randomTensor([4, 3, 1, 1], seed: 3))
    builder.constant("w", Tensor(weights, shape: [6, 4, 1, 1]))
    builder.constant("v", randomTensor([6, 5], seed: 2))
    builder.node("Conv", ["x", "u"], ["before"])
    builder.node("Conv", ["before", "w"], ["a"])
    builder.node("Mul", ["a", "a"], ["q"])
    // The root of 0 has no slope.
    builder.node("Sqrt", ["q"], ["root"])
    builder.node("GlobalAveragePool", ["root"], ["m"])
    builder.node("Flatten", ["m"], ["f"])
    builder.node("Gemm", ["f", "v"], ["y"])
    let model = try builder.model()
    let region = try Region(name: "noise", samples: samples(4), sampleNames: (0..<4).map { "\($0)" })
    var settings = ChainSettings()
    settings.steps = 20
    await #expect {
      try await ChainFolder(model, region, request: .keep(fraction: 0.5), settings: settings, threads: 1)
    } throws: { error in
      if case ChainError.notFinite = error { true } else { false }
    }
  }

  /// A normalised factor whose units are all gone.
  @Test func normalizationsOfNothingAreWritten() throws {
    let model = try RareModel.normalizedBranch.model()
    let network = try ChainNetwork(model: model, batch: 2)
    let branch = try #require(network.sites.layers.firstIndex { $0.name == "v" })
    let offset = network.sites.unitOffsets[branch]
    let units = (0..<network.sites.unitCount).map { !(offset..<offset + 2).contains($0) }
    let sliced = try network.sliced(keeping: units, blocks: [])
    _ = try model.sliced(to: sliced.graph, from: network.graph)
  }

  /// Labels of which several may hold are no classes, and no softmax is taken of them.
  @Test func labelsAreNoClasses() async throws {
    var builder = ModelBuilder()
    builder.input("x", [-1, 6])
    builder.output("y", [-1, 5])
    builder.constant("w", randomTensor([6, 5], seed: 2))
    builder.node("Gemm", ["x", "w"], ["logits"])
    builder.node("Sigmoid", ["logits"], ["y"])
    let model = try builder.model()
    #expect(throws: ChainError.self) { try ChainNetwork(model: model, batch: 2) }
    let runner = try await NetworkRunner(model: model, batch: 2, backend: CPUBackend())
    #expect(runner.givesLabels)
  }

  /// Nothing is divided by units: without one there would be no number.
  @Test func divisorsHaveNoUnits() throws {
    let sites = try ChainNetwork(model: RareModel.divisor.model(), batch: 2).sites
    #expect(sites.layers.map(\.name) == ["a/c", "c/c"])
  }

  /// Units are the same for one sample as for several (which alone a squeeze without axes takes as they are).
  @Test(arguments: RareModel.allCases.filter { $0 != .axislessSqueeze })
  func unitsDoNotDependOnTheBatch(_ rare: RareModel) throws {
    let networks = try [1, 2, 5].map { try ChainNetwork(model: rare.model(), batch: $0) }
    #expect(networks.allSatisfy { $0.sites == networks[0].sites })
  }

  /// The samples' place is followed through attention: the perceptron behind it has units, also where the file states a
  /// batch of 1, which every axis of one element might be.
  @Test(arguments: [-1, 1]) func perceptronsBehindAttentionHaveUnits(batch: Int) throws {
    let sites = try ChainNetwork(model: RareModel.sequenceFirst.model(batch: batch), batch: 2).sites
    #expect(sites.layers.contains { $0.name == "hidden" && $0.count == 12 })
    #expect(sites.blocks.count == 2)
  }
}
