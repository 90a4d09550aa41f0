import CatenaCPU
import CatenaChains
import CatenaCompute
import Synchronization
import TestSupport
import Testing

@Suite("Chains of other sizes")
struct SizeWalkTests {
  private func example(
    _ edit: (inout ChainSettings) -> Void = { _ in }
  ) throws -> (network: ChainNetwork, region: Region, settings: ChainSettings) {
    var settings = ChainSettings()
    settings.steps = 200
    (settings.ends, settings.restarts) = (1, 0)
    // As many as the published ones.
    settings.sizePart = 30 / 170
    edit(&settings)
    return (
      try ChainNetwork(model: ShippedNetwork.resnet20.model(), batch: 20),
      try ShippedNetwork.resnet20.region(Array(0..<20)), settings
    )
  }

  private func extractor(_ edit: (inout ChainSettings) -> Void = { _ in }) throws -> (ChainExtractor, Region) {
    let example = try example(edit)
    return (
      ChainExtractor(network: example.network, backend: CPUBackend(), settings: example.settings), example.region
    )
  }

  @Test("a curve's sizes lead evenly to everything, and to some below")
  func sizes() {
    let sizes = SizeWalk.curveSizes(around: [0.1, 0.2], smallest: 0.05, ratio: 1.5)
    #expect(sizes.larger.count == 5)
    for (first, second) in zip(sizes.larger, sizes.larger.dropFirst()) {
      for region in 0..<2 { #expect(second[region] / first[region] > 1.2 && second[region] / first[region] <= 1.5) }
    }
    #expect(sizes.larger.allSatisfy { $0[0] > 0.1 && $0[1] > 0.2 && $0.allSatisfy { $0 < 1 } })
    #expect(sizes.smaller.count == 3)
    #expect(sizes.smaller.map { $0[0] }.allSatisfy { $0 >= 0.05 && $0 < 0.1 })
    #expect(SizeWalk.curveSizes(around: [1], smallest: 0.01, ratio: 1.5).larger.isEmpty)
    #expect(SizeWalk.curveSizes(around: [0.05], smallest: 0.05, ratio: 1.5).smaller.isEmpty)
  }

  /// Where scores begin in an order, units are cut out before the first step, and come back in that order.
  @Test("one search gives faithful chains of every size above its own", arguments: [0, 4])
  func chains(draws: Int) async throws {
    let (network, region, settings) = try example {
      if draws > 0 { ($0.draws, $0.firstTemperature, $0.firstSize) = (draws, 0.3, 0.4) }
    }
    let evaluator = try await ChainEvaluator(network: network, backend: CPUBackend(), options: CompileOptions())
    let dense = try await evaluator.denseLogits(of: region)
    let search = ChainSearch(network: network, backend: CPUBackend(), options: CompileOptions(), settings: settings)
    let found = try await search.paths(of: [region], dense: [dense], variants: [], keep: [0.2]) { _ in }
    let selector = ChainSelector(sites: network.sites)
    let sizes = SizeWalk.curveSizes(around: [0.2], smallest: selector.smallestSize, ratio: settings.sizeRatio)
    #expect(sizes.larger.count == 3)
    for (size, snapshot) in zip(sizes.larger, found.chains[0]) {
      let selection = selector.hardChain(of: snapshot)
      let part = Double(selection.keptCount) / Double(network.sites.unitCount)
      #expect(part > 0.9 * size[0] && part <= size[0])
      let fidelity = Fidelity(dense: dense, chain: try await evaluator.binaryLogits(of: region, selection))
      #expect(fidelity.agreement >= 0.85, "\(size): \(fidelity)")
    }
  }

  @Test("the curve shows the chains that answer requests")
  func curve() async throws {
    let (extractor, region) = try extractor()
    let result = try await extractor.chains(for: [region], request: .keep(fraction: 0.2))[0]
    #expect(result.work.sizes == 6)
    // Thirty each, but of everything's 0.30, 0.45 and 0.67 of the units as many as leave out 0.70, 0.55 and 0.33.
    #expect(result.work.steps == 200 + 3 * 30 + 28 + 22 + 13)
    let points = result.curve.points
    let answers = points.indices.filter { index in
      !points[(index + 1)...].contains { !points[index].binary.isBetter(than: $0.binary) }
    }
    #expect(points.count == max(answers.count, 1 + 10), "others are shown only where few chains answer requests")
    Measured.report("curve of ResNet-20: \(result.curve.points.map { ($0.keptFraction, $0.binary) })")

    let (bare, _) = try self.extractor { $0.sizePart = 0 }
    let way = try await bare.chains(for: [region], request: .keep(fraction: 0.2))[0]
    #expect(way.work.sizes == 0)
    // The same chain is no better than itself, though it is judged on networks that shrink otherwise, with other rounding.
    #expect(
      way.point.selection == result.point.selection || !way.point.binary.isBetter(than: result.point.binary),
      "the search itself is the same")
  }

  @Test("the smallest chain that is faithful enough is looked for from one search on", arguments: [0.05, 0.6])
  func smallest(first: Double) async throws {
    let (extractor, region) = try extractor {
      ($0.steps, $0.sizePart) = (100, 30 / 85)
      $0.firstFraction = first
    }
    let result = try await extractor.chains(for: [region], request: .agreement(fraction: 0.9))[0]
    #expect(result.isMet)
    #expect(result.point.binary.agreement >= 0.9)
    #expect(result.point.keptFraction <= 0.3)
    #expect(result.work.ends == 1)
    #expect(result.work.sizes > 1)
    #expect(result.work.steps == 100 + 60 * result.work.sizes)
    #expect(
      !result.curve.points.contains {
        $0.binary.agreement >= 0.9 && $0.selection.keptCount < result.point.selection.keptCount
      })
    Measured.report(
      "smallest faithful chain of ResNet-20: \(result.point.keptFraction), \(result.point.binary), \(result.work)")
  }

  @Test("steps are within what the plan says, and progress counts them")
  func plan() async throws {
    for request in [ChainRequest.keep(fraction: 0.2), .agreement(fraction: 0.9)] {
      let (extractor, region) = try extractor { $0.steps = 60 }
      let plan = try await extractor.plan(for: region, request: request)
      let last = LastProgress()
      let result = try await extractor.chains(for: [region], request: request) { last.record($0) }[0]
      #expect(result.work.steps >= plan.steps)
      #expect(result.work.steps <= plan.mostSteps)
      #expect(last.value?.completed == result.work.steps)
      #expect(last.value?.total == result.work.steps)
    }
  }
}

/// What an extraction said last of its optimisation.
private final class LastProgress: Sendable {
  private let state = Mutex<ChainProgress?>(nil)
  var value: ChainProgress? { state.withLock { $0 } }
  func record(_ progress: ChainProgress) {
    guard progress.stage == .optimizing else { return }
    state.withLock { $0 = progress }
  }
}
