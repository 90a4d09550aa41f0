import CatenaAutodiff

/// The scores of one region at one moment, as gates in [0, 1].
public struct ScoreSnapshot: Sendable, Hashable {
  /// Steps made so far.
  public var step: Int
  /// S of every unit, in the order of the layers.
  public var unitGates: [Float]
  /// alpha of every block.
  public var blockGates: [Float]

  /// Gates after `step` steps.
  public init(step: Int, unitGates: [Float], blockGates: [Float]) {
    self.step = step
    self.unitGates = unitGates
    self.blockGates = blockGates
  }
}

/// Which units and blocks a chain keeps, and their factors in soft mode.
public struct ChainSelection: Sendable, Hashable {
  /// Whether each unit is kept, in the order of the layers.
  public var units: [Bool]
  /// Whether each residual branch is kept.
  public var blocks: [Bool]
  /// S of each unit, 0 for units that are not kept.
  public var unitFactors: [Float]
  /// alpha of each branch, 0 for branches that are not kept.
  public var blockFactors: [Float]

  /// A selection.
  package init(units: [Bool], blocks: [Bool], unitFactors: [Float], blockFactors: [Float]) {
    self.units = units
    self.blocks = blocks
    self.unitFactors = unitFactors
    self.blockFactors = blockFactors
  }

  /// The number of kept units.
  public var keptCount: Int { units.count { $0 } }
}

/// What becomes of a residual branch that has kept units, but none in some of its layers.
public enum BranchRepair: Sendable, CaseIterable {
  /// The branch is left out.
  case leaveOut
  /// Every empty layer gets its best unit, where that is fewer units than the branch has; else the branch is left out.
  case complete
}

/// Turns scores into connected chains of a given size.
///
/// A chain stays connected when every layer outside residual branches keeps a unit, and every layer of a kept branch
/// does: then no cut between input and output is empty. Branches that are left out go as a whole, with the branches
/// inside them.
public struct ChainSelector: Sendable {
  private let sites: GateSites
  private let offsets: [Int]
  private let layersOfBlock: [[Int]]
  /// The blocks in whose branches each block lies.
  private let enclosingBlocks: [[Int]]

  /// A selector for the units of a network.
  public init(sites: GateSites) {
    self.sites = sites
    offsets = sites.unitOffsets
    layersOfBlock = sites.blocks.indices.map { block in
      sites.layers.indices.filter { sites.layers[$0].block == block }
    }
    enclosingBlocks = sites.blocks.map { block in
      sites.blocks.indices.filter { sites.blocks[$0].nodes.contains(block.add) }
    }
  }

  /// The number of units of the smallest connected chain: one for every layer outside residual branches.
  public var smallestCount: Int { sites.layers.count { $0.block == nil } }

  /// Everything: the dense network.
  public var everything: ChainSelection {
    ChainSelection(
      units: [Bool](repeating: true, count: sites.unitCount),
      blocks: [Bool](repeating: true, count: sites.blocks.count),
      unitFactors: [Float](repeating: 1, count: sites.unitCount),
      blockFactors: [Float](repeating: 1, count: sites.blocks.count))
  }

  /// The units with S > 1/2 of blocks with alpha > 1/2, connected.
  public func hardChain(of snapshot: ScoreSnapshot, _ repair: BranchRepair = .leaveOut) -> ChainSelection {
    let kept = sites.layers.enumerated().map { index, layer in
      let alive = layer.block.map { snapshot.blockGates[$0] > 0.5 } ?? true
      return unitRange(index).map { alive && snapshot.unitGates[$0] > 0.5 }
    }
    return connected(Array(kept.joined()), snapshot, repair)
  }

  /// The `count` units with the largest alpha * S, connected; at most `count`, and possibly fewer where the last branch
  /// does not fit.
  /// - Precondition: `count >= smallestCount`.
  public func largest(_ count: Int, of snapshot: ScoreSnapshot, _ repair: BranchRepair = .leaveOut) -> ChainSelection {
    precondition(count >= smallestCount, "no connected chain has \(count) units")
    let ranking = rankedUnits(of: snapshot)
    var units = [Bool](repeating: false, count: sites.unitCount)
    for unit in ranking.prefix(count) { units[unit] = true }
    var selection = connected(units, snapshot, repair)
    // What connectedness adds pushes out the last ones of the ranking: a unit per layer at the most, so few.
    for unit in ranking.prefix(count).reversed() where selection.keptCount > count {
      units[unit] = false
      selection = connected(units, snapshot, repair)
    }
    return selection
  }

  /// All units, the largest alpha * S first; equal ones in the order of the network.
  private func rankedUnits(of snapshot: ScoreSnapshot) -> [Int] {
    var scores: [Float] = []
    for (index, layer) in sites.layers.enumerated() {
      let alpha = layer.block.map { snapshot.blockGates[$0] } ?? 1
      scores += unitRange(index).map { alpha * snapshot.unitGates[$0] }
    }
    return scores.indices.sorted { scores[$0] == scores[$1] ? $0 < $1 : scores[$0] > scores[$1] }
  }

  private func connected(
    _ wanted: [Bool], _ snapshot: ScoreSnapshot, _ repair: BranchRepair
  ) -> ChainSelection {
    var units = wanted
    if repair == .complete { completeBranches(&units, snapshot) }
    var blocks = [Bool](repeating: true, count: sites.blocks.count)
    // Blocks come in the order of their sums: the last ones enclose others.
    for (block, layers) in layersOfBlock.enumerated().reversed() {
      let isComplete =
        layers.isEmpty
        ? snapshot.blockGates[block] > 0.5
        : layers.allSatisfy { layer in unitRange(layer).contains { units[$0] } }
      blocks[block] = isComplete && enclosingBlocks[block].allSatisfy { blocks[$0] }
      if !blocks[block] {
        for layer in layers { for unit in unitRange(layer) { units[unit] = false } }
      }
    }
    for (index, layer) in sites.layers.enumerated() where layer.block == nil {
      keepBestUnit(ofEmptyLayer: index, &units, snapshot)
    }
    return ChainSelection(
      units: units, blocks: blocks,
      unitFactors: units.indices.map { units[$0] ? snapshot.unitGates[$0] : 0 },
      blockFactors: blocks.indices.map { blocks[$0] ? snapshot.blockGates[$0] : 0 })
  }

  private func completeBranches(_ units: inout [Bool], _ snapshot: ScoreSnapshot) {
    for layers in layersOfBlock {
      let counts = layers.map { layer in unitRange(layer).count { units[$0] } }
      let empty = counts.count { $0 == 0 }
      guard empty > 0, counts.reduce(0, +) > empty else { continue }
      for layer in layers { keepBestUnit(ofEmptyLayer: layer, &units, snapshot) }
    }
  }

  private func keepBestUnit(ofEmptyLayer layer: Int, _ units: inout [Bool], _ snapshot: ScoreSnapshot) {
    let range = unitRange(layer)
    if !range.contains(where: { units[$0] }),
      let best = range.max(by: { snapshot.unitGates[$0] < snapshot.unitGates[$1] })
    {
      units[best] = true
    }
  }

  private func unitRange(_ layer: Int) -> Range<Int> {
    offsets[layer]..<(offsets[layer] + sites.layers[layer].count)
  }
}
