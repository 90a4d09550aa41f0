import CatenaAutodiff
import CatenaCPU
import CatenaChains
import CatenaCompute
import CatenaFormats
import CatenaTensors
import TestSupport
import Testing

@Suite("Compaction")
struct CompactionTests {
  enum Structure: String, CaseIterable, Sendable {
    case residual, nested, resnet, paddedShortcut, squeezeExcite, denseNet, mobileNet

    func model() throws -> ONNXModel {
      switch self {
      case .residual: try NetworkBuilder.residual(batch: 3)
      case .nested: try NetworkBuilder.nested(batch: 3)
      case .resnet: try GoldenNetwork.resnet.model()
      case .paddedShortcut: try GoldenNetwork.paddedShortcut.model()
      case .squeezeExcite: try GoldenNetwork.squeezeExcite.model()
      case .denseNet: try GoldenNetwork.denseNet.model()
      case .mobileNet: try GoldenNetwork.mobileNet.model()
      }
    }
  }

  private func region(of network: ChainNetwork) throws -> Region {
    let shape = network.graph.shape(network.graph.inputs[0])
    return try noise(network.batch, sample: Array(shape.dimensions.dropFirst()), seed: 4)
  }

  @Test("what is left computes what the whole network does with the cut gates 0", arguments: Structure.allCases)
  func outputs(structure: Structure) async throws {
    let network = try ChainNetwork(model: structure.model(), batch: 3)
    let region = try region(of: network)
    let whole = try await ChainEvaluator(network: network, backend: CPUBackend(), options: CompileOptions())
    var generator = SeededGenerator(seed: 7)
    var smallest = network.graph.multiplyAddCount
    for trial in 0..<4 {
      let kept = network.sites.layers.flatMap { layer in
        // The first unit of a layer stays, so that every layer does.
        (0..<layer.count).map { $0 == 0 || generator.uniform() < 0.5 }
      }
      let blocks = network.sites.blocks.indices.map { trial == 0 || $0 % 4 != trial }
      let compact = try CompactNetwork(of: network, keeping: (kept, blocks))
      smallest = min(smallest, compact.network.graph.multiplyAddCount)
      let units = kept.map { $0 ? Float(0.3 + 0.7 * generator.uniform()) : 0 }
      let alphas = blocks.map { $0 ? Float(0.3 + 0.7 * generator.uniform()) : 0 }
      let part = try await ChainEvaluator(network: compact.network, backend: CPUBackend(), options: CompileOptions())
      let expected = try await whole.logits(of: region, unitGates: units, blockGates: alphas)
      let found = try await part.logits(
        of: region, unitGates: compact.units.map { units[$0] }, blockGates: compact.blocks.map { alphas[$0] })
      let range = expected.joined().map(abs).max() ?? 0
      let deviation = zip(expected.joined(), found.joined()).map { abs($0 - $1) }.max() ?? .infinity
      #expect(deviation <= 1e-4 * max(range, 1e-3), "trial \(trial)")
    }
    #expect(smallest < network.graph.multiplyAddCount)
  }

  @Test("a search goes on without dead units as it would with them", arguments: [Structure.residual, .nested, .resnet])
  func steps(structure: Structure) async throws {
    let network = try ChainNetwork(model: structure.model(), batch: 3)
    let regions = [try region(of: network)]
    let evaluator = try await ChainEvaluator(network: network, backend: CPUBackend(), options: CompileOptions())
    let dense = [try await evaluator.denseLogits(of: regions[0])]
    let settings = ChainSettings.short()
    let batches = RegionBatches(network: network, regions: regions, dense: dense, settings: settings)
    var state = OptimizerState(network: network, keep: [0.4], settings: settings)
    let kept = network.sites.layers.flatMap { layer in (0..<layer.count).map { $0 % 3 != 2 } }
    state.giveUp(unitsOutside: kept)
    let blocks = [Bool](repeating: true, count: network.sites.blocks.count)
    let compact = try CompactNetwork(of: network, keeping: (kept, blocks))
    func optimized(_ stage: CompactNetwork) async throws -> [ScoreSnapshot] {
      let first = try await ChainOptimizer(
        stage: stage, batches: batches, state: state, settings: settings, backend: CPUBackend(),
        options: CompileOptions())
      try await first.advance(by: 3)
      // The second half in a program of its own: the state that is handed over is all that steps depend on.
      let second = try await ChainOptimizer(
        stage: stage, batches: batches, state: first.advanced(state), settings: settings, backend: CPUBackend(),
        options: CompileOptions())
      try await second.advance(by: 3)
      return try await second.snapshots(atStep: 6)
    }
    let expected = try await optimized(CompactNetwork(whole: network))[0]
    let found = try await optimized(compact)[0]
    for unit in kept.indices {
      #expect(abs(expected.unitGates[unit] - found.unitGates[unit]) <= 1e-4, "unit \(unit)")
    }
    for block in blocks.indices { #expect(abs(expected.blockGates[block] - found.blockGates[block]) <= 1e-4) }
  }

  /// Channels that had to stay although they are dead are zero whatever their gate: free units that change nothing, which
  /// a search would fill its budget with, and which are not nothing in the chain.
  @Test("units that were cut out stay out, also where their channels are left", arguments: ChainProgram.Phase.allCases)
  func givenUp(phase: ChainProgram.Phase) async throws {
    let network = try ChainNetwork(model: Structure.paddedShortcut.model(), batch: 3)
    let regions = [try region(of: network)]
    let evaluator = try await ChainEvaluator(network: network, backend: CPUBackend(), options: CompileOptions())
    let dense = [try await evaluator.denseLogits(of: regions[0])]
    let settings = ChainSettings.short()
    let kept = network.sites.layers.flatMap { layer in (0..<layer.count).map { $0 % 3 != 2 } }
    let blocks = [Bool](repeating: true, count: network.sites.blocks.count)
    let compact = try CompactNetwork(of: network, keeping: (kept, blocks))
    try #require(compact.units.contains { !kept[$0] })
    // A budget for all of them.
    var state = OptimizerState(network: network, keep: [1], settings: settings)
    state.giveUp(unitsOutside: kept)
    let optimizer = try await ChainOptimizer(
      stage: compact, phase: phase,
      batches: RegionBatches(network: network, regions: regions, dense: dense, settings: settings), state: state,
      settings: settings, backend: CPUBackend(), options: CompileOptions())
    try await optimizer.advance(by: 3)
    let gates = try await optimizer.snapshots(atStep: 3)[0].unitGates
    for unit in compact.units { #expect((gates[unit] > ScoreSnapshot.gateOfCutUnits) == kept[unit], "unit \(unit)") }
  }

  @Test("of a convolution that ends in a residual stream only the living channels are computed")
  func narrowing() throws {
    let network = try ChainNetwork(model: ShippedNetwork.resnet20.model(), batch: 2)
    // Every layer keeps others, so that all of the stream stays.
    let kept = network.sites.layers.enumerated().flatMap { index, layer in
      (0..<layer.count).map { ($0 + index) % 4 == 1 }
    }
    let blocks = [Bool](repeating: true, count: network.sites.blocks.count)
    let sliced = try network.sliced(keeping: kept, blocks: blocks)
    let compact = try CompactNetwork(of: network, keeping: (kept, blocks))
    #expect(sliced.record.uncut.contains { !$0.indices.isEmpty })
    let sites = compact.network.sites
    let last = zip(sites.layers, sites.unitOffsets).filter { layer, _ in
      sites.blocks.contains { $0.branch == layer.value }
    }
    #expect(last.count > 1)
    for (layer, offset) in last {
      #expect(compact.units[offset..<(offset + layer.count)].allSatisfy { kept[$0] }, "\(layer.name)")
    }
    #expect(compact.network.graph.multiplyAddCount < sliced.graph.multiplyAddCount)
  }

  @Test("a search on a shrinking network finds what it finds on the whole one")
  func search() async throws {
    let whole = try await found(steps: 300, deadGate: 0)
    let shrinking = try await found(steps: 300, deadGate: ChainSettings().deadGate)
    #expect(shrinking.programs.count > whole.programs.count)
    // Two runs that differ only in rounding differ by about 0.05 in KL and a sample in agreement.
    #expect(shrinking.fidelity.agreement >= whole.fidelity.agreement - 0.1)
    #expect(shrinking.fidelity.divergence <= whole.fidelity.divergence + 0.1)
    let made = shrinking.programs.dropFirst()
    let cost = made.map(\.makingSeconds).reduce(0, +) / made.map(\.secondsPerStep).reduce(0, +)
    Measured.report("compaction: whole \(whole.fidelity), shrinking \(shrinking.fidelity)")
    Measured.report("compaction: \(made.count) programs, one made in \(cost) of its steps, the mean")
  }

  @Test("where scores begin in an order, and only there, units beyond twice the gates' sum are cut, from the beginning")
  func reserve() async throws {
    func mostBeyond(draws: Int) async throws -> Int {
      var settings = ChainSettings()
      (settings.steps, settings.draws, settings.firstTemperature, settings.firstSize) = (100, draws, 0.3, 0.4)
      let (path, programs) = try await searched(settings)
      let first = try #require(programs.first)
      let units = draws > 0 ? Int(settings.reserve * 0.4 * Double(path[0].unitGates.count)) : first.units
      #expect((units - 1...units).contains(first.livingUnits))
      return try programs.filter { $0.phase == .soft && $0.firstStep > 0 }.map { program in
        let gates = try #require(path.first { $0.step == program.firstStep }).unitGates
        return program.livingUnits - Int(settings.reserve * Double(gates.reduce(0, +)))
      }.max() ?? .max
    }
    #expect(try await mostBeyond(draws: 2) <= 0)
    #expect(try await mostBeyond(draws: 0) > 0)
  }

  /// The last chain of a search for a quarter of ResNet-20's units, and the programs that it ran.
  private func found(steps: Int, deadGate: Float) async throws -> (fidelity: Fidelity, programs: [ProgramRecord]) {
    var settings = ChainSettings()
    (settings.steps, settings.deadGate) = (steps, deadGate)
    let (path, programs) = try await searched(settings)
    let network = try ChainNetwork(model: ShippedNetwork.resnet20.model(), batch: 20)
    let region = try ShippedNetwork.resnet20.region(Array(0..<20))
    let evaluator = try await ChainEvaluator(network: network, backend: CPUBackend(), options: CompileOptions())
    let selection = ChainSelector(sites: network.sites).hardChain(of: try #require(path.last))
    let fidelity = Fidelity(
      dense: try await evaluator.denseLogits(of: region), chain: try await evaluator.binaryLogits(of: region, selection)
    )
    return (fidelity, programs)
  }

  /// The path of a search for a quarter of ResNet-20's units, and the programs that it ran.
  private func searched(_ settings: ChainSettings) async throws -> (path: [ScoreSnapshot], programs: [ProgramRecord]) {
    let network = try ChainNetwork(model: ShippedNetwork.resnet20.model(), batch: 20)
    let region = try ShippedNetwork.resnet20.region(Array(0..<20))
    let evaluator = try await ChainEvaluator(network: network, backend: CPUBackend(), options: CompileOptions())
    let dense = try await evaluator.denseLogits(of: region)
    var settings = settings
    // One end each: what a search does besides where samples are missed is not what is compared.
    (settings.ends, settings.restarts, settings.sizePart) = (1, 0, 0)
    let search = ChainSearch(network: network, backend: CPUBackend(), options: CompileOptions(), settings: settings)
    let found = try await search.paths(of: [region], dense: [dense], variants: [], keep: [0.25]) { _ in }
    return (found.paths[0], found.programs)
  }
}
