import CatenaCPU
import CatenaChains
import CatenaCompute
import CatenaFormats
import CatenaTensors
import TestSupport
import Testing

@Suite("The optimisation step")
struct StepTests {
  enum Structure: String, CaseIterable, Sendable {
    case residual, nested

    func model(batch: Int) throws -> ONNXModel {
      switch self {
      case .residual: try NetworkBuilder.residual(batch: batch)
      case .nested: try NetworkBuilder.nested(batch: batch)
      }
    }
  }

  /// f32 against double, to a thousandth of a step: a step moves a score by up to 0.05, however small its gradient, so
  /// that rounding counts where the gradient is near 0.
  @Test("is what its formulas say, on the processor", arguments: Structure.allCases)
  func processor(structure: Structure) async throws {
    try await check(structure, backend: CPUBackend(), tolerance: 5e-5)
  }

  @Test("is what its formulas say, on the reference", arguments: Structure.allCases)
  func reference(structure: Structure) async throws {
    try await check(structure, backend: ReferenceBackend(), tolerance: 2e-6)
  }

  @Test("of hard gates is what its formulas say", arguments: Structure.allCases)
  func straight(structure: Structure) async throws {
    try await check(structure, .straight, backend: CPUBackend(), tolerance: 5e-5)
    try await check(structure, .straight, backend: ReferenceBackend(), tolerance: 2e-5)
  }

  @Test("of settled branches is what its formulas say", arguments: Structure.allCases)
  func settled(structure: Structure) async throws {
    try await check(structure, .settled, backend: CPUBackend(), tolerance: 5e-5)
    try await check(structure, .settled, backend: ReferenceBackend(), tolerance: 2e-5)
  }

  /// Where a branch has no unit left in a layer that it needs, its other units are neither in the step nor in its size.
  @Test("of hard gates runs and counts the chain that its snapshot marks", arguments: Structure.allCases)
  func hardChains(structure: Structure) async throws {
    let model = try structure.model(batch: 4)
    let network = try ChainNetwork(model: model, batch: 4)
    let selector = ChainSelector(sites: network.sites)
    let evaluator = try await ChainEvaluator(network: network, backend: CPUBackend(), options: CompileOptions())
    let region = try noise(4, sample: [2, 5, 5], seed: 1)
    let dense = try await evaluator.denseLogits(of: region)
    var leftOut = 0
    for seed in 0..<8 {
      var settings = ChainSettings.short(steps: 8)
      settings.initialNoise = 0.5
      settings.straightPart = 0.9
      settings.seed = UInt64(seed)
      let optimizer = try await optimizer(model, [region], keep: [0.4], settings: settings, phase: .straight)
      // The second step is the first one after the offset was set to the budget.
      for step in 1...3 {
        try await optimizer.advance(by: 1)
        guard step > 1, let state = try await optimizer.state().first else { continue }
        let snapshot = try await optimizer.snapshots(atStep: step)[0]
        // A chain always has a path; a step need not.
        let kept = snapshot.unitGates.map { $0 > 0.5 }
        guard
          network.sites.unitOffsets.first.map({ kept[$0..<$0 + network.sites.layers[0].count].contains(true) }) ?? false
        else { continue }
        let chain = selector.hardChain(of: snapshot)
        let found = Fidelity(dense: dense, chain: try await evaluator.binaryLogits(of: region, chain))
        #expect(abs(state.divergence - found.divergence) <= 1e-4 * max(found.divergence, 0.01), "seed \(seed)")
        #expect(abs(state.size * Double(kept.count) - Double(chain.keptCount)) <= 1e-3, "seed \(seed)")
        leftOut += zip(kept, chain.units).count { $0 && !$1 }
      }
    }
    #expect(leftOut > 0, "no branch of any seed is half empty")
  }

  /// With two runs a step, and every second step on other samples than the regions', which say nothing of the regions.
  @Test("of hard gates keeps those of its best step", arguments: Structure.allCases)
  func bestGates(structure: Structure) async throws {
    let model = try structure.model(batch: 4)
    let network = try ChainNetwork(model: model, batch: 4)
    let selector = ChainSelector(sites: network.sites)
    let evaluator = try await ChainEvaluator(network: network, backend: CPUBackend(), options: CompileOptions())
    let keep = [0.4, 0.25]
    var compared = 0
    var better = (onVariants: 0, tooLarge: 0, earlier: 0, lessDivergent: 0)
    for seed in 0..<12 {
      var settings = ChainSettings.short(steps: 12)
      settings.initialNoise = 0.5
      settings.straightPart = 0.9
      settings.seed = UInt64(seed)
      func samples(_ seed: Int) async throws -> (regions: [Region], dense: [[[Float]]]) {
        let regions = try (0..<2).map { try noise(4, sample: [2, 5, 5], seed: UInt64(2 * seed + $0)) }
        var dense: [[[Float]]] = []
        for region in regions { dense.append(try await evaluator.denseLogits(of: region)) }
        return (regions, dense)
      }
      let (regions, dense) = try await samples(seed)
      let variants = try await samples(seed + 100)
      var batches = RegionBatches(network: network, regions: regions, dense: dense, settings: settings)
      batches.add(RegionVariants(regions: variants.regions, dense: variants.dense))
      let optimizer = try await ChainOptimizer(
        stage: CompactNetwork(whole: network), phase: .straight, batches: batches,
        state: OptimizerState(network: network, keep: keep, settings: settings), settings: settings,
        backend: CPUBackend(), options: CompileOptions())
      var best = [Fidelity?](repeating: nil, count: 2)
      var expected = [[Float]](repeating: [], count: 2)
      var isSame = [Bool](repeating: true, count: 2)
      for step in 0..<9 {
        try await optimizer.advance(by: 1, after: step)
        let states = try await optimizer.state()
        for (region, snapshot) in try await optimizer.snapshots(atStep: step).enumerated() {
          let chain = selector.hardChain(of: snapshot)
          let found = Fidelity(
            dense: dense[region], chain: try await evaluator.binaryLogits(of: regions[region], chain))
          let fits = states[region].size <= keep[region] + 1e-6
          let isBetter = best[region].map { found.isBetter(than: $0) } ?? true
          guard step.isMultiple(of: 2) else {
            if isBetter { better.onVariants += 1 }
            continue
          }
          // A chain always has a path; a step need not, and then is not the chain.
          if abs(states[region].divergence - found.divergence) > 1e-4 * max(found.divergence, 0.01) {
            isSame[region] = false
          }
          if isBetter, !fits { better.tooLarge += 1 }
          if let best = best[region], !isBetter {
            better.earlier += 1
            if found.divergence < best.divergence { better.lessDivergent += 1 }
          }
          guard isBetter, fits else { continue }
          best[region] = found
          expected[region] = snapshot.unitGates
        }
      }
      for (region, snapshot) in try await optimizer.bestSnapshots(atStep: 9).enumerated() where isSame[region] {
        compared += 1
        #expect(snapshot.unitGates == expected[region], "seed \(seed), region \(region)")
      }
    }
    #expect(compared >= 6)
    #expect(
      better.onVariants > 0 && better.tooLarge > 0 && better.earlier > 0 && better.lessDivergent > 0, "\(better)")
  }

  private func check(
    _ structure: Structure, _ phase: ChainProgram.Phase = .soft, backend: any Backend, tolerance: Double
  ) async throws {
    // So few that the aim falls and the gates cool in three steps, and the aim arrives in the second.
    var settings = ChainSettings.short(steps: 4)
    settings.shrinkingEnd = 0.5
    settings.coolingEnd = 0.5
    settings.initialNoise = 0.5
    // Gates are driven to 0 and 1 from the first step on, more with every one.
    settings.branchEnd = 0
    if phase == .straight {
      // From the first step on some gates are 0, and all steps but the last are at different rates.
      settings.firstSize = 0.6
      settings.straightPart = 0.75
      // Slopes twice as flat as the default's: rounding moves the steep ones by more than a thousandth of a step.
      settings.straightWidth = 0.2
    }
    settings.initialBlockScore = 0.7
    // The second region begins at five times its request, as where scores begin in an order.
    if phase == .soft { settings.draws = 1 }
    let keep = phase == .soft ? [0.5, 0.12] : [0.5, 0.3]
    let regions = [try noise(2, sample: [2, 5, 5], seed: 1), try noise(2, sample: [2, 5, 5], seed: 2)]
    let model = try structure.model(batch: 4)
    let optimizer = try await optimizer(model, regions, keep: keep, settings: settings, phase: phase, backend: backend)
    var literal = try LiteralStep(
      network: ChainNetwork(model: model, batch: 4),
      samples: Tensor(regions.flatMap(\.samples.floats), shape: [4, 2, 5, 5]), keep: keep,
      scores: await optimizer.scores(), settings: settings, phase: phase)
    for step in 1...3 {
      try await optimizer.advance(by: 1)
      try literal.advance()
      let scores = try await optimizer.scores()
      let state = try await optimizer.state()
      for region in keep.indices {
        let expected = literal.states[region].units + literal.states[region].blocks
        let found = (scores[region].units + scores[region].blocks).map(Double.init)
        let distance = zip(expected, found).map { abs($0 - $1) }.max() ?? .infinity
        #expect(distance <= tolerance, "step \(step), region \(region)")
        #expect(abs(state[region].size - literal.sizes[region]) <= 1e-5, "step \(step), region \(region)")
        let divergence = literal.divergences[region]
        #expect(abs(state[region].divergence - divergence) <= 1e-4 * max(divergence, 0.01), "step \(step)")
      }
    }
  }
}
