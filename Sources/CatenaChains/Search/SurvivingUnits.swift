import CatenaAutodiff

/// What a search keeps of a network.
struct SurvivingUnits {
  var units: [Bool]
  var blocks: [Bool]

  var unitCount: Int { units.count { $0 } }
}

extension ChainSearch {
  /// What is left for a phase to work on, of any region: the branches that are on; of their units those whose gates are
  /// not practically zero, in the settled phase, and before it where scores began in the order of sensitivities, at most
  /// `reserve` times as many as the gates add up to, and in the straight phase somewhat more than a chain may keep.
  func survivors(
    in snapshots: [ScoreSnapshot], _ phase: ChainProgram.Phase, keep: [Double]
  ) -> SurvivingUnits {
    let sites = network.sites
    if phase != .straight, settings.deadGate <= 0 {
      return SurvivingUnits(
        units: [Bool](repeating: true, count: sites.unitCount),
        blocks: [Bool](repeating: true, count: sites.blocks.count))
    }
    let least = phase == .soft ? settings.deadGate : 0.5
    let blocks = sites.blocks.indices.map { block in snapshots.contains { $0.blockGates[block] > least } }
    var units = [Bool](repeating: false, count: sites.unitCount)
    for (snapshot, fraction) in zip(snapshots, keep) {
      let gates = gates(of: snapshot, blocksAbove: least)
      switch phase {
      case .soft where settings.draws == 0:
        for unit in gates.indices where gates[unit] > settings.deadGate { units[unit] = true }
      case .soft, .settled:
        let count = Int(settings.reserve * Double(gates.reduce(0, +)))
        for unit in largest(count, of: gates) where gates[unit] > settings.deadGate { units[unit] = true }
      case .straight:
        let count = Int((settings.candidates * fraction * Double(units.count)).rounded(.up))
        for unit in largest(count, of: gates) { units[unit] = true }
        // Every layer that is not empty keeps one.
        for (layer, offset) in zip(sites.layers, sites.unitOffsets) {
          let best = (offset..<(offset + layer.count)).max { gates[$0] < gates[$1] }
          if let best, gates[best] > ScoreSnapshot.gateOfCutUnits { units[best] = true }
        }
      }
    }
    return SurvivingUnits(units: units, blocks: blocks)
  }

  /// The units' gates, alpha S until branches are settled and S behind that, 0 in branches that are off.
  private func gates(of snapshot: ScoreSnapshot, blocksAbove least: Float) -> [Float] {
    var gates: [Float] = []
    for layer in network.sites.layers {
      let alpha = layer.block.map { snapshot.blockGates[$0] > least ? snapshot.blockGates[$0] : 0 } ?? 1
      for _ in 0..<layer.count { gates.append(alpha * snapshot.unitGates[gates.count]) }
    }
    return gates
  }

  /// The units with the largest gates of those that are still there, the first ones of equal gates.
  private func largest(_ count: Int, of gates: [Float]) -> ArraySlice<Int> {
    gates.indices.filter { gates[$0] > ScoreSnapshot.gateOfCutUnits }
      .sorted { gates[$0] == gates[$1] ? $0 < $1 : gates[$0] > gates[$1] }
      .prefix(count)
  }
}
