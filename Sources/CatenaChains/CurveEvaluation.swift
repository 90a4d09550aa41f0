import CatenaAutodiff
import Foundation

/// Evaluates chains along a path of scores, from everything to the smallest.
struct CurveEvaluation {
  let evaluator: ChainEvaluator
  let selector: ChainSelector
  let region: Region
  let dense: [[Float]]
  let settings: ChainSettings

  /// The curve: the chains that the scores themselves mark at every snapshot, the largest scores at a grid of sizes, and
  /// more chains around the request.
  func curve(
    along path: [ScoreSnapshot], request: ChainRequest, progress: (Int, Int) -> Void
  ) async throws -> ChainCurve {
    var candidates = path.flatMap { snapshot in
      BranchRepair.allCases.map { (selector.hardChain(of: snapshot, $0), snapshot.step) }
    }
    let counts = gridCounts(request)
    for count in counts {
      candidates.append(contentsOf: chains(of: count, along: path, alternatives: 1))
      candidates.append(contentsOf: survivors(count, along: path))
    }
    if let fraction = request.budget {
      let budget = Int((fraction * Double(unitCount)).rounded(.down))
      candidates.append(contentsOf: chains(of: budget, along: path, alternatives: 16))
    }
    var tried: Set<[Bool]> = []
    var found: [Candidate] = []
    for (index, candidate) in candidates.enumerated() {
      progress(index, candidates.count)
      guard tried.insert(candidate.0.units).inserted else { continue }
      found.append(try await evaluated(candidate.0, step: candidate.1))
    }
    progress(candidates.count, candidates.count)
    if case .agreement(let fraction) = request {
      found += try await refinement(of: found, fraction: fraction, along: path)
    }
    var points = [try await point(selector.everything, step: nil)]
    for candidate in worthReporting(found) { points.append(try await point(candidate)) }
    return ChainCurve(points: points)
  }

  /// A chain that was evaluated in binary mode.
  private struct Candidate {
    let selection: ChainSelection
    let step: Int?
    let binary: Fidelity
    var count: Int { selection.keptCount }

    func isBetter(than other: Candidate) -> Bool { binary.isBetter(than: other.binary) }
  }

  /// Of all chains of about the same size (within 5 %) those that are better than every smaller one of them.
  private func worthReporting(_ candidates: [Candidate]) -> [Candidate] {
    let ordered = candidates.sorted { $0.count == $1.count ? $0.isBetter(than: $1) : $0.count < $1.count }
    var result: [Candidate] = []
    var size: Int?
    for candidate in ordered {
      let own = Int((log(Double(max(candidate.count, 1))) / log(1.05)).rounded())
      if own == size, let last = result.last, !candidate.isBetter(than: last) { continue }
      size = own
      result.append(candidate)
    }
    return result
  }

  private var unitCount: Int { selector.everything.units.count }

  /// Sizes from everything to the smallest connected chain, evenly spread on a logarithmic scale.
  private func gridCounts(_ request: ChainRequest) -> [Int] {
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

  /// The `count` units with the largest mean gates from the moment on at which the path passed that size. What stayed
  /// until the end serves together; what went soon after that moment was about to go.
  private func survivors(_ count: Int, along path: [ScoreSnapshot]) -> [(ChainSelection, Int)] {
    guard
      let start = path.indices.min(by: { distance(of: path[$0], from: count) < distance(of: path[$1], from: count) }),
      start < path.count - 1
    else { return [] }
    var mean = path[start]
    for snapshot in path[(start + 1)...] {
      for unit in mean.unitGates.indices { mean.unitGates[unit] += snapshot.unitGates[unit] }
      for block in mean.blockGates.indices { mean.blockGates[block] += snapshot.blockGates[block] }
    }
    let scale = 1 / Float(path.count - start)
    for unit in mean.unitGates.indices { mean.unitGates[unit] *= scale }
    for block in mean.blockGates.indices { mean.blockGates[block] *= scale }
    return BranchRepair.allCases.map { (selector.largest(count, of: mean, $0), mean.step) }
  }

  /// How far, on a logarithmic scale, the chain that a snapshot marks itself is from `count` units.
  private func distance(of snapshot: ScoreSnapshot, from count: Int) -> Double {
    let own = max(selector.hardChain(of: snapshot).keptCount, 1)
    return abs(log(Double(own) / Double(count)))
  }

  /// Halves the gap between the smallest faithful chain and the next smaller one that was tried.
  private func refinement(
    of candidates: [Candidate], fraction: Double, along path: [ScoreSnapshot]
  ) async throws -> [Candidate] {
    var faithful = candidates.filter { $0.binary.agreement >= fraction }.map(\.count).min() ?? unitCount
    var failing = candidates.map(\.count).filter { $0 < faithful }.max() ?? selector.smallestCount
    var result: [Candidate] = []
    while faithful - failing > max(1, unitCount / 200) {
      let middle = (faithful + failing) / 2
      var isFound = false
      for (selection, step) in chains(of: middle, along: path, alternatives: 2) where !isFound {
        let candidate = try await evaluated(selection, step: step)
        result.append(candidate)
        isFound = candidate.binary.agreement >= fraction
      }
      if isFound { faithful = middle } else { failing = middle }
    }
    return result
  }

  private func evaluated(_ selection: ChainSelection, step: Int?) async throws -> Candidate {
    let logits = try await evaluator.binaryLogits(of: region, selection)
    return Candidate(selection: selection, step: step, binary: Fidelity(dense: dense, chain: logits))
  }

  /// A chain, evaluated in both modes.
  func point(_ selection: ChainSelection, step: Int?) async throws -> ChainPoint {
    try await point(evaluated(selection, step: step))
  }

  private func point(_ candidate: Candidate) async throws -> ChainPoint {
    let soft = try await evaluator.softLogits(of: region, candidate.selection)
    return ChainPoint(
      selection: candidate.selection, binary: candidate.binary, soft: Fidelity(dense: dense, chain: soft),
      step: candidate.step)
  }
}
