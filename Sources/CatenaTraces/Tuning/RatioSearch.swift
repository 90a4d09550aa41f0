import CatenaTensors
import Foundation

/// Which ratios are tried one after the other, and which are the best, from what is known: the same from a record that was
/// read as from one that was made.
///
/// Layers lie in groups by depth, and a group's layers share a limit for what each of them alone may cost. Round 0 looks for
/// the one limit of all groups, round 1 for limits that grow with depth or leave the first groups dense; the others change
/// the best limits, one group's at a time or one up and another down.
struct RatioSearch {
  /// Limits by group with the ratios, by layer, that they give.
  struct Candidate: Hashable {
    var limits: [Double]
    var ratios: [Double]
  }
  /// A candidate that all pictures were tried with, and in which round.
  struct Measured {
    var candidate: Candidate
    var level: TunedRatios.Level
    var round: Int
  }

  private let tuning: TuningSettings
  private let names: [String]
  private let connections: [Double]
  /// The group of every layer.
  private let groups: [Int]
  private let groupCount: Int
  /// Per layer and candidate ratio the mean divergence of the probes, as far as all of them have one.
  private let divergences: [[Double]]
  private let isScored: Bool

  init(_ network: TraceNetwork, _ tuning: TuningSettings, probes: [[[Double]]], isScored: Bool) {
    self.tuning = tuning
    self.isScored = isScored
    names = network.layers.map(\.name)
    connections = network.layers.map { Double($0.connections) }
    (groups, groupCount) = network.depthGroups(atMost: tuning.depths)
    divergences = network.layers.indices.map { layer in
      let lists = probes.map { $0[layer] }
      // A list that has ended was above all limits.
      return (0..<(lists.map(\.count).min() ?? 0)).map { place in
        lists.reduce(0) { $0 + $1[place] } / Double(lists.count)
      }
    }
  }

  /// Rounds at most.
  var rounds: Int { groupCount > 1 ? 2 + tuning.moves : 1 }

  /// Everything that was measured in rounds that are complete.
  func measured(_ rounds: [TuningRecord.Round]) -> [Measured] {
    var result: [Measured] = []
    for (round, pictures) in rounds.enumerated() {
      for (place, ladder) in ladders(ofRound: round, after: result).enumerated() {
        for (step, candidate) in ladder.enumerated() {
          // Behind a list's end the prediction counts as lost.
          let trials = pictures.map { $0[place].indices.contains(step) ? $0[place][step] : nil }
          result.append(Measured(candidate: candidate, level: level(candidate, trials), round: round))
        }
      }
    }
    return result
  }

  /// What a round tries: lists of candidates that remove more and more.
  func ladders(ofRound round: Int, after known: [Measured]) -> [[Candidate]] {
    switch round {
    case 0: return [ladder(known) { limit, _ in limit }].filter { !$0.isEmpty }
    case 1: return profiles(known)
    default:
      // A round of changes that found nothing better is the last.
      guard let best = best(known), isMet(best.level), round == 2 || best.round == round - 1 else { return [] }
      return moves(from: best.candidate, known).map { [$0] }
    }
  }

  /// The best of what was measured: of those that keep what was asked for the one with the highest score, or the most
  /// removed connections; otherwise the one that keeps the most. Of equal ones the first.
  func best(_ known: [Measured]) -> Measured? {
    func first(_ of: [Measured], _ value: (TunedRatios.Level) -> Double) -> Measured? {
      of.reduce(nil) { best, next in
        guard let best else { return next }
        return value(next.level) > value(best.level) ? next : best
      }
    }
    let met = known.filter { isMet($0.level) }
    return met.isEmpty ? first(known) { $0.kept } : first(met, value)
  }

  func isMet(_ level: TunedRatios.Level) -> Bool { level.kept >= tuning.kept && level.agreement >= tuning.agreement }

  private func value(_ level: TunedRatios.Level) -> Double { isScored ? level.score ?? 0 : level.sparsity }

  private func level(_ candidate: Candidate, _ trials: [TuningRecord.Trial?]) -> TunedRatios.Level {
    let count = Double(trials.count)
    let scores = trials.compactMap { $0?.score }
    return TunedRatios.Level(
      limits: candidate.limits, sparsity: sparsity(candidate),
      kept: Double(trials.count { $0?.keepsPrediction == true }) / count,
      agreement: trials.reduce(0) { $0 + ($1?.agreement ?? 0) } / count,
      score: scores.isEmpty ? nil : scores.reduce(0, +) / Double(scores.count),
      ratios: Dictionary(uniqueKeysWithValues: zip(names, candidate.ratios).filter { $0.1 > 0 }))
  }

  private func sparsity(_ candidate: Candidate) -> Double {
    zip(candidate.ratios, connections).reduce(0) { $0 + $1.0 * $1.1 } / connections.reduce(0, +)
  }

  // MARK: Candidates

  private func candidate(_ limits: [Double]) -> Candidate {
    let ratios = divergences.indices.map { layer in
      var ratio = 0.0
      for (candidate, value) in zip(tuning.candidates, divergences[layer]) {
        guard value <= limits[groups[layer]] else { break }
        ratio = candidate
      }
      return ratio
    }
    return Candidate(limits: limits, ratios: ratios)
  }

  /// The candidates of ascending limits that remove something and have not been tried.
  private func ladder(_ known: [Measured], _ limit: (Double, Int) -> Double) -> [Candidate] {
    var tried = Set(known.map(\.candidate.ratios))
    return tuning.limits.compactMap { last in
      let found = candidate((0..<groupCount).map { limit(last, $0) })
      guard found.ratios.contains(where: { $0 > 0 }), tried.insert(found.ratios).inserted else { return nil }
      return found
    }
  }

  private func profiles(_ known: [Measured]) -> [[Candidate]] {
    guard groupCount > 1 else { return [] }
    let last = groupCount - 1
    var result: [[Candidate]] = []
    for tilt in tuning.tilts {
      result.append(ladder(known) { limit, group in limit / exp2(Double(tilt * (last - group))) })
    }
    for dense in tuning.denseDepths where dense <= last {
      result.append(ladder(known) { limit, group in group < dense ? 0 : limit })
    }
    return result.map { $0.filter { isPromising($0, known) } }.filter { !$0.isEmpty }
  }

  /// Without a score only what removes more than the best so far can be better.
  private func isPromising(_ candidate: Candidate, _ known: [Measured]) -> Bool {
    guard !isScored, let best = best(known), isMet(best.level) else { return true }
    return sparsity(candidate) > best.level.sparsity
  }

  private func moves(from best: Candidate, _ known: [Measured]) -> [Candidate] {
    var tried = Set(known.map(\.candidate.ratios))
    var result: [Candidate] = []
    func add(_ candidate: Candidate) {
      if isPromising(candidate, known), tried.insert(candidate.ratios).inserted { result.append(candidate) }
    }
    let ways = (0..<groupCount).map { group in
      (up: changes(of: group, in: best, to: tuning.limits), down: changes(of: group, in: best, to: lowered))
    }
    for group in ways.indices {
      for limits in ways[group].up.prefix(2) + ways[group].down.prefix(2) { add(candidate(limits)) }
      for other in ways.indices where other != group {
        guard let up = ways[group].up.first, let down = ways[other].down.first else { continue }
        var limits = up
        limits[other] = down[other]
        add(candidate(limits))
      }
    }
    return result
  }

  /// The limits, descending, down to none at all.
  private var lowered: [Double] { tuning.limits.reversed() + [0] }

  /// The limits of `best` with other ones of one group that change its ratios, nearest first; `limits` run up or down.
  private func changes(of group: Int, in best: Candidate, to limits: [Double]) -> [[Double]] {
    var previous = best
    var result: [[Double]] = []
    let isRising = (limits.first ?? 0) < (limits.last ?? 0)
    for limit in limits where isRising ? limit > best.limits[group] : limit < best.limits[group] {
      var changed = best.limits
      changed[group] = limit
      let found = candidate(changed)
      if found.ratios != previous.ratios { result.append(changed) }
      previous = found
    }
    return result
  }
}

extension TraceNetwork {
  /// The group of every layer and how many groups there are, where layers are shared out by depth into at most `count`
  /// groups of about as many depths; the first group is the first.
  package func depthGroups(atMost count: Int) -> (groups: [Int], count: Int) {
    let depths = depths
    let distinct = Set(depths).sorted()
    let groupCount = min(count, distinct.count)
    let places = Dictionary(uniqueKeysWithValues: distinct.enumerated().map { ($1, $0) })
    return (depths.map { (places[$0] ?? 0) * groupCount / distinct.count }, groupCount)
  }
}
