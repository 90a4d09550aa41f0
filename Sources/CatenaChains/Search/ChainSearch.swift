import CatenaAutodiff
import CatenaCompute
import Foundation

/// Optimises the scores of some regions in one batch, on a network that shrinks with them.
package struct ChainSearch {
  let network: ChainNetwork
  let backend: any Backend
  let options: CompileOptions
  let settings: ChainSettings

  /// A search on `network`.
  package init(network: ChainNetwork, backend: any Backend, options: CompileOptions, settings: ChainSettings) {
    (self.network, self.backend, self.options, self.settings) = (network, backend, options, settings)
  }

  /// What a search found.
  package struct Outcome: Sendable {
    /// The snapshots of every region along its path.
    package let paths: [[ScoreSnapshot]]
    /// The chains of other sizes that the search went to from there, region by region.
    package let chains: [[ScoreSnapshot]]
    /// The programs that made all of them.
    package let programs: [ProgramRecord]
    /// What it took.
    package let work: SearchWork
  }

  /// Searches for chains of the sizes `keep`, and from there for others.
  ///
  /// Once branches are decided on, the search goes to its end up to `ChainSettings.ends` times from there, and after each
  /// its straight phase runs up to `ChainSettings.restarts` times again from the best one; the path of a region is that to
  /// its best end. Then it goes to chains of other sizes (`SizeWalk`).
  /// - Parameter agreement: where the smallest chain is looked for that gives the network's own class for this part of a
  ///   region's samples; `nil` for the chains of a curve. As the size is free then, the search settles once.
  package func paths(
    of regions: [Region], dense: [[[Float]]], variants: [RegionVariants], keep: [Double],
    agreement: Double? = nil, progress: (ChainProgress) -> Void
  ) async throws -> Outcome {
    var batches = RegionBatches(network: network, regions: regions, dense: dense, settings: settings)
    for variant in variants { batches.add(variant) }
    let whole = try network.whole(forBatch: batches.samplesPerRun)
    if settings.hasOtherSizes { try await checkMemory(of: whole, batches) }
    let sensitivities = try await sensitivities(of: whole, batches, dense, progress)
    var trunk = ChainWalk(
      search: self, whole: whole, batches: batches,
      state: OptimizerState(network: whole, keep: keep, settings: settings, sensitivities: sensitivities))
    trunk.beginning = trunk.state.firstSnapshots
    let isSizeFree = agreement != nil
    if settings.hasOtherSizes, !isSizeFree {
      let smallest = ChainSelector(sites: network.sites).smallestSize
      let ladders = SizeWalk.curveSizes(around: keep, smallest: smallest, ratio: settings.sizeRatio)
      trunk.stepsAfter = settings.steps(to: ladders)
    }
    if settings.phases.contains(.soft) { try await trunk.run(.soft, progress) }
    var ends = SearchEnds(trunk, regions)
    for _ in 0..<(isSizeFree ? 1 : settings.mostEnds) {
      try await ends.settle(progress)
      for _ in 0..<(isSizeFree ? 0 : settings.mostRestarts) where !ends.agree { try await ends.restart(progress) }
      if ends.agree { break }
    }
    var sizes = SizeWalk(from: ends.best, regions, stepsBefore: ends.programs.map(\.steps).reduce(0, +))
    if settings.hasOtherSizes {
      if let agreement {
        try await sizes.findSmallest(agreement: agreement, progress)
      } else {
        try await sizes.followCurve(progress)
      }
    }
    let programs = ends.programs + sizes.programs
    let work = SearchWork(
      draws: settings.draws, ends: ends.count, restarts: ends.restarts, sizes: sizes.chains[0].count,
      steps: programs.map(\.steps).reduce(0, +))
    return Outcome(paths: ends.best.paths, chains: sizes.chains, programs: programs, work: work)
  }

  /// Chains of nearly everything are to come, from a program that may need more memory than those before: what does not fit
  /// is found out now, and not when most is done.
  private func checkMemory(of whole: ChainNetwork, _ batches: RegionBatches) async throws {
    let step = try ChainProgram(network: whole, regions: batches.regionCount, settings: settings, phase: .straight)
    _ = try await step.memoryPlans(isConstant: batches.isConstant, backend: backend, options: options)
  }

  /// How much the outputs depend on every gate, where scores begin in that order.
  private func sensitivities(
    of whole: ChainNetwork, _ batches: RegionBatches, _ dense: [[[Float]]], _ progress: (ChainProgress) -> Void
  ) async throws -> [[Double]]? {
    guard settings.draws > 0 else { return nil }
    let sensitivity = try await GateSensitivity(network: whole, backend: backend, options: options)
    return try await sensitivity.information(of: batches, dense: dense, draws: settings.draws, seed: settings.seed) {
      progress(ChainProgress(stage: .preparing, completed: $0, total: settings.draws))
    }
  }
}

/// The ends that a search has come to.
private struct SearchEnds {
  /// The search up to where every end begins.
  private let trunk: ChainWalk
  private let regions: [Region]
  /// The best end of every region.
  private(set) var best: ChainWalk
  /// How often the search settled.
  private(set) var count = 0
  /// How often its straight phase ran again.
  private(set) var restarts = 0
  /// The programs of all of it.
  private(set) var programs: [ProgramRecord]

  private var settings: ChainSettings { trunk.search.settings }

  init(_ trunk: ChainWalk, _ regions: [Region]) {
    (self.trunk, self.regions) = (trunk, regions)
    best = trunk
    programs = trunk.programs
  }

  /// Whether the best end of every region gives the network's own class for all samples, or no step was judged.
  var agree: Bool {
    best.losses == nil || regions.enumerated().allSatisfy { best.agrees(on: 1, of: $1, at: $0) }
  }

  /// Goes from the trunk to an end, after the first one with noise on the scores.
  mutating func settle(_ progress: (ChainProgress) -> Void) async throws {
    var walk = trunk
    if count > 0 { walk.state.disturb(byTemperatures: settings.endNoise, seed: settings.seed &+ UInt64(count)) }
    for phase in settings.phases where phase != .soft { try await run(phase, of: &walk, progress) }
    if count == 0 { best = walk } else { best.take(from: walk) }
    count += 1
  }

  /// Runs the straight phase again, with noise on the scores of the best end.
  mutating func restart(_ progress: (ChainProgress) -> Void) async throws {
    var walk = best
    restarts += 1
    walk.done = settings.end(of: .settled)
    // Other noise than that of an end.
    let seed = settings.seed &+ UInt64(settings.mostEnds + restarts)
    walk.state.restart(atStep: walk.done)
    walk.state.disturb(by: settings.restartNoise, seed: seed)
    try await run(.straight, of: &walk, progress)
    // What a path has of the straight phase is its last run.
    for (region, before) in best.paths.enumerated() {
      let new = walk.paths[region].dropFirst(before.count)
      walk.paths[region] = before.filter { $0.step <= settings.end(of: .settled) } + new
    }
    best.take(from: walk)
  }

  private mutating func run(
    _ phase: ChainProgram.Phase, of walk: inout ChainWalk, _ progress: (ChainProgress) -> Void
  ) async throws {
    walk.programs = []
    walk.stepsBefore = programs.map(\.steps).reduce(0, +) - walk.done
    try await walk.run(phase, progress)
    programs += walk.programs
  }
}

/// A search on its way: the state of the scores, and the paths that led there.
struct ChainWalk {
  let search: ChainSearch
  let whole: ChainNetwork
  let batches: RegionBatches
  var state: OptimizerState
  /// Steps made on the path.
  var done = 0
  /// Steps made on other paths.
  var stepsBefore = 0
  /// Steps that are sure to be made after this phase and those behind it.
  var stepsAfter = 0
  /// The gates that every region began with, where scores began in an order.
  var beginning: [ScoreSnapshot]?
  /// The snapshots of every region.
  var paths: [[ScoreSnapshot]]
  /// The programs that made them.
  var programs: [ProgramRecord] = []
  /// What every region's best step lost, once steps are judged.
  var losses: [Float]?

  private var settings: ChainSettings { search.settings }

  init(search: ChainSearch, whole: ChainNetwork, batches: RegionBatches, state: OptimizerState) {
    (self.search, self.whole, self.batches, self.state) = (search, whole, batches, state)
    paths = [[ScoreSnapshot]](repeating: [], count: batches.regionCount)
  }

  /// Makes the paths and scores of regions that another walk lost less on its own.
  mutating func take(from other: ChainWalk) {
    guard let found = other.losses else { return }
    for (region, loss) in found.enumerated() where loss < losses?[region] ?? .infinity {
      losses?[region] = loss
      paths[region] = other.paths[region]
      state.take(region, from: other.state)
    }
  }

  /// Goes on to the end of a phase.
  mutating func run(_ phase: ChainProgram.Phase, _ progress: (ChainProgress) -> Void) async throws {
    // Where no branch is left, and with the branches no unit, there is nothing to go on with.
    var optimizer = try await self.optimizer(phase, keeping: survivors(phase))
    let interval = max(settings.steps / settings.snapshots, 1)
    while let current = optimizer {
      try await advance(current, by: min(interval, settings.end(of: phase) - done), progress)
      guard done < settings.end(of: phase) else { break }
      guard let (kept, cut) = try await compaction(phase) else { continue }
      state = try await current.advanced(state)
      // Given back before the smaller program is made, so that never two are held.
      optimizer = nil
      optimizer = try await self.optimizer(phase, keeping: kept, cut)
    }
    guard let last = optimizer else { return }
    state = try await last.advanced(state)
    losses = try await last.lowestLosses()
  }

  private mutating func advance(
    _ optimizer: ChainOptimizer, by count: Int, _ progress: (ChainProgress) -> Void
  ) async throws {
    let (_, seconds) = try await secondsOf { try await optimizer.advance(by: count, after: done) }
    programs[programs.count - 1].steps += count
    programs[programs.count - 1].runningSeconds += seconds
    done += count
    for (index, snapshot) in try await optimizer.bestSnapshots(atStep: done).enumerated() {
      guard snapshot.unitGates.allSatisfy(\.isFinite), snapshot.blockGates.allSatisfy(\.isFinite) else {
        throw ChainError.notFinite
      }
      paths[index].append(snapshot)
    }
    let measured = try await optimizer.state()
    guard measured.allSatisfy({ $0.divergence.isFinite && $0.size.isFinite }) else { throw ChainError.notFinite }
    progress(
      ChainProgress(
        stage: .optimizing, completed: stepsBefore + done, total: stepsBefore + settings.steps + stepsAfter,
        divergence: measured.map(\.divergence).reduce(0, +) / Double(measured.count),
        size: measured.map(\.size).reduce(0, +) / Double(measured.count)))
  }

  /// What is left for a phase that begins; at the first step all, unless scores begin in an order.
  private func survivors(_ phase: ChainProgram.Phase) -> SurvivingUnits? {
    let snapshots = done == 0 ? beginning : paths.compactMap(\.last)
    return snapshots.map { search.survivors(in: $0, phase, keep: state.keep) }
  }

  /// The smaller network to go on with, where making its program is worth it.
  private func compaction(
    _ phase: ChainProgram.Phase
  ) async throws -> (kept: SurvivingUnits, cut: (network: CompactNetwork, seconds: Double))? {
    // The next phase makes a program of its own.
    let left = Double(settings.end(of: phase) - done)
    guard phase != .straight, settings.deadGate > 0, left > settings.compactionCost, let current = programs.last,
      let kept = survivors(phase)
    else { return nil }
    // What a new program costs, some steps, is worth it when the old one has wasted as much. Cutting the network
    // to count its operations takes a while, too: they are about as the square of the units at most.
    let steps = Double(done - current.firstStep)
    guard 2 * steps * (1 - Double(kept.unitCount) / Double(current.livingUnits)) >= settings.compactionCost else {
      return nil
    }
    let cut = try await self.cut(to: kept)
    let network = cut.network.network
    guard
      steps * (1 - Double(network.graph.multiplyAddCount) / Double(current.multiplyAdds)) >= settings.compactionCost,
      network.sites.unitCount > 0
    else { return nil }
    return (kept, cut)
  }

  private func cut(to kept: SurvivingUnits) async throws -> (network: CompactNetwork, seconds: Double) {
    try await secondsOf { try CompactNetwork(of: whole, keeping: (kept.units, kept.blocks)) }
  }

  /// Makes the program of a phase for some of the units, all where none are named, and gives up the others; `nil` where
  /// none is left.
  private mutating func optimizer(
    _ phase: ChainProgram.Phase, keeping kept: SurvivingUnits?, _ cut: (network: CompactNetwork, seconds: Double)? = nil
  ) async throws -> ChainOptimizer? {
    var stage = (network: CompactNetwork(whole: whole), seconds: 0.0)
    if let kept {
      if let cut { stage = cut } else { stage = try await self.cut(to: kept) }
      guard stage.network.network.sites.unitCount > 0 else { return nil }
      state.giveUp(unitsOutside: kept.units)
    }
    let (optimizer, seconds) = try await secondsOf {
      try await ChainOptimizer(
        stage: stage.network, phase: phase, batches: batches, state: state, settings: settings, backend: search.backend,
        options: search.options)
    }
    programs.append(
      ProgramRecord(
        phase: phase, units: stage.network.units.count, livingUnits: kept?.unitCount ?? whole.sites.unitCount,
        multiplyAdds: stage.network.network.graph.multiplyAddCount, firstStep: done,
        makingSeconds: stage.seconds + seconds))
    return optimizer
  }
}
