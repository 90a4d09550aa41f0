import CatenaAutodiff
import CatenaTensors

/// One variant of every sample of some regions, with the dense network's logits.
package struct RegionVariants: Sendable {
  var regions: [Region]
  var dense: [[[Float]]]

  /// Variants, one region after the other.
  package init(regions: [Region], dense: [[[Float]]]) {
    self.regions = regions
    self.dense = dense
  }

  /// Those of some regions.
  func part(_ range: Range<Int>) -> RegionVariants {
    RegionVariants(regions: Array(regions[range]), dense: Array(dense[range]))
  }
}

/// What the optimisation reads: the samples of R regions in parts of the planned size, and variants of them.
package struct RegionBatches: Sendable {
  /// What one run reads: part of every region.
  struct Batch: Sendable {
    let samples: Tensor
    let target: Tensor
    let weights: Tensor
  }

  /// The number of regions.
  let regionCount: Int
  /// The number of units and of blocks of the network.
  let unitCount: Int
  let blockCount: Int
  /// The number of samples per run, of all regions together.
  package let samplesPerRun: Int
  /// The regions as they are, in as many parts as they need; then each set of variants.
  private var sets: [[Batch]]

  /// Whether every step reads the same, in one run.
  var isConstant: Bool { sets.count == 1 && sets[0].count == 1 }

  /// The parts of the samples that step `index` reads.
  func batches(ofStep index: Int) -> [Batch] {
    readsRegions(inStep: index) ? sets[0] : sets[1 + index / 2 % (sets.count - 1)]
  }

  /// Whether step `index` reads the regions as they are: every second step reads variants, where there are some.
  func readsRegions(inStep index: Int) -> Bool { sets.count == 1 || index.isMultiple(of: 2) }

  package init(network: ChainNetwork, regions: [Region], dense: [[[Float]]], settings: ChainSettings) {
    regionCount = regions.count
    unitCount = network.sites.unitCount
    blockCount = network.sites.blocks.count
    let perRegion = Self.samplesPerRun(network: network, regions: regions, settings: settings)
    samplesPerRun = perRegion * regions.count
    sets = [Self.batches(of: regions, dense: dense, perRegion: perRegion)]
  }

  /// Adds variants of all regions, with the dense network's logits of them.
  package mutating func add(_ variants: RegionVariants) {
    sets.append(
      Self.batches(of: variants.regions, dense: variants.dense, perRegion: samplesPerRun / regionCount))
  }

  /// The samples of each region in one run: the planned batch shared out, but no more than the largest region has.
  static func samplesPerRun(network: ChainNetwork, regions: [Region], settings: ChainSettings) -> Int {
    if let fixed = network.model.fixedBatch { return max(fixed / regions.count, 1) }
    let largest = regions.map(\.count).max() ?? 1
    return max(1, min(largest, settings.batch / regions.count))
  }

  /// One row per sample, arranged as the samples of part `part` of the regions; rows that only fill it are 0.
  func table(of rows: [[[Float]]], inPart part: Int) -> Tensor {
    let perRegion = samplesPerRun / regionCount
    let width = rows[0][0].count
    let zeros = [Float](repeating: 0, count: width)
    let elements = rows.flatMap { rows in
      (0..<perRegion).flatMap { index in
        let sample = part * perRegion + index
        return sample < rows.count ? rows[sample] : zeros
      }
    }
    return Tensor(elements, shape: [samplesPerRun, width])
  }

  private static func batches(of regions: [Region], dense: [[[Float]]], perRegion: Int) -> [Batch] {
    let largest = regions.map(\.count).max() ?? 0
    return Batches(size: perRegion, count: largest).ranges.map { range in
      var samples: [Tensor] = []
      var target: [Float] = []
      var weights: [Float] = []
      for (region, logits) in zip(regions, dense) {
        let clamped = min(range.lowerBound, region.count - 1)..<min(max(range.upperBound, 1), region.count)
        let real = range.lowerBound < region.count ? clamped.count : 0
        let rows = real > 0 ? clamped : (region.count - 1)..<region.count
        samples.append(region.samples.rows(rows, filledTo: perRegion))
        for index in 0..<perRegion {
          target += logProbabilities(logits[min(rows.lowerBound + index, rows.upperBound - 1)]).map(Float.init)
          weights.append(index < real ? 1 / Float(region.count) : 0)
        }
      }
      let rowCount = perRegion * regions.count
      return Batch(
        samples: Tensor.concatenatingRows(samples),
        target: Tensor(target, shape: [rowCount, target.count / rowCount]), weights: Tensor(weights, shape: [rowCount]))
    }
  }
}
