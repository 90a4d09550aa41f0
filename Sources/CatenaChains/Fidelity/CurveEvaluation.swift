import CatenaAutodiff
import Foundation

/// Evaluates chains along a path of scores, from everything to the smallest.
struct CurveEvaluation {
  let evaluator: ShrinkingEvaluator
  let selector: ChainSelector
  let region: Region
  let dense: [[Float]]
  let settings: ChainSettings

  /// The curve: the chains that the scores themselves mark on the way and at other sizes, the largest scores at a grid of
  /// sizes, and more chains of the size that the search headed for.
  func curve(of search: RegionSearch, size: Double, progress: (Int, Int) -> Void) async throws -> ChainCurve {
    let budget = max(Int((size * Double(unitCount)).rounded(.down)), selector.smallestCount)
    // Before a search settles, chains above its size are poor; those are for searches that went to no others.
    let isSettled = { (snapshot: ScoreSnapshot) in search.chains.isEmpty || snapshot.isBinary }
    let settled = search.path.filter(isSettled) + search.chains
    let unsettled = search.path.filter { !isSettled($0) }
    var candidates = hardChains(of: settled) + hardChains(of: unsettled).filter { $0.0.keptCount <= budget }
    for count in gridCounts {
      candidates.append(contentsOf: chains(of: count, along: settled, alternatives: 1))
    }
    candidates.append(contentsOf: chains(of: budget, along: search.path, alternatives: 16))
    var tried: Set<[Bool]> = []
    candidates = candidates.filter { tried.insert($0.0.units).inserted }
    let found = try await evaluated(candidates) { progress($0, candidates.count) }
    let itself = Fidelity(dense: dense, chain: dense)
    let everything = ChainPoint(selection: selector.everything, binary: itself, soft: itself, step: nil)
    return ChainCurve(points: [everything] + (try await points(worthReporting(found))))
  }

  /// A chain that was evaluated in binary mode.
  private struct Candidate {
    let selection: ChainSelection
    let step: Int
    let binary: Fidelity
    var count: Int { selection.keptCount }
    /// The same for chains of about the same size (within 5 %).
    var sizeClass: Int { Int((log(Double(max(count, 1))) / log(1.05)).rounded()) }

    func isBetter(than other: Candidate) -> Bool { binary.isBetter(than: other.binary) }
  }

  /// The chains that are better than every smaller one: no other answers any request. Where they are few, also the best of
  /// their size that lie farthest from them, so that a curve can be seen.
  private func worthReporting(_ candidates: [Candidate]) -> [Candidate] {
    var answers: [Candidate] = []
    var others: [Int: Candidate] = [:]
    for candidate in candidates.sorted(by: { $0.count == $1.count ? $0.isBetter(than: $1) : $0.count < $1.count }) {
      if answers.last.map(candidate.isBetter) ?? true {
        answers.append(candidate)
      } else if others[candidate.sizeClass].map(candidate.isBetter) ?? true {
        others[candidate.sizeClass] = candidate
      }
    }
    var shown = answers
    func distance(_ size: Int) -> Int { shown.map { abs($0.sizeClass - size) }.min() ?? .max }
    while shown.count < Self.leastPoints,
      let size = others.keys.max(by: { (distance($0), $1) < (distance($1), $0) })
    {
      if let other = others.removeValue(forKey: size) { shown.append(other) }
    }
    return shown
  }

  /// Points of a curve below everything, where there are as many chains.
  private static let leastPoints = 10

  private var unitCount: Int { selector.everything.units.count }

  /// Sizes from everything to the smallest connected chain, evenly spread on a logarithmic scale.
  private var gridCounts: [Int] {
    let largest = Double(unitCount)
    let smallest = Double(selector.smallestCount)
    return (1...settings.curvePoints).map { index in
      let position = Double(index) / Double(settings.curvePoints)
      return max(selector.smallestCount, Int(largest * pow(smallest / largest, position)))
    }
  }

  /// Chains of `count` units from the snapshots whose own chains come nearest to that size.
  private func chains(
    of count: Int, along path: [ScoreSnapshot], alternatives: Int
  ) -> [(ChainSelection, Int)] {
    let ranked = path.map { snapshot in (snapshot: snapshot, distance: distance(of: snapshot, from: count)) }
      .sorted { left, right in
        left.distance == right.distance ? left.snapshot.step > right.snapshot.step : left.distance < right.distance
      }
    return ranked.prefix(alternatives).flatMap { entry in
      BranchRepair.allCases.map { (selector.largest(count, of: entry.snapshot, $0), entry.snapshot.step) }
    }
  }

  /// The chains that snapshots mark themselves.
  private func hardChains(of snapshots: [ScoreSnapshot]) -> [(ChainSelection, Int)] {
    snapshots.flatMap { snapshot in
      BranchRepair.allCases.map { (selector.hardChain(of: snapshot, $0), snapshot.step) }
    }
  }

  /// How far, on a logarithmic scale, the chain that a snapshot marks itself is from `count` units.
  private func distance(of snapshot: ScoreSnapshot, from count: Int) -> Double {
    let own = max(selector.hardChain(of: snapshot).keptCount, 1)
    return abs(log(Double(own) / Double(count)))
  }

  private func evaluated(
    _ chains: [(ChainSelection, Int)], progress: (Int) -> Void = { _ in }
  ) async throws -> [Candidate] {
    let logits = try await evaluator.logits(of: chains.map(\.0), .binary, region: region, progress: progress)
    return zip(chains, logits).map { chain, logits in
      Candidate(selection: chain.0, step: chain.1, binary: Fidelity(dense: dense, chain: logits))
    }
  }

  /// The same chains, evaluated in soft mode as well; where all factors are 1 that is no other.
  private func points(_ candidates: [Candidate]) async throws -> [ChainPoint] {
    let softer = candidates.indices.filter { !candidates[$0].selection.isBinary }
    let logits = try await evaluator.logits(
      of: softer.map { candidates[$0].selection }, .soft, region: region)
    var soft = candidates.map(\.binary)
    for (index, logits) in zip(softer, logits) { soft[index] = Fidelity(dense: dense, chain: logits) }
    return zip(candidates, soft).map { candidate, soft in
      ChainPoint(selection: candidate.selection, binary: candidate.binary, soft: soft, step: candidate.step)
    }
  }
}

extension ChainSelection {
  /// Whether the factors of everything that is kept are 1.
  fileprivate var isBinary: Bool {
    zip(units, unitFactors).allSatisfy { !$0 || $1 == 1 } && zip(blocks, blockFactors).allSatisfy { !$0 || $1 == 1 }
  }
}
