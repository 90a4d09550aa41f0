import CatenaCPU
import CatenaChains
import CatenaCompute
import CatenaFormats
import CatenaOpenCL
import CatenaTensors
import Foundation
import TestSupport
import Testing

@Suite(
  "The step on OpenCL", .enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
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
    let found = try await optimizer(model, [region], keep: [0.2], settings: settings, backend: DeviceUnderTest.backend)
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
      backend: DeviceUnderTest.backend)
    #expect(folder.manifest.device.backend == "opencl")
    #expect(folder.result.isMet)
    _ = try await folder.verify()
  }

  /// Compaction changes shapes all the time, batches and regions do so, too: a search builds nothing for that.
  @Test("the programs of one network's search serve those that are cut from it, other batches and more regions")
  func programsServeAllShapes() async throws {
    let context = try OpenCLContext(DeviceUnderTest.backend.context.device)
    let backend = OpenCLBackend(context: context)
    let settings = ChainSettings.short()
    func programs(_ network: ChainNetwork, regions: Int) async throws -> Int {
      for phase in ChainProgram.Phase.allCases {
        let program = try ChainProgram(network: network, regions: regions, settings: settings, phase: phase)
        _ = try await backend.compile(program.program, options: CompileOptions())
      }
      return context.programs.statistics.built + context.programs.statistics.loaded
    }
    let network = try ChainNetwork(model: ShippedNetwork.resnet20.model(), batch: 4)
    let count = try await programs(network, regions: 1)
    #expect(count > 4)
    var generator = SeededGenerator(seed: 3)
    for kept in [0.7, 0.4] {
      let units = network.sites.layers.flatMap { layer in
        // The first unit of a layer stays, so that every layer does.
        (0..<layer.count).map { $0 == 0 || generator.uniform() < kept }
      }
      let blocks = network.sites.blocks.indices.map { $0 % 4 != 1 }
      let compact = try CompactNetwork(of: network, keeping: (units, blocks)).network
      #expect(compact.graph.multiplyAddCount < network.graph.multiplyAddCount)
      #expect(try await programs(compact, regions: 1) == count)
    }
    let large = try ChainNetwork(model: ShippedNetwork.resnet20.model(), batch: 6)
    #expect(try await programs(large, regions: 3) == count)
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
    let found = try await optimizer(
      model, regions, keep: [0.2, 0.4], settings: settings, backend: DeviceUnderTest.backend)
    try await expected.advance(by: 2)
    try await found.advance(by: 2)
    for (left, right) in zip(try await found.scores(), try await expected.scores()) {
      #expect(left.distance(to: right) <= 1e-4)
    }
  }

  /// The search amplifies rounding: the processor's own gates part as far when its input changes by one rounding error.
  /// What a device may add to that is a small factor, in a search that is short enough for the comparison to mean
  /// something.
  @Test(
    "gates part from the processor's no faster than rounding parts them",
    .enabled(if: RegionList.isPresent, "the assets are not there"))
  func divergence() async throws {
    let network = try ChainNetwork(model: ShippedNetwork.resnet20.model(), batch: 20)
    for region in try RegionList.chosen(Self.isLong ? 10 : 2) {
      let processor = try await Extraction(network, CPUBackend())
      let device = try await Extraction(network, DeviceUnderTest.backend)
      let runs = [
        try await processor.optimizer(region), try await processor.optimizer(region.perturbed),
        try await device.optimizer(region),
      ]
      var gates: [[Float]] = []
      for run in runs {
        try await run.advance(by: 30)
        gates.append(try await run.snapshots(atStep: 30)[0].unitGates)
      }
      let distances = gates.dropFirst().map { row in
        let sum = zip(row, gates[0]).reduce(Float(0)) { $0 + abs($1.0 - $1.1) }
        return sum / Float(row.count)
      }
      Measured.report("\(region.name), 30 steps: mean distance \(distances[1]), of one rounding error \(distances[0])")
      #expect(distances[1] <= max(10 * distances[0], 1e-4))
    }
  }

  /// Whether minutes may be spent.
  static let isLong = ProcessInfo.processInfo.environment["CATENA_OPENCL_LONG_TESTS"] == "1"

  /// A search that rounding does not change: as long as needed to select, gates warm enough to move steadily, scores
  /// that begin apart. With the published settings the processor does not find its own chains again when its input
  /// moves by one rounding error (2^-22): errors grow with every step, and cold gates turn them into decisions. Here it
  /// does, so that what differs is the device's doing.
  private static var steadySettings: ChainSettings {
    var settings = ChainSettings()
    settings.steps = 60
    settings.initialNoise = 0.3
    settings.lastTemperature = 0.2
    settings.branchEnd = 0.2
    settings.straightPart = 0
    return settings
  }

  /// Searches for a tenth of the units, of ten regions where minutes may be spent, else of three.
  @Test(
    "regions give the processor's chains", .enabled(if: RegionList.isPresent, "the assets are not there"))
  func sameChains() async throws {
    let network = try ChainNetwork(model: ShippedNetwork.resnet20.model(), batch: 20)
    let processor = try await Extraction(network, CPUBackend(), Self.steadySettings)
    let device = try await Extraction(network, DeviceUnderTest.backend, Self.steadySettings)
    let selector = ChainSelector(sites: network.sites)
    var (shared, all) = (0, 0)
    for region in try RegionList.chosen(Self.isLong ? 10 : 3) {
      let expected = try await processor.chain(of: region)
      let found = try await device.chain(of: region)
      let chains = (selector.hardChain(of: expected.snapshot), selector.hardChain(of: found.snapshot))
      let comparison = ChainComparison(chains.0, chains.1, expected.snapshot)
      let agreeing = (
        try await processor.agreeing(region, chains.0, expected.dense),
        try await device.agreeing(region, chains.1, found.dense)
      )
      Measured.report(
        "\(region.name): \(comparison.shared) of \(comparison.all) units shared, \(agreeing.0) and \(agreeing.1) of "
          + "\(region.count) images agree, largest |S - 1/2| of differing units \(comparison.largestDistance)")
      // The tenth that is asked for, less the gates in between: a search that selected nothing would prove nothing.
      #expect((20...70).contains(chains.0.keptCount))
      // Of some forty units a single one that lies on the border is more than 2 %.
      #expect(comparison.all - comparison.shared <= 1)
      #expect(comparison.largestDistance < 0.05)
      #expect(abs(agreeing.0 - agreeing.1) <= 1)
      shared += comparison.shared
      all += comparison.all
    }
    Measured.report("Jaccard \(Double(shared) / Double(all))")
    #expect(Double(shared) >= 0.98 * Double(all))
  }
}

/// How two chains of one region differ.
private struct ChainComparison {
  /// Units in both.
  var shared: Int
  /// Units in either.
  var all: Int
  /// The largest distance from 1/2 of a differing unit's score.
  var largestDistance: Float

  init(_ one: ChainSelection, _ other: ChainSelection, _ snapshot: ScoreSnapshot) {
    let pairs = zip(one.units, other.units)
    shared = pairs.count { $0 && $1 }
    all = pairs.count { $0 || $1 }
    largestDistance =
      zip(pairs, snapshot.unitGates).filter { $0.0.0 != $0.0.1 }.map { abs($0.1 - 0.5) }.max() ?? 0
  }
}

/// What one back end makes of regions.
private struct Extraction {
  let network: ChainNetwork
  let backend: any Backend
  let settings: ChainSettings
  let evaluator: ChainEvaluator

  init(
    _ network: ChainNetwork, _ backend: any Backend, _ settings: ChainSettings = ChainSettings()
  ) async throws {
    self.network = network
    self.backend = backend
    self.settings = settings
    evaluator = try await ChainEvaluator(network: network, backend: backend, options: CompileOptions())
  }

  /// The search towards a tenth of the units.
  func optimizer(_ region: Region) async throws -> ChainOptimizer {
    try await ChainOptimizer(
      network: network, regions: [region], dense: [evaluator.denseLogits(of: region)], keep: [0.1],
      settings: settings, backend: backend, options: CompileOptions())
  }

  /// The dense network's logits, and the scores after all steps.
  func chain(of region: Region) async throws -> (dense: [[Float]], snapshot: ScoreSnapshot) {
    let steps = settings.steps
    let optimizer = try await optimizer(region)
    try await optimizer.advance(by: steps)
    return (try await evaluator.denseLogits(of: region), try await optimizer.snapshots(atStep: steps)[0])
  }

  /// How many images have the same class as in the dense network, with kept units exactly 1.
  func agreeing(_ region: Region, _ chain: ChainSelection, _ dense: [[Float]]) async throws -> Int {
    let fidelity = Fidelity(dense: dense, chain: try await evaluator.binaryLogits(of: region, chain))
    return Int((fidelity.agreement * Double(region.count)).rounded())
  }
}

extension Region {
  /// The same samples, each number changed by about one rounding error.
  fileprivate var perturbed: Region {
    var region = self
    region.samples = Tensor(samples.floats.map { $0 * (1 + 0x1p-22) }, shape: samples.shape)
    return region
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
