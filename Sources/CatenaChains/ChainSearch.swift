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

  /// The snapshots of every region along its path, and the programs that made them.
  package func paths(
    of regions: [Region], dense: [[[Float]]], variants: [RegionVariants], keep: [Double],
    progress: (ChainProgress) -> Void
  ) async throws -> (paths: [[ScoreSnapshot]], programs: [ProgramRecord]) {
    var batches = RegionBatches(network: network, regions: regions, dense: dense, settings: settings)
    for variant in variants { batches.add(variant) }
    let whole = try ChainNetwork(model: network.model, batch: batches.samplesPerRun)
    var state = OptimizerState(network: whole, keep: keep, settings: settings)
    var stage = CompactNetwork(whole: whole)
    var cost = stage.network.graph.multiplyAddCount
    var phases = settings.phases[...]
    var phase = phases.removeFirst()
    var records: [ProgramRecord] = []
    var optimizer: ChainOptimizer? = try await self.optimizer(stage, phase, batches, state, after: 0, &records)
    var paths = [[ScoreSnapshot]](repeating: [], count: regions.count)
    let interval = max(settings.steps / settings.snapshots, 1)
    var done = 0
    var living = network.sites.unitCount
    while done < settings.steps, let current = optimizer {
      let count = min(interval, settings.end(of: phase) - done)
      let (_, seconds) = try await secondsOf { try await current.advance(by: count, after: done) }
      records[records.count - 1].steps += count
      records[records.count - 1].runningSeconds += seconds
      done += count
      for (index, snapshot) in try await current.bestSnapshots(atStep: done).enumerated() {
        paths[index].append(snapshot)
      }
      let measured = try await current.state()
      progress(
        ChainProgress(
          stage: .optimizing, completed: done, total: settings.steps,
          divergence: measured.map(\.divergence).reduce(0, +) / Double(measured.count),
          size: measured.map(\.size).reduce(0, +) / Double(measured.count)))
      guard done < settings.steps else { break }
      let last = paths.compactMap(\.last)
      let kept: SurvivingUnits
      var cut: (network: CompactNetwork, seconds: Double)?
      if done == settings.end(of: phase), let next = phases.popFirst() {
        phase = next
        kept = survivors(in: last, phase, keep: keep)
      } else {
        // The next phase makes a program of its own.
        let left = Double(settings.end(of: phase) - done)
        guard phase != .straight, settings.deadGate > 0, left > settings.compactionCost else { continue }
        kept = survivors(in: last, phase, keep: keep)
        // What a new program costs, some steps, is worth it when the old one has wasted as much. Cutting the network
        // to count its operations takes a while, too: they are about as the square of the units at most.
        let steps = Double(done - records[records.count - 1].firstStep)
        guard 2 * steps * (1 - Double(kept.unitCount) / Double(living)) >= settings.compactionCost else {
          continue
        }
        let smaller = try await self.cut(whole, to: kept)
        let network = smaller.network.network
        guard steps * (1 - Double(network.graph.multiplyAddCount) / Double(cost)) >= settings.compactionCost,
          network.sites.unitCount > 0
        else { continue }
        cut = smaller
      }
      state = try await current.advanced(state)
      state.giveUp(unitsOutside: kept.units)
      // Given back before the smaller program is made, so that never two are held.
      optimizer = nil
      let compact: (network: CompactNetwork, seconds: Double)
      if let cut { compact = cut } else { compact = try await self.cut(whole, to: kept) }
      stage = compact.network
      living = kept.unitCount
      cost = stage.network.graph.multiplyAddCount
      optimizer = try await self.optimizer(
        stage, phase, batches, state, after: done, cutSeconds: compact.seconds, &records)
    }
    return (paths, records)
  }

  private func cut(
    _ whole: ChainNetwork, to kept: SurvivingUnits
  ) async throws -> (network: CompactNetwork, seconds: Double) {
    try await secondsOf { try CompactNetwork(of: whole, keeping: (kept.units, kept.blocks)) }
  }

  private func optimizer(
    _ stage: CompactNetwork, _ phase: ChainProgram.Phase, _ batches: RegionBatches, _ state: OptimizerState,
    after steps: Int, cutSeconds: Double = 0, _ records: inout [ProgramRecord]
  ) async throws -> ChainOptimizer {
    let (optimizer, seconds) = try await secondsOf {
      try await ChainOptimizer(
        stage: stage, phase: phase, batches: batches, state: state, settings: settings, backend: backend,
        options: options)
    }
    records.append(
      ProgramRecord(
        phase: phase, units: stage.units.count, multiplyAdds: stage.network.graph.multiplyAddCount, firstStep: steps,
        makingSeconds: cutSeconds + seconds))
    return optimizer
  }
}
