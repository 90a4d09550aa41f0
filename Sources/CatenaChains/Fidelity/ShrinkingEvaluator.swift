import CatenaCompute

/// Evaluates many chains of one region, each on what is left of the network when everything is cut that neither it nor
/// any later one keeps: a chain's logits do not depend on units that it leaves out.
struct ShrinkingEvaluator {
  /// Evaluates the whole network.
  let whole: ChainEvaluator
  let backend: any Backend
  let options: CompileOptions
  /// A smaller program is made when the units that are needed have fallen to this part, and operations as well.
  private let gain = 0.75
  /// For fewer chains no program is made: that takes as long as some runs of a large one.
  private let fewest = 4

  /// An evaluator of the chains of `whole`'s network.
  init(whole: ChainEvaluator, backend: any Backend, options: CompileOptions) {
    (self.whole, self.backend, self.options) = (whole, backend, options)
  }

  /// What a chain runs with.
  enum Mode { case binary, soft }

  /// The logits of chains, in their order. The largest run first.
  func logits(
    of selections: [ChainSelection], _ mode: Mode, region: Region, progress: (Int) -> Void = { _ in }
  ) async throws -> [[[Float]]] {
    let order = selections.indices.sorted {
      let (left, right) = (selections[$0].keptCount, selections[$1].keptCount)
      return left == right ? $0 < $1 : left > right
    }
    let needs = needed(order.map { selections[$0] })
    var results = [[[Float]]](repeating: [], count: selections.count)
    var stage = CompactNetwork(whole: whole.network)
    var evaluator = whole
    var considered = stage.units.count
    for (position, index) in order.enumerated() {
      let count = needs[position].units.count { $0 }
      if Double(count) < gain * Double(considered), order.count - position >= fewest {
        considered = count
        let smaller = try CompactNetwork(of: whole.network, keeping: needs[position])
        if smaller.network.sites.unitCount > 0,
          Double(smaller.network.graph.multiplyAddCount) < gain * Double(stage.network.graph.multiplyAddCount)
        {
          // Given back before the smaller program is made.
          evaluator = whole
          evaluator = try await ChainEvaluator(network: smaller.network, backend: backend, options: options)
          stage = smaller
        }
      }
      let selection = selections[index]
      let gates: (units: [Float], blocks: [Float]) =
        switch mode {
        case .binary: (selection.units.map { $0 ? 1 : 0 }, selection.blocks.map { $0 ? 1 : 0 })
        case .soft: (selection.unitFactors, selection.blockFactors)
        }
      results[index] = try await evaluator.logits(
        of: region, unitGates: stage.units.map { gates.units[$0] }, blockGates: stage.blocks.map { gates.blocks[$0] })
      progress(position + 1)
    }
    return results
  }

  /// For every chain, what it or a later one keeps.
  private func needed(_ selections: [ChainSelection]) -> [(units: [Bool], blocks: [Bool])] {
    var result: [(units: [Bool], blocks: [Bool])] = []
    for selection in selections.reversed() {
      let last = result.last
      result.append(
        (
          units: selection.units.indices.map { selection.units[$0] || last?.units[$0] ?? false },
          blocks: selection.blocks.indices.map { selection.blocks[$0] || last?.blocks[$0] ?? false }
        ))
    }
    return result.reversed()
  }
}
