import CatenaCPU
import CatenaChains
import CatenaCompute
import CatenaFormats
import CatenaOpenCL
import Foundation
import TestSupport
import Testing

/// The device that the environment's CATENA_OPENCL_DEVICE numbers, else the best GPU, else the first usable one.
private let device: Result<OpenCLBackend, ComputeError> = {
  do throws(ComputeError) {
    let usable = OpenCLDevices.all.filter { $0.problem == nil }
    let named = ProcessInfo.processInfo.environment["CATENA_OPENCL_DEVICE"].flatMap { Int($0) }
    guard let index = named ?? (usable.first { $0.kind == .gpu } ?? usable.first)?.index else {
      throw .noDevice(reason: OpenCLDevices.reasonForNone ?? "none can be used")
    }
    return .success(try OpenCLBackend(deviceAt: index))
  } catch { return .failure(error) }
}()

private var problem: String? {
  if case .failure(let error) = device { "skipped: \(error)" } else { nil }
}

@Suite("The step on OpenCL", .enabled(if: problem == nil, Comment(rawValue: problem ?? "")))
struct OpenCLTests {
  @Test("three steps of ResNet-20 give the processor's scores")
  func scores() async throws {
    let network = ShippedNetwork.resnet20
    let model = try network.model()
    let region = try network.region([0, 10])
    // Gates so far from 1 that the divergence is no rounding error: Adam's first steps do not depend on its size.
    var settings = ChainSettings.short()
    settings.firstSize = 0.7
    settings.initialNoise = 0.5
    let expected = try await optimizer(model, [region], keep: [0.2], settings: settings)
    let found = try await optimizer(model, [region], keep: [0.2], settings: settings, backend: device.get())
    try await expected.advance(by: 3)
    try await found.advance(by: 3)
    let distance = try await found.scores()[0].distance(to: expected.scores()[0])
    #expect(distance <= 1e-4)
    let divergences = (try await found.state()[0].divergence, try await expected.state()[0].divergence)
    #expect(divergences.1 > 0.01)
    #expect(abs(divergences.0 - divergences.1) <= 1e-3 * divergences.1)
  }

  @Test("a chain that was extracted on the device is written and proves itself on the processor")
  func endToEnd() async throws {
    let network = ShippedNetwork.resnet20
    var settings = ChainSettings.short(steps: 6, batch: 4)
    settings.curvePoints = 2
    settings.shrinkingEnd = 0.5
    let folder = try await ChainFolder(
      network.model(), network.region([0, 4, 8, 12, 16]), request: .keep(fraction: 0.3), settings: settings,
      backend: device.get())
    #expect(folder.manifest.device.backend == "opencl")
    #expect(folder.result.isMet)
    _ = try await folder.verify()
  }

  @Test("regions in chunks give the processor's scores")
  func chunks() async throws {
    let network = ShippedNetwork.resnet20
    let model = try network.model()
    let regions = [try network.region([0, 10, 15]), try network.region([1, 11])]
    // Two samples per run and region: the first region needs two runs, the second one.
    var settings = ChainSettings.short(batch: 4)
    settings.firstSize = 0.7
    settings.initialNoise = 0.5
    let expected = try await optimizer(model, regions, keep: [0.2, 0.4], settings: settings)
    let found = try await optimizer(model, regions, keep: [0.2, 0.4], settings: settings, backend: device.get())
    try await expected.advance(by: 2)
    try await found.advance(by: 2)
    for (left, right) in zip(try await found.scores(), try await expected.scores()) {
      #expect(left.distance(to: right) <= 1e-4)
    }
  }

  /// Whether minutes may be spent.
  static let isLong = ProcessInfo.processInfo.environment["CATENA_LONG_TESTS"] == "1"

  @Test(
    "ten regions give the processor's chains",
    .enabled(if: isLong && RegionList.isPresent, "CATENA_LONG_TESTS is not 1, or the assets are not there"))
  func tenRegions() async throws {
    let model = try ShippedNetwork.resnet20.model()
    let network = try ChainNetwork(model: model, batch: 20)
    let regions = try RegionList.chosen(10)
    let selector = ChainSelector(sites: network.sites)
    let processor = try await Extraction(network, CPUBackend())
    let device = try await Extraction(network, device.get())
    for region in regions {
      let (expected, found) = (try await processor.chain(of: region), try await device.chain(of: region))
      let chains = [expected, found].map { selector.hardChain(of: $0.snapshot) }
      let pairs = zip(chains[0].units, chains[1].units)
      let jaccard = Double(pairs.count { $0 && $1 }) / Double(max(pairs.count { $0 || $1 }, 1))
      let differing = zip(pairs, expected.snapshot.unitGates).filter { $0.0.0 != $0.0.1 }.map { abs($0.1 - 0.5) }
      let agreeing = (
        try await processor.agreeing(region, chains[0], expected.dense),
        try await device.agreeing(region, chains[1], found.dense)
      )
      Measured.report(
        "\(region.name): Jaccard \(jaccard), \(chains[0].keptCount) and \(chains[1].keptCount) units, "
          + "\(agreeing.0) and \(agreeing.1) of \(region.count) images agree, "
          + "largest |S - 1/2| of differing units \(differing.max() ?? 0)")
      #expect(jaccard >= 0.98)
      #expect(abs(agreeing.0 - agreeing.1) <= 1)
      #expect(differing.allSatisfy { $0 < 0.05 })
    }
  }
}

/// What one back end makes of regions, at the default settings.
private struct Extraction {
  let network: ChainNetwork
  let backend: any Backend
  let evaluator: ChainEvaluator

  init(_ network: ChainNetwork, _ backend: any Backend) async throws {
    self.network = network
    self.backend = backend
    evaluator = try await ChainEvaluator(network: network, backend: backend, options: CompileOptions())
  }

  /// The dense network's logits, and the scores after all steps towards a tenth of the units.
  func chain(of region: Region) async throws -> (dense: [[Float]], snapshot: ScoreSnapshot) {
    let settings = ChainSettings()
    let dense = try await evaluator.denseLogits(of: region)
    let optimizer = try await ChainOptimizer(
      network: network, regions: [region], dense: [dense], keep: [0.1], settings: settings, backend: backend,
      options: CompileOptions())
    try await optimizer.advance(by: settings.steps)
    return (dense, try await optimizer.snapshots(atStep: settings.steps)[0])
  }

  /// How many images have the same class as in the dense network, with kept units exactly 1.
  func agreeing(_ region: Region, _ chain: ChainSelection, _ dense: [[Float]]) async throws -> Int {
    let fidelity = Fidelity(dense: dense, chain: try await evaluator.binaryLogits(of: region, chain))
    return Int((fidelity.agreement * Double(region.count)).rounded())
  }
}

/// The regions of CIFAR images for choosing methods and settings.
private enum RegionList {
  static let isPresent = Assets.asset("regions/cifar10_2x10.json").isPresent

  private struct List: Decodable {
    struct Entry: Decodable {
      var seed: Int
      var indices: [Int]
    }
    var choose: [Entry]
  }

  static func chosen(_ count: Int) throws -> [Region] {
    let file = try #require(Assets.asset("regions/cifar10_2x10.json").url)
    let images = try #require(Assets.asset("images/cifar10_test_first1000.bin").url)
    let samples = try SampleSource.samples([images.path])
    return try JSONDecoder().decode(List.self, from: Data(contentsOf: file)).choose.prefix(count).map { entry in
      let own = entry.indices.map { samples[$0] }
      return try Region(
        name: "seed \(entry.seed)", samples: Preprocessing.named("cifar10").tensor(of: own),
        sampleNames: entry.indices.map { "#\($0)" })
    }
  }
}
