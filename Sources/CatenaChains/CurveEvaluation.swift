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
    for count in counts { candidates.append(contentsOf: chains(of: count, along: path, alternatives: 1)) }
    if let fraction = request.budget {
      let budget = Int((fraction * Double(unitCount)).rounded(.down))
      candidates.append(contentsOf: chains(of: budget, along: path, alternatives: 8))
    }
    var evaluated: Set<[Bool]> = []
    var points = [try await point(selector.everything, step: nil)]
    for (index, candidate) in candidates.enumerated() {
      progress(index, candidates.count)
      guard evaluated.insert(candidate.0.units).inserted else { continue }
      points.append(try await point(candidate.0, step: candidate.1))
    }
    progress(candidates.count, candidates.count)
    if case .agreement(let fraction) = request {
      points += try await refinement(of: ChainCurve(points: points), fraction: fraction, along: path)
    }
    return ChainCurve(points: points)
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

  /// How far, on a logarithmic scale, the chain that a snapshot marks itself is from `count` units.
  private func distance(of snapshot: ScoreSnapshot, from count: Int) -> Double {
    let own = max(selector.hardChain(of: snapshot).keptCount, 1)
    return abs(log(Double(own) / Double(count)))
  }

  /// Halves the gap between the smallest faithful chain and the next smaller one that was tried.
  private func refinement(
    of curve: ChainCurve, fraction: Double, along path: [ScoreSnapshot]
  ) async throws -> [ChainPoint] {
    var faithful = curve.answer(to: .agreement(fraction: fraction)).point.selection.keptCount
    var failing =
      curve.points.filter { $0.selection.keptCount < faithful }.map(\.selection.keptCount).max()
      ?? selector.smallestCount
    var points: [ChainPoint] = []
    while faithful - failing > max(1, unitCount / 200) {
      let middle = (faithful + failing) / 2
      var found = false
      for (selection, step) in chains(of: middle, along: path, alternatives: 2) where !found {
        let candidate = try await point(selection, step: step)
        points.append(candidate)
        found = candidate.binary.agreement >= fraction
      }
      if found { faithful = middle } else { failing = middle }
    }
    return points
  }

  private func point(_ selection: ChainSelection, step: Int?) async throws -> ChainPoint {
    let binary = try await evaluator.binaryLogits(of: region, selection)
    let soft = try await evaluator.softLogits(of: region, selection)
    return ChainPoint(
      selection: selection, binary: Fidelity(dense: dense, chain: binary), soft: Fidelity(dense: dense, chain: soft),
      step: step)
  }
}
