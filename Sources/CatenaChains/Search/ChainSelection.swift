import CatenaAutodiff

/// The scores of one region at one moment, as gates in [0, 1].
public struct ScoreSnapshot: Sendable, Hashable {
  /// Steps made so far.
  public var step: Int
  /// S of every unit, in the order of the layers.
  public var unitGates: [Float]
  /// alpha of every block.
  public var blockGates: [Float]
  /// Whether the step itself ran with gates of exactly 0 and 1. Then `unitGates` say no more than which units were on,
  /// above one half, and in which order units come.
  public var isBinary: Bool

  /// What `unitGates` says of units that were cut out of the network before, and the least that it says: not 0, since a
  /// chain may need one of them to be connected, and what a chain keeps has a factor.
  package static let gateOfCutUnits: Float = 1e-6

  /// Gates after `step` steps.
  public init(step: Int, unitGates: [Float], blockGates: [Float], isBinary: Bool = false) {
    self.step = step
    self.unitGates = unitGates
    self.blockGates = blockGates
    self.isBinary = isBinary
  }
}

/// Which units and blocks a chain keeps, and their factors in soft mode.
public struct ChainSelection: Sendable, Hashable {
  /// Whether each unit is kept, in the order of the layers.
  public var units: [Bool]
  /// Whether each residual branch is kept.
  public var blocks: [Bool]
  /// S of each unit, 1 where the search ran with gates of exactly 0 and 1, 0 for units that are not kept.
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
/// A chain is connected when a path of kept units leads from input to output: then at least one unit stays on every cut
/// between them. Layers on parallel paths may be empty. Branches that carry no signal are left out as a whole, with the
/// branches inside them.
public struct ChainSelector: Sendable {
  private let sites: GateSites
  private let offsets: [Int]
  private let layerOfUnit: [Int]
  private let layersOfBlock: [[Int]]
  /// The blocks in whose branches each block lies.
  private let enclosingBlocks: [[Int]]

  /// A selector for the units of a network.
  public init(sites: GateSites) {
    self.sites = sites
    offsets = sites.unitOffsets
    layerOfUnit = sites.layers.enumerated().flatMap { [Int](repeating: $0, count: $1.count) }
    layersOfBlock = sites.blocks.indices.map { block in
      sites.layers.indices.filter { sites.layers[$0].block == block }
    }
    enclosingBlocks = sites.blocks.map { block in
      sites.blocks.indices.filter { sites.blocks[$0].nodes.contains(block.add) }
    }
    let shortest = sites.paths.cheapestConnection(
      costs: sites.layers.map { _ in 1 }, blocks: sites.blocks.map { _ in false })
    smallestCount = shortest?.count ?? sites.layers.count
  }

  /// The number of units of the smallest connected chain: one for every layer on the shortest path.
  public let smallestCount: Int
  /// The part of all units that these are.
  public var smallestSize: Double { Double(smallestCount) / Double(max(sites.unitCount, 1)) }

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
    // What connectedness adds pushes out the last ones of the ranking.
    for unit in ranking.prefix(count).reversed() where selection.keptCount > count {
      units[unit] = false
      let layer = layerOfUnit[unit]
      if unitRange(layer).contains(where: { units[$0] }) {
        selection.units[unit] = false
        selection.unitFactors[unit] = 0
      } else {
        // Only an empty layer changes what is connected.
        selection = connected(units, snapshot, repair)
      }
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

  /// The wanted units, connected: branches that carry no signal go, or are completed; the cheapest missing layers get
  /// their best unit; units that nothing reaches, or that reach nothing, go.
  private func connected(
    _ wanted: [Bool], _ snapshot: ScoreSnapshot, _ repair: BranchRepair
  ) -> ChainSelection {
    var units = wanted
    if repair == .complete { completeBranches(&units, snapshot) }
    var blocks = keptBlocks(units, snapshot)
    for (index, layer) in sites.layers.enumerated() where layer.block.map({ !blocks[$0] }) ?? false {
      for unit in unitRange(index) { units[unit] = false }
    }
    let missing = sites.paths.cheapestConnection(costs: costs(units, snapshot), blocks: blocks)
    for layer in missing ?? [] { keepBestUnit(ofEmptyLayer: layer, &units, snapshot) }
    let used = sites.paths.used(layers: filled(units), blocks: blocks)
    // A layer that only adds a constant may be what keeps a product from being zero; then nothing is taken away.
    if sites.paths.isConnected(layers: used.layers, blocks: used.blocks) {
      blocks = used.blocks
      for (index, isUsed) in used.layers.enumerated() where !isUsed {
        for unit in unitRange(index) { units[unit] = false }
      }
    }
    return ChainSelection(
      units: units, blocks: blocks,
      unitFactors: units.indices.map { units[$0] ? snapshot.isBinary ? 1 : snapshot.unitGates[$0] : 0 },
      blockFactors: blocks.indices.map { blocks[$0] ? snapshot.blockGates[$0] : 0 })
  }

  /// The blocks whose branches carry a signal through kept units, and that do not lie in branches that are left out.
  private func keptBlocks(_ units: [Bool], _ snapshot: ScoreSnapshot) -> [Bool] {
    let filled = filled(units)
    var blocks = [Bool](repeating: false, count: sites.blocks.count)
    // Blocks come in the order of their sums: the last ones enclose others.
    for block in blocks.indices {
      blocks[block] =
        sites.paths.isConnected(branchOf: block, layers: filled, blocks: blocks)
        && (layersOfBlock[block].contains { filled[$0] } || snapshot.blockGates[block] > 0.5)
    }
    for block in blocks.indices.reversed() where !enclosingBlocks[block].allSatisfy({ blocks[$0] }) {
      blocks[block] = false
    }
    return blocks
  }

  private func completeBranches(_ units: inout [Bool], _ snapshot: ScoreSnapshot) {
    let all = [Bool](repeating: true, count: sites.blocks.count)
    for (block, layers) in layersOfBlock.enumerated() {
      let kept = layers.map { layer in unitRange(layer).count { units[$0] } }.reduce(0, +)
      let missing = sites.paths.cheapestConnection(branchOf: block, costs: costs(units, snapshot), blocks: all)
      guard let missing, missing.count < kept else { continue }
      for layer in missing { keepBestUnit(ofEmptyLayer: layer, &units, snapshot) }
    }
  }

  /// Per layer, whether it has kept units.
  private func filled(_ units: [Bool]) -> [Bool] {
    sites.layers.indices.map { layer in unitRange(layer).contains { units[$0] } }
  }

  /// What a first unit costs in each layer: one, and less than a unit in all between layers of different scores.
  private func costs(_ units: [Bool], _ snapshot: ScoreSnapshot) -> [Double] {
    sites.layers.indices.map { layer in
      let range = unitRange(layer)
      if range.contains(where: { units[$0] }) { return 0 }
      let best = range.map { Double(snapshot.unitGates[$0]) }.max() ?? 0
      return 1 + (1 - min(max(best, 0), 1)) / Double(2 * sites.layers.count)
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
