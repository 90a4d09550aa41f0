import CatenaAutodiff
import CatenaChains
import CatenaTensors

/// Gates of all units and residual branches of a network: 0 removes, 1 keeps, between them scales.
public struct UnitMask: Sendable, Hashable {
  /// The gate of each unit, in the order of the layers.
  public var units: [Float]
  /// The gate of each residual branch.
  public var blocks: [Float]

  /// Gates.
  public init(units: [Float], blocks: [Float]) {
    self.units = units
    self.blocks = blocks
  }

  /// A chain in binary mode: kept units exactly 1.
  public init(binary selection: ChainSelection) {
    self.init(units: selection.units.map { $0 ? 1 : 0 }, blocks: selection.blocks.map { $0 ? 1 : 0 })
  }

  /// A chain in soft mode: kept units scaled by their scores.
  public init(soft selection: ChainSelection) {
    self.init(units: selection.unitFactors, blocks: selection.blockFactors)
  }

  /// The dense network.
  public static func dense(_ sites: GateSites) -> UnitMask {
    UnitMask(
      units: [Float](repeating: 1, count: sites.unitCount), blocks: [Float](repeating: 1, count: sites.blocks.count))
  }

  /// The indices of the units that are not 0.
  public var keptUnits: [Int] { units.indices.filter { units[$0] != 0 } }

  /// This mask with some units removed.
  public func removing(_ removed: some Sequence<Int>) -> UnitMask {
    var mask = self
    for unit in removed { mask.units[unit] = 0 }
    return mask
  }
}

/// Other masks with as many units in every layer, and the same residual branches, as a given one.
package struct MatchedMasks {
  let sites: GateSites
  let mask: UnitMask

  /// Others than `mask`.
  package init(sites: GateSites, mask: UnitMask) {
    self.sites = sites
    self.mask = mask
  }

  /// The units with the largest scores of every layer; of equal ones the first.
  package func largest(_ scores: [Double]) -> UnitMask {
    picking { candidates, count in
      Array(candidates.sorted { scores[$0] == scores[$1] ? $0 < $1 : scores[$0] > scores[$1] }.prefix(count))
    }
  }

  /// Units at random.
  package func random(_ generator: inout SeededGenerator) -> UnitMask {
    picking { candidates, count in Array(candidates.shuffled(using: &generator).prefix(count)) }
  }

  /// In every layer, the part `fraction` of the kept units (at least one) exchanged for as many others at random, where
  /// there are as many.
  package func swapping(_ fraction: Double, _ generator: inout SeededGenerator) -> UnitMask {
    var result = mask
    for range in layerRanges {
      let kept = range.filter { mask.units[$0] != 0 }.shuffled(using: &generator)
      let others = range.filter { mask.units[$0] == 0 }.shuffled(using: &generator)
      guard !kept.isEmpty else { continue }
      let count = min(max(1, Int((fraction * Double(kept.count)).rounded())), kept.count, others.count)
      for unit in kept.prefix(count) { result.units[unit] = 0 }
      for unit in others.prefix(count) { result.units[unit] = 1 }
    }
    return result
  }

  private func picking(_ pick: (Range<Int>, Int) -> [Int]) -> UnitMask {
    var units = [Float](repeating: 0, count: mask.units.count)
    for range in layerRanges {
      for unit in pick(range, range.count { mask.units[$0] != 0 }) { units[unit] = 1 }
    }
    return UnitMask(units: units, blocks: mask.blocks)
  }

  private var layerRanges: [Range<Int>] {
    zip(sites.layers, sites.unitOffsets).map { $1..<($1 + $0.count) }
  }
}
