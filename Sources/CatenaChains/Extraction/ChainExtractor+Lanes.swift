import CatenaCompute

extension ChainExtractor {
  /// The same extractor on one of `count` lanes, with its part of the memory.
  func lane(_ backend: any Backend, of count: Int) -> ChainExtractor {
    var options = options
    options.memoryLimit = limit.map { $0 / count }
    return ChainExtractor(network: network, backend: backend, settings: settings, options: options)
  }

  /// Every region by itself, the next one on the lane that is free first.
  func sideBySide(
    _ regions: [Region], on lanes: [ChainExtractor], _ request: ChainRequest,
    _ progress: @Sendable (ChainProgress) -> Void
  ) async throws -> [ChainResult] {
    try await withThrowingTaskGroup(of: (lane: Int, region: Int, result: ChainResult).self) { group in
      var results = [ChainResult?](repeating: nil, count: regions.count)
      var waiting = regions.indices[...]
      var free = Array(lanes.indices)
      var completed = 0
      while completed < regions.count {
        while let lane = free.last, let index = waiting.popFirst() {
          free.removeLast()
          let (extractor, region) = (lanes[lane], regions[index])
          group.addTask {
            do {
              return (lane, index, try await extractor.chains(for: [region], request: request)[0])
            } catch ComputeError.outOfMemory(let requested, let available, let device) {
              throw ComputeError.outOfMemory(ofPart: extractor.limit, of: limit, (requested, available, device))
            }
          }
        }
        guard let done = try await group.next() else { break }
        results[done.region] = done.result
        free.append(done.lane)
        completed += 1
        progress(
          ChainProgress(
            stage: .optimizing, completed: completed, total: regions.count,
            divergence: done.result.point.binary.divergence, size: done.result.point.keptFraction))
      }
      return results.compactMap { $0 }
    }
  }

  /// The most bytes that step and evaluator may hold.
  var limit: Int? { options.memoryLimit.map { $0 + (evaluatorOptions.memoryLimit ?? 0) } }
}
