import CatenaChains
import CatenaTensors

extension ChainEvaluation {
  /// Analysis C: single units, all units, and their identity.
  func importance(
    _ selection: ChainSelection, _ bench: MaskBench, progress: (Double) -> Void
  ) async throws -> ImportanceRecord {
    let units = try await leavingOneOut(selection, bench) { progress(0.5 * $0) }
    var generator = SeededGenerator(seed: settings.seed &+ 1)
    let chain = UnitMask(binary: selection)
    let dense = UnitMask.dense(network.sites)
    let kept = chain.keptUnits
    let others = chain.units.indices.filter { chain.units[$0] == 0 }
    let withoutOthers = (0..<settings.draws).map { _ in
      dense.removing(others.shuffled(using: &generator).prefix(kept.count))
    }
    let matched = MatchedMasks(sites: network.sites, mask: chain)
    let swaps = settings.swappedFractions.map { fraction in
      (0..<settings.draws).map { _ in matched.swapping(fraction, &generator) }
    }
    var measures = try await bench.measures(
      under: [dense.removing(kept)] + withoutOthers + swaps.joined()
    ) { progress(0.5 + 0.5 * $0) }[...]
    let denseWithout = measures.removeFirst()
    let denseWithoutOthers = Array(measures.prefix(settings.draws))
    measures = measures.dropFirst(settings.draws)
    var swapped: [Double: [OutputMeasures]] = [:]
    for fraction in settings.swappedFractions {
      swapped[fraction] = Array(measures.prefix(settings.draws))
      measures = measures.dropFirst(settings.draws)
    }
    return ImportanceRecord(
      units: units,
      rankCorrelation: spearmanCorrelation(units.map(\.score), units.map(\.deltaDivergence)),
      denseWithout: denseWithout, denseWithoutOthers: denseWithoutOthers, swapped: swapped)
  }

  /// The change of KL when each retained unit alone is left out, on the cut network: it costs what the chain costs.
  package func leavingOneOut(
    _ selection: ChainSelection, _ bench: MaskBench, progress: (Double) -> Void
  ) async throws -> [UnitRecord] {
    let size = batch(samples: bench.samples.shape[0])
    let planned = try ChainNetwork(model: model, batch: size.masks * size.samples)
    let cut = try planned.cutChain(selection)
    let runner = try await MaskRunner(
      graph: cut.graph, sites: cut.sites, masksPerRun: size.masks, backend: backend, options: options)
    let whole = UnitMask.dense(cut.sites)
    // Channels that could not be cut although they are dead are no units of the chain.
    let places = cut.units.indices.filter { selection.units[cut.units[$0]] }
    let logits = try await runner.logits(
      of: bench.samples, under: [whole] + places.map { whole.removing([$0]) }, progress: progress)
    let divergences = logits.map { Fidelity(dense: bench.dense, chain: $0).divergence }
    // A retained unit that nobody reads is gone with the cut: nothing changes without it.
    var changes = [Double](repeating: 0, count: selection.units.count)
    for (place, divergence) in zip(places, divergences.dropFirst()) {
      changes[cut.units[place]] = divergence - divergences[0]
    }
    return zip(network.sites.layers, network.sites.unitOffsets).flatMap { layer, offset in
      let alpha = layer.block.map { selection.blockFactors[$0] } ?? 1
      return (0..<layer.count).filter { selection.units[offset + $0] }.map { index in
        UnitRecord(
          layer: layer.name, index: index, score: Double(alpha * selection.unitFactors[offset + index]),
          deltaDivergence: changes[offset + index])
      }
    }
  }

  /// Stability: chains of further seeds on the same samples, and of other samples of the same classes.
  func addStability(
    _ record: inout RegionRecord, of region: EvaluationRegion, _ selection: ChainSelection, _ request: ChainRequest,
    _ search: ChainSettings, _ progress: @escaping @Sendable (String, Double) -> Void
  ) async throws {
    var search = search
    // A budget is answered by the chain that a search settles on; nobody looks at those of other sizes here.
    if request.budget != nil { search.sizePart = 0 }
    var generator = SeededGenerator(seed: settings.seed &+ 2)
    let total = Double(settings.otherSeeds + region.others.count)
    for number in 0..<settings.otherSeeds {
      var seeded = search
      seeded.seed &+= UInt64(number + 1)
      let chain = try await extract(region.samples.region, request, seeded) {
        progress("chains of other seeds", (Double(number) + $0) / total)
      }
      record.otherSeeds.append(overlap(selection, chain.point.selection, &generator))
    }
    for (number, other) in region.others.enumerated() {
      let chain = try await extract(other, request, search) {
        progress("chains of other samples", (Double(self.settings.otherSeeds + number) + $0) / total)
      }
      record.otherSamples.append(overlap(selection, chain.point.selection, &generator))
    }
  }

  private func overlap(
    _ first: ChainSelection, _ second: ChainSelection, _ generator: inout SeededGenerator
  ) -> OverlapRecord {
    let sides = [first, second].map { MatchedMasks(sites: network.sites, mask: UnitMask(binary: $0)) }
    func flags(_ mask: UnitMask) -> [Bool] { mask.units.map { $0 != 0 } }
    let chance = (0..<20).map { _ in
      jaccardOverlap(flags(sides[0].random(&generator)), flags(sides[1].random(&generator)))
    }
    return OverlapRecord(overlap: jaccardOverlap(first.units, second.units), chance: mean(of: chance))
  }
}
