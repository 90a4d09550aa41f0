import CatenaChains
import CatenaFormats
import TestSupport
import Testing

@Suite("Regions in one program")
struct RegionTests {
  /// Three regions, each with its own aim.
  private static let keep = [0.5, 0.1, 0.25]

  @Test("a network of one class is refused: it is certain whatever is left of it")
  func oneClass() throws {
    var builder = NetworkBuilder()
    let stem = try builder.tanh(builder.convolution(builder.input([2, 3, 5, 5]), 4, name: "stem"))
    try builder.classify(stem, classes: 1)
    let model = try ONNXModel(exporting: builder.graph)
    #expect(throws: ChainError.self) { try ChainNetwork(model: model, batch: 2) }
  }

  @Test("three regions in one batch are three runs")
  func threeRegionsAreThreeRuns() async throws {
    let network = ShippedNetwork.resnet20
    let images = try network.region([0, 1, 8, 9, 10, 19])
    let regions = [try images.part(0..<2), try images.part(2..<4), try images.part(4..<6)]
    try await check(network.model(), regions)
  }

  @Test(
    "three regions in one batch are three runs, also on other structures",
    arguments: [GoldenNetwork.resnet, .paddedShortcut, .squeezeExcite, .denseNet, .mobileNet])
  func threeRegionsOfNoise(network: GoldenNetwork) async throws {
    let regions = [try network.region(3, seed: 1), try network.region(3, seed: 2), try network.region(3, seed: 3)]
    try await check(network.model(), regions)
  }

  @Test("regions of different sizes share a batch")
  func differentSizes() async throws {
    let network = GoldenNetwork.resnet
    let regions = [try network.region(1, seed: 1), try network.region(5, seed: 2), try network.region(3, seed: 3)]
    try await check(network.model(), regions)
  }

  private func check(_ model: ONNXModel, _ regions: [Region]) async throws {
    let steps = 20
    let selector = ChainSelector(sites: try ChainNetwork(model: model, batch: 1).sites)
    let together = try await optimizer(model, regions, keep: Self.keep, settings: .short(steps: steps))
    try await together.advance(by: steps)
    let scores = try await together.scores()
    let snapshots = try await together.snapshots(atStep: steps)
    #expect(scores[0].distance(to: scores[1]) > 0.1, "regions with other samples and aims move apart")
    for (index, region) in regions.enumerated() {
      let alone = try await optimizer(model, [region], keep: [Self.keep[index]], settings: .short(steps: steps))
      try await alone.advance(by: steps)
      let distance = try await alone.scores()[0].distance(to: scores[index])
      #expect(distance <= 1e-5, "region \(index)")
      let snapshot = try await alone.snapshots(atStep: steps)[0]
      #expect(selector.hardChain(of: snapshot).units == selector.hardChain(of: snapshots[index]).units)
      let count = max(selector.smallestCount, snapshot.unitGates.count / 4)
      #expect(selector.largest(count, of: snapshot).units == selector.largest(count, of: snapshots[index]).units)
    }
  }

  @Test("a region that has stopped does not move, and the others do as if it had not")
  func stoppedRegion() async throws {
    let network = GoldenNetwork.resnet
    let regions = [try network.region(2, seed: 1), try network.region(2, seed: 2), try network.region(2, seed: 3)]
    let stopped = try await optimizer(network.model(), regions, keep: Self.keep, settings: .short())
    let running = try await optimizer(network.model(), regions, keep: Self.keep, settings: .short())
    try await stopped.advance(by: 8)
    try await running.advance(by: 14)
    let before = try await stopped.scores()
    try await stopped.setActive([true, false, true])
    // The gates are those of the last run: one more makes them follow the scores.
    try await stopped.advance(by: 1)
    let gates = try await stopped.snapshots(atStep: 9)
    try await stopped.advance(by: 5)
    let after = try await stopped.scores()
    #expect(after[1].units == before[1].units)
    #expect(after[1].blocks == before[1].blocks)
    let later = try await stopped.snapshots(atStep: 14)
    #expect(later[1].unitGates == gates[1].unitGates)
    #expect(later[1].blockGates == gates[1].blockGates)
    for region in [0, 2] {
      #expect(after[region].distance(to: before[region]) > 0.01)
      #expect(try await running.scores()[region].distance(to: after[region]) <= 1e-6)
    }
    #expect(try await running.scores()[1].distance(to: after[1]) > 0.01)
  }
}
