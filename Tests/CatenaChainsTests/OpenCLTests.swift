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
    let settings = ChainSettings()
    let selector = ChainSelector(sites: network.sites)
    var chains: [[(snapshot: ScoreSnapshot, selection: ChainSelection, agreeing: Int)]] = []
    for backend in [CPUBackend(), try device.get()] as [any Backend] {
      let evaluator = try await ChainEvaluator(network: network, backend: backend, options: CompileOptions())
      var found: [(ScoreSnapshot, ChainSelection, Int)] = []
      for region in regions {
        let dense = try await evaluator.denseLogits(of: region)
        let optimizer = try await ChainOptimizer(
          network: network, regions: [region], dense: [dense], keep: [0.1], settings: settings, backend: backend,
          options: CompileOptions())
        try await optimizer.advance(by: settings.steps)
        let snapshot = try await optimizer.snapshots(atStep: settings.steps)[0]
        let selection = selector.hardChain(of: snapshot)
        let fidelity = Fidelity(dense: dense, chain: try await evaluator.binaryLogits(of: region, selection))
        found.append((snapshot, selection, Int((fidelity.agreement * Double(region.count)).rounded())))
      }
      chains.append(found)
    }
    for (index, (processor, device)) in zip(chains[0], chains[1]).enumerated() {
      let pairs = zip(processor.selection.units, device.selection.units)
      let (both, either) = (pairs.count { $0 && $1 }, pairs.count { $0 || $1 })
      let jaccard = Double(both) / Double(max(either, 1))
      let differing = zip(pairs, processor.snapshot.unitGates).filter { $0.0.0 != $0.0.1 }.map { abs($0.1 - 0.5) }
      Measured.report(
        "region \(index): Jaccard \(jaccard), \(processor.selection.keptCount) and \(device.selection.keptCount) units, "
          + "agreement \(processor.agreeing) and \(device.agreeing) of \(regions[index].count) images, "
          + "largest |S - 1/2| of differing units \(differing.max() ?? 0)")
      #expect(jaccard >= 0.98)
      #expect(abs(processor.agreeing - device.agreeing) <= 1)
      #expect(differing.allSatisfy { $0 < 0.05 })
    }
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
