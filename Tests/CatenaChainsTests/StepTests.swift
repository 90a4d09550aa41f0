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
    let keep = [0.5, 0.3]
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
