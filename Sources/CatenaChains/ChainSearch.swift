import CatenaAutodiff
import CatenaCompute
import Foundation

/// Optimises the scores of some regions in one batch, on a network that shrinks with them.
struct ChainSearch {
  let network: ChainNetwork
  let backend: any Backend
  let options: CompileOptions
  let settings: ChainSettings

  /// The snapshots of every region along its path.
  func paths(
    of regions: [Region], dense: [[[Float]]], variants: [RegionVariants], keep: [Double],
    progress: (ChainProgress) -> Void
  ) async throws -> [[ScoreSnapshot]] {
    var batches = RegionBatches(network: network, regions: regions, dense: dense, settings: settings)
    for variant in variants { batches.add(variant) }
    let whole = try ChainNetwork(model: network.model, batch: batches.samplesPerRun)
    var state = OptimizerState(network: whole, keep: keep, settings: settings)
    var stage = CompactNetwork(whole: whole)
    var cost = stage.network.graph.multiplyAddCount
    var phases = settings.phases[...]
    var phase = phases.removeFirst()
    var optimizer: ChainOptimizer? = try await self.optimizer(stage, phase, batches, state)
    var paths = [[ScoreSnapshot]](repeating: [], count: regions.count)
    let interval = max(settings.steps / settings.snapshots, 1)
    var done = 0
    while done < settings.steps, let current = optimizer {
      let count = min(interval, settings.end(of: phase) - done)
      try await current.advance(by: count, after: done)
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
      var kept = everything
      if done == settings.end(of: phase), let next = phases.popFirst() {
        phase = next
        if phase == .straight {
          kept = contenders(in: last, keep: keep)
        } else if settings.deadGate > 0 {
          kept = living(in: last, blocksAbove: 0.5)
        }
      } else {
        guard phase != .straight, settings.deadGate > 0 else { continue }
        kept = living(in: last, blocksAbove: settings.deadGate)
        let smaller = try CompactNetwork(of: whole, keeping: kept).network
        guard Double(smaller.graph.multiplyAddCount) < settings.compactionGain * Double(cost),
          smaller.sites.unitCount > 0
        else { continue }
      }
      state = try await current.advanced(state)
      state.giveUp(unitsOutside: kept.units)
      // Given back before the smaller program is made, so that never two are held.
      optimizer = nil
      stage = try CompactNetwork(of: whole, keeping: kept)
      cost = stage.network.graph.multiplyAddCount
      optimizer = try await self.optimizer(stage, phase, batches, state)
    }
    return paths
  }

  private func optimizer(
    _ stage: CompactNetwork, _ phase: ChainProgram.Phase, _ batches: RegionBatches, _ state: OptimizerState
  ) async throws -> ChainOptimizer {
    try await ChainOptimizer(
      stage: stage, phase: phase, batches: batches, state: state, settings: settings, backend: backend, options: options
    )
  }

  private var everything: (units: [Bool], blocks: [Bool]) {
    (
      [Bool](repeating: true, count: network.sites.unitCount),
      [Bool](repeating: true, count: network.sites.blocks.count)
    )
  }

  /// The blocks whose gates are above `least`, and the units whose gates are not practically zero, in any region.
  private func living(
    in snapshots: [ScoreSnapshot], blocksAbove least: Float
  ) -> (units: [Bool], blocks: [Bool]) {
    let blocks = network.sites.blocks.indices.map { block in snapshots.contains { $0.blockGates[block] > least } }
    var units: [Bool] = []
    for layer in network.sites.layers {
      for _ in 0..<layer.count {
        let unit = units.count
        units.append(
          snapshots.contains { snapshot in
            let alpha = layer.block.map { snapshot.blockGates[$0] > least ? snapshot.blockGates[$0] : 0 } ?? 1
            return alpha * snapshot.unitGates[unit] > settings.deadGate
          })
      }
    }
    return (units, blocks)
  }

  /// The units that may still be in a chain, of any region: the largest gates of the branches that are on, and somewhat
  /// more of them than a chain may keep. Every layer of those branches keeps one.
  private func contenders(in snapshots: [ScoreSnapshot], keep: [Double]) -> (units: [Bool], blocks: [Bool]) {
    let blocks = network.sites.blocks.indices.map { block in snapshots.contains { $0.blockGates[block] > 0.5 } }
    var units = [Bool](repeating: false, count: network.sites.unitCount)
    for (snapshot, fraction) in zip(snapshots, keep) {
      var gates: [Float] = []
      for layer in network.sites.layers {
        let isOn = layer.block.map { blocks[$0] } ?? true
        let own = snapshot.unitGates[gates.count..<(gates.count + layer.count)]
        if isOn, let best = own.indices.max(by: { own[$0] < own[$1] }) { units[best] = true }
        gates += isOn ? Array(own) : [Float](repeating: -1, count: layer.count)
      }
      let ranking = gates.indices.filter { gates[$0] >= 0 }
        .sorted { gates[$0] == gates[$1] ? $0 < $1 : gates[$0] > gates[$1] }
      let count = Int((settings.candidates * fraction * Double(units.count)).rounded(.up))
      for unit in ranking.prefix(count) { units[unit] = true }
    }
    return (units, blocks)
  }
}
