import CatenaAutodiff
import CatenaTensors
import Foundation

/// Goes from the chain that a search settled on to chains of other sizes, each by a short straight phase that begins with
/// the units of one before it.
///
/// On the way to its size a search runs with gates in between, from which no good chain follows; a chain that a few units
/// are added to or taken from is a good one again after some steps.
package struct SizeWalk {
  /// The chains found, region by region, in the order in which they were.
  private(set) var chains: [[ScoreSnapshot]]
  /// The programs that found them.
  private(set) var programs: [ProgramRecord] = []
  private let end: ChainWalk
  private let regions: [Region]
  /// Steps made by the search.
  private let stepsBefore: Int
  private let smallestSize: Double
  /// The mean gate of every unit on the way of the search: the longer units stayed, the sooner they come back, and those
  /// that it did without in the order that they began in.
  private let stays: [[Float]]
  /// How much scores fall where the rank of units grows e-fold.
  private static let spread: Float = 1
  /// The units of a program, as a multiple of those that the chain may keep: no others come within reach of the steps.
  private static let candidates = 1.25
  /// Sizes below the search's own on a curve.
  private static let smallerSizes = 3
  /// How many times as many steps there are for a size where the smallest chain is looked for: whether a size does
  /// depends on a sample.
  static let patience = 2
  /// After so many times a size is given up there.
  static let mostTries = 3

  private var settings: ChainSettings { end.search.settings }

  /// - Parameters:
  ///   - end: where the search settled.
  ///   - stepsBefore: the steps that it made.
  init(from end: ChainWalk, _ regions: [Region], stepsBefore: Int) {
    (self.end, self.regions, self.stepsBefore) = (end, regions, stepsBefore)
    chains = regions.map { _ in [] }
    stays = end.paths.enumerated().map { region, path in
      Self.meanGates(of: (end.beginning.map { [$0[region]] } ?? []) + path)
    }
    smallestSize = ChainSelector(sites: end.whole.sites).smallestSize
  }

  /// Goes to the chains of a curve around the sizes that the search headed for.
  mutating func followCurve(_ progress: (ChainProgress) -> Void) async throws {
    let ladders = Self.curveSizes(around: end.state.keep, smallest: smallestSize, ratio: settings.sizeRatio)
    var left = settings.steps(to: ladders)
    for ladder in [ladders.larger, ladders.smaller] {
      var last = end.chains
      for sizes in ladder {
        let steps = settings.curveSteps(at: sizes)
        left -= steps
        last = try await go(to: sizes, from: last, steps: steps, left: left, progress).chains
      }
    }
  }

  /// Goes to the smallest chains that give the network's own class for this part of their regions' samples.
  mutating func findSmallest(agreement: Double, _ progress: (ChainProgress) -> Void) async throws {
    var searches = end.state.keep.map { SizeSearch(first: $0, smallest: smallestSize, ratio: settings.sizeRatio) }
    // The smallest faithful chains, the largest ones as long as there is none.
    var best = end.chains
    // What the next chains begin with: those, or the last ones for another try.
    var begins = best
    var tries = regions.map { _ in 0 }
    func record(_ walk: ChainWalk) {
      for region in regions.indices where searches[region].next != nil {
        let isFaithful = walk.agrees(on: agreement, of: regions[region], at: region)
        begins[region] = walk.chains[region]
        tries[region] += 1
        guard isFaithful || tries[region] >= Self.mostTries else { continue }
        searches[region].record(isFaithful: isFaithful)
        if isFaithful || searches[region].faithful == 1 { best[region] = walk.chains[region] }
        (begins[region], tries[region]) = (best[region], 0)
      }
    }
    record(end)
    while searches.contains(where: { $0.next != nil }) {
      let sizes = searches.map { $0.next ?? $0.faithful }
      record(try await go(to: sizes, from: begins, steps: settings.sizeSteps * Self.patience, left: 0, progress))
    }
  }

  /// Goes from chains to those of other sizes, one of each region.
  /// - Parameter left: steps that are sure to be made after these.
  private mutating func go(
    to sizes: [Double], from chains: [ScoreSnapshot], steps: Int, left: Int, _ progress: (ChainProgress) -> Void
  ) async throws -> ChainWalk {
    var settings = settings.with(straightSteps: steps)
    (settings.candidates, settings.snapshots) = (Self.candidates, 1)
    let search = ChainSearch(
      network: end.search.network, backend: end.search.backend, options: end.search.options, settings: settings)
    var walk = ChainWalk(search: search, whole: end.whole, batches: end.batches, state: end.state)
    let orders = zip(chains, stays).map { chain, stays in Self.order(of: chain, stays) }
    walk.begin(with: orders, sizes: sizes, spread: Self.spread)
    walk.state.disturb(by: settings.restartNoise, seed: settings.seed &+ UInt64(self.chains[0].count))
    let made = stepsBefore + programs.map(\.steps).reduce(0, +)
    walk.stepsBefore = made - walk.done
    walk.stepsAfter = left
    try await walk.run(.straight, progress)
    programs += walk.programs
    for (region, var chain) in walk.chains.enumerated() {
      chain.step = made + steps
      self.chains[region].append(chain)
    }
    return walk
  }

  /// All units: those of a chain first, then others, the longer they stayed the sooner.
  private static func order(of chain: ScoreSnapshot, _ stays: [Float]) -> [Int] {
    let isKept = chain.unitGates.map { $0 > 0.5 }
    return stays.indices.sorted { left, right in
      if isKept[left] != isKept[right] { return isKept[left] }
      return stays[left] == stays[right] ? left < right : stays[left] > stays[right]
    }
  }

  private static func meanGates(of path: [ScoreSnapshot]) -> [Float] {
    var mean = [Float](repeating: 0, count: path[0].unitGates.count)
    for snapshot in path {
      for unit in mean.indices { mean[unit] += snapshot.unitGates[unit] / Float(path.count) }
    }
    return mean
  }

  /// Sizes that a search goes to one after the other, each with that of every region.
  package typealias Ladders = (larger: [[Double]], smaller: [[Double]])

  /// The sizes of a curve around those that a search heads for: evenly up to everything on a logarithmic scale, and some
  /// below. As many for every region.
  package static func curveSizes(around sizes: [Double], smallest: Double, ratio: Double) -> Ladders {
    let rungs = (log(1 / (sizes.min() ?? 1)) / log(ratio) - 1e-9).rounded(.up)
    let larger = stride(from: 1, to: rungs, by: 1).map { rung in sizes.map { pow($0, 1 - rung / rungs) } }
    let smaller = (1...smallerSizes).map { rung in sizes.map { max($0 / pow(ratio, Double(rung)), smallest) } }
    return (larger, smaller.filter { $0.contains { $0 > smallest } })
  }
}

extension ChainSettings {
  /// Steps for a chain of each region: as many as the smallest needs.
  fileprivate func curveSteps(at sizes: [Double]) -> Int { curveSteps(at: sizes.min() ?? 1) }

  /// Steps for all chains of a curve.
  package func steps(to ladders: SizeWalk.Ladders) -> Int {
    (ladders.larger + ladders.smaller).map { curveSteps(at: $0) }.reduce(0, +)
  }
}

extension ChainWalk {
  /// The chain of every region that the last steps led to.
  var chains: [ScoreSnapshot] { paths.compactMap(\.last) }

  /// Whether the best step of a region gave the network's own class for this part of its samples.
  func agrees(on part: Double, of region: Region, at index: Int) -> Bool {
    guard let losses else { return false }
    let missed = ((1 - part) * Double(region.count) + 1e-9).rounded(.down)
    return Double(losses[index]) < ChainProgram.missPenalty * (missed + 1) / Double(region.count)
  }

  /// Stands before a straight phase to chains of other sizes, with scores in the order in which units are to come, region
  /// by region, and with all branches: which of them carry something depends on their units.
  fileprivate mutating func begin(with orders: [[Int]], sizes: [Double], spread: Float) {
    let settings = search.settings
    done = settings.end(of: .settled)
    state.keep = sizes
    state.restart(atStep: done)
    let offsets = state.clock[1].floats
    for (region, order) in orders.enumerated() {
      let border = (sizes[region] * Double(order.count)).rounded(.down)
      var gates = [Float](repeating: 0, count: order.count)
      for (rank, unit) in order.enumerated() {
        let position = Float(log(border / (Double(rank) + 0.5)))
        state.units[0][region][unit] = offsets[region] + spread * position
        gates[unit] = 1 / (1 + exp(-position))
      }
      for block in state.blocks[0][region].indices { state.blocks[0][region][block] = settings.initialBlockScore }
      let blockGates = [Float](repeating: 1, count: state.blocks[0][region].count)
      paths[region] = [ScoreSnapshot(step: done, unitGates: gates, blockGates: blockGates, isBinary: true)]
    }
  }
}
