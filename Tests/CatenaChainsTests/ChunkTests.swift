import CatenaChains
import CatenaFormats
import TestSupport
import Testing

@Suite("Regions larger than the planned batch")
struct ChunkTests {
  private static let steps = 6
  /// For scores after some steps, a thousandth of a step: Adam divides a gradient by the root of its own mean square,
  /// which makes full steps of gradients that are no more than rounding. Of the gradients in every single step a
  /// millionth is asked.
  private static let tolerance: Float = 5e-5

  /// Batches that divide a region of eight, leave a short last chunk, and hold one sample.
  @Test("chunks with accumulated gradients are one batch", arguments: [4, 3, 5, 1])
  func chunksAreOneBatch(batch: Int) async throws {
    let network = ShippedNetwork.resnet20
    try await check(network.model(), network.region([0, 1, 2, 3, 10, 11, 12, 13]), batch: batch)
  }

  @Test(
    "chunks with accumulated gradients are one batch, also on other structures",
    arguments: [GoldenNetwork.resnet, .squeezeExcite, .denseNet, .mobileNet])
  func chunksOfNoise(network: GoldenNetwork) async throws {
    try await check(network.model(), network.region(7), batch: 3)
  }

  private func check(_ model: ONNXModel, _ region: Region, batch: Int) async throws {
    let whole = try await optimizer(model, [region], keep: [0.2], settings: .short(batch: region.count))
    let chunks = try await optimizer(model, [region], keep: [0.2], settings: .short(batch: batch))
    #expect(!whole.readsSamples && chunks.readsSamples, "what lies before the first gates is computed once")
    let inOneBatch = try await optimizer(model, [region], keep: [0.2], settings: .short(batch: region.count))
    let inChunks = try await optimizer(model, [region], keep: [0.2], settings: .short(batch: batch))
    for step in 0..<Self.steps {
      let expected = try await inOneBatch.gradients(goingOnFrom: whole)
      let found = try await inChunks.gradients(goingOnFrom: whole)
      let largest = expected.map(abs).max() ?? 0
      let deviation = zip(found, expected).map { abs($0 - $1) }.max() ?? .infinity
      Measured.report("chunks of \(batch), step \(step): \(deviation / largest) of the largest gradient, \(largest)")
      #expect(largest > 0 && deviation <= 1e-6 * largest, "step \(step)")
      try await whole.advance(by: 1)
      // From the same scores: those of two searches move apart. A divergence is a difference of logarithms of the order of
      // one, of which single precision knows seven digits.
      let divergences = (try await inChunks.state()[0].divergence, try await inOneBatch.state()[0].divergence)
      #expect(divergences.1 > 0)
      #expect(
        abs(divergences.0 - divergences.1) <= max(1e-5 * divergences.1, 1e-7),
        "step \(step): the divergence of a step is all its chunks'")
    }
    try await chunks.advance(by: Self.steps)
    let distance = try await chunks.scores()[0].distance(to: whole.scores()[0])
    #expect(distance <= Self.tolerance)
  }

  @Test("several regions of different sizes in chunks are those regions alone")
  func regionsInChunks() async throws {
    let network = GoldenNetwork.resnet
    let regions = [try network.region(2, seed: 1), try network.region(7, seed: 2), try network.region(4, seed: 3)]
    let chunks = try await optimizer(
      network.model(), regions, keep: [0.2, 0.2, 0.2], settings: .short(batch: 6))
    try await chunks.advance(by: Self.steps)
    for (index, region) in regions.enumerated() {
      let whole = try await optimizer(network.model(), [region], keep: [0.2], settings: .short())
      try await whole.advance(by: Self.steps)
      #expect(try await chunks.scores()[index].distance(to: whole.scores()[0]) <= Self.tolerance, "region \(index)")
    }
  }

  @Test("a network with a fixed batch runs every region in chunks of its size", arguments: [1, 2, 4])
  func fixedBatch(batch: Int) async throws {
    let region = try noise(4, sample: [2, 5, 5], seed: 5)
    let whole = try await optimizer(
      NetworkBuilder.residual(batch: 4), [region], keep: [0.4], settings: .short())
    let chunks = try await optimizer(
      NetworkBuilder.residual(batch: batch), [region], keep: [0.4], settings: .short())
    try await whole.advance(by: Self.steps)
    try await chunks.advance(by: Self.steps)
    #expect(try await chunks.scores()[0].distance(to: whole.scores()[0]) <= Self.tolerance)
  }

  @Test("several regions through a network with a fixed batch are those regions alone", arguments: [1, 2, 4, 6])
  func regionsThroughAFixedBatch(batch: Int) async throws {
    let regions = [
      try noise(3, sample: [2, 5, 5], seed: 5), try noise(2, sample: [2, 5, 5], seed: 6),
      try noise(4, sample: [2, 5, 5], seed: 7),
    ]
    let model = try NetworkBuilder.residual(batch: batch)
    let extractor = try extractor(model, settings: .short())
    let together = try await extractor.chains(for: regions, request: .keep(fraction: 0.5))
    for (index, region) in regions.enumerated() {
      let alone = try await extractor.chains(for: [region], request: .keep(fraction: 0.5))
      #expect(together[index].point.selection.units == alone[0].point.selection.units, "region \(index)")
    }
  }
}
