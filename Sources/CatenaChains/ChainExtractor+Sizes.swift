extension ChainExtractor {
  /// The smallest chain of every region that is faithful enough, of those from searches at several sizes. Regions share
  /// programs as in one search, each heading for a size of its own.
  func smallest(
    _ regions: [Region], _ request: ChainRequest, _ progress: @Sendable (ChainProgress) -> Void
  ) async throws -> [ChainResult] {
    var sizes = regions.map { _ in
      SizeSearch(first: settings.firstFraction, smallest: aim(settings.smallestFraction), searches: settings.searches)
    }
    var results = [ChainResult?](repeating: nil, count: regions.count)
    var stepsBefore = 0
    while true {
      let open = sizes.indices.filter { sizes[$0].next != nil }
      guard !open.isEmpty else { return results.compactMap { $0 } }
      let found = try await together(
        open.map { regions[$0] }, request: request, sizes: open.compactMap { sizes[$0].next }
      ) { [stepsBefore] state in
        var state = state
        if state.stage == .optimizing {
          state.completed += stepsBefore
          state.total += stepsBefore
        }
        progress(state)
      }
      for (index, result) in zip(open, found) {
        sizes[index].record(result.point.keptFraction)
        results[index] = results[index]?.combined(with: result) ?? result
      }
      stepsBefore += found.map(\.work.steps).max() ?? 0
    }
  }
}

extension ChainResult {
  /// The smaller one of two answers to the same request, with all that both searches found and did.
  fileprivate func combined(with other: ChainResult) -> ChainResult {
    let chosen = other.point.selection.keptCount < point.selection.keptCount ? other : self
    var seen: Set<[Bool]> = []
    let points = (curve.points + other.curve.points).filter { seen.insert($0.selection.units).inserted }
    return ChainResult(
      region: region, request: request, point: chosen.point, isMet: chosen.isMet, curve: ChainCurve(points: points),
      denseLogits: denseLogits, binaryLogits: chosen.binaryLogits, settings: chosen.settings, work: work + other.work)
  }
}
