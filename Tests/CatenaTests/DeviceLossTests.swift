import Catena
import CatenaCPU
import CatenaOpenCL
import Foundation
import Synchronization
import TestSupport
import Testing

/// An OpenCL device that goes away in the middle of the work.
@Suite("A lost device", .enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct DeviceLossTests {
  private let model: ONNXModel
  private let images = Assets.samples.appending(path: "images/cifar10_demo.bin").path

  init() throws {
    model = try ONNXModel(contentsOf: Assets.samples.appending(path: "models/cifar10_resnet20.onnx").path)
  }

  /// An engine whose device is lost at the kernel of that number.
  private func engine(losesKernel number: Int) throws -> Engine {
    var driver = Driver()
    let enqueue = driver.enqueueKernel
    let count = Mutex(0)
    driver.enqueueKernel = { queue, kernel, global, local, event in
      let isLost = count.withLock { count in
        count += 1
        return count > number
      }
      return isLost ? -2 : enqueue(queue, kernel, global, local, event)
    }
    return try engine(driver)
  }

  private func engine(_ driver: Driver) throws -> Engine {
    let device = try DeviceUnderTest.backend.context.device
    return Engine(backend: OpenCLBackend(context: try OpenCLContext(device, cache: .off, driver: driver)))
  }

  private func region() throws -> Region {
    let samples = try SampleSource.samples(["\(images)#0-3"])
    return try Region(
      name: "r", samples: Preprocessing.named("cifar10").tensor(of: samples), sampleNames: samples.map(\.name))
  }

  /// Loses the device in `work`, which must then be done on the CPU, with one line about it.
  private func expectFallback<Value: Equatable>(
    after kernels: Int, _ work: (Engine) async throws -> Value
  ) async throws {
    let processor = Engine(backend: CPUBackend())
    let expected = try await work(processor)
    var lines: [String] = []
    let found = try await engine(losesKernel: kernels).run(
      mayFallBack: true, replacement: { processor }, fallingBack: { lines.append($0) }, work)
    #expect(found == expected)
    #expect(lines.count == 1)
    let line = try #require(lines.first)
    let name = try DeviceUnderTest.backend.device.name
    #expect(line.contains(name) && line.contains("was lost") && line.contains("CPU"))
    #expect(!line.contains("\n"))
    // A device that was named is not replaced.
    let named = try engine(losesKernel: kernels)
    await #expect(throws: (any Error).self) {
      _ = try await named.run(
        mayFallBack: false, replacement: { processor }, fallingBack: { _ in Issue.record("it fell back") }, work)
    }
  }

  @Test func predictionsComeFromTheProcessor() async throws {
    let region = try region()
    try await expectFallback(after: 60) { engine in
      try await NetworkRunner(model: model, batch: 2, backend: engine.backend).logits(of: region)
    }
  }

  @Test func aChainComesFromTheProcessor() async throws {
    let region = try region()
    var settings = ChainSettings()
    (settings.steps, settings.curvePoints) = (5, 1)
    try await expectFallback(after: 400) { engine in
      let network = try ChainNetwork(model: model, batch: 4)
      let extractor = ChainExtractor(network: network, backend: engine.backend, settings: settings)
      let results = try await extractor.chains(for: [region], request: .keep(fraction: 0.5)) { _ in }
      return results[0].binaryLogits
    }
  }

  @Test func aTraceComesFromTheProcessor() async throws {
    let sample = try #require(try SampleSource.samples(["\(images)#7"]).first)
    guard case .image(let image) = sample.content else { throw FileError(.unsuitable, images, "no picture") }
    var settings = TraceSettings()
    (settings.augmentations, settings.batch, settings.checkedAugmentations) = (8, 4, 4)
    try await expectFallback(after: 100) { engine in
      let extractor = try TraceExtractor(
        network: TraceNetwork(model: model, batch: 4), backend: engine.backend, solvers: engine.solvers,
        preprocessing: Preprocessing.named("cifar10"), ratios: .uniform(0.5), settings: settings)
      let result = try await extractor.trace(of: TraceSample(name: "p", image: image))
      return result.layers.map { $0.weights.floats }
    }
  }

  @Test func anExplanationComesFromTheProcessor() async throws {
    let samples = try region().samples
    try await expectFallback(after: 40) { engine in
      try await Explainer(model: model, backend: engine.backend)
        .attribution(of: samples, method: .saliency).relevance.floats
    }
  }

  /// A driver that builds nothing is as good as none.
  @Test func aDriverThatBuildsNothingIsReplaced() async throws {
    var driver = Driver()
    driver.buildProgram = { _, _, _ in -11 }
    driver.buildLog = { _, _ in "first line\nsecond line" }
    var lines: [String] = []
    let region = try region()
    let logits = try await engine(driver).run(
      mayFallBack: true, replacement: { Engine(backend: CPUBackend()) }, fallingBack: { lines.append($0) }
    ) { engine in
      try await NetworkRunner(model: model, batch: 2, backend: engine.backend).logits(of: region)
    }
    #expect(logits.count == region.count)
    #expect(lines.count == 1 && lines[0].contains("clBuildProgram") && !lines[0].contains("second line"))
  }

  /// Errors that the device did not cause are errors on any device.
  @Test func otherErrorsStay() async throws {
    await #expect(throws: ChainError.self) {
      try await engine(Driver()).run(
        mayFallBack: true, replacement: { Engine(backend: CPUBackend()) },
        fallingBack: { _ in Issue.record("it fell back") }
      ) { _ in throw ChainError.noUnits }
    }
  }
}
