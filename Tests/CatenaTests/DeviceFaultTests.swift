import Catena
import CatenaOpenCL
import Foundation
import Synchronization
import TestSupport
import Testing

@Suite("A device that cannot be used, or only for a part")
struct DeviceFaultTests {
  /// In a process in which the loader finds no driver.
  @Test func withoutADriverTheCPUIsTakenForAReasonOfOneLine() async throws {
    await #expect(processExitsWith: .success) {
      let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      setenv("OCL_ICD_VENDORS", folder, 1)
      let engine = try Engine(device: .automatic)
      #expect(engine.backend.device.backend == "cpu")
      #expect(engine.description.hasPrefix("cpu: ") && engine.description.contains("found no driver"))
      #expect(!engine.description.contains("\n"))
      let survey = Engine.survey()
      #expect(survey.chosen == "cpu" && survey.reason.contains("found no driver"))
      try FileManager.default.removeItem(atPath: folder)
    }
  }

  /// The largest buffer that a whole batch needs is refused: the extraction goes on with smaller batches by itself.
  @Test(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
  func anExtractionGoesOnWithSmallerBatches() async throws {
    let device = try DeviceUnderTest.backend.context.device
    let model = try ONNXModel(contentsOf: Assets.samples.appending(path: "models/cifar10_resnet20.onnx").path)
    let samples = try SampleSource.samples(["\(Assets.samples.appending(path: "images/cifar10_demo.bin").path)#0-7"])
    let region = try Region(
      name: "r", samples: Preprocessing.named("cifar10").tensor(of: samples), sampleNames: samples.map(\.name))
    var settings = ChainSettings()
    (settings.steps, settings.curvePoints, settings.batch) = (2, 1, 8)
    let network = try ChainNetwork(model: model, batch: 8)
    let largest = Mutex(0)
    let refusals = Mutex(0)
    func result(limit: Int) async throws -> ChainResult {
      var driver = Driver()
      let create = driver.createBuffer
      driver.createBuffer = { context, size, code in
        guard size < limit else {
          refusals.withLock { $0 += 1 }
          code.pointee = -4
          return nil
        }
        largest.withLock { $0 = max($0, size) }
        return create(context, size, code)
      }
      let backend = OpenCLBackend(context: try OpenCLContext(device, cache: .off, driver: driver))
      return try await ChainExtractor(network: network, backend: backend, settings: settings)
        .chains(for: [region], request: .keep(fraction: 0.5))[0]
    }
    let whole = try await result(limit: .max)
    #expect(whole.settings.batch == 8 && refusals.withLock { $0 } == 0)
    let halved = try await result(limit: largest.withLock { $0 })
    #expect(refusals.withLock { $0 } > 0)
    #expect((1..<8).contains(halved.settings.batch))
    #expect(halved.denseLogits.count == whole.denseLogits.count)
    for (found, expected) in zip(halved.denseLogits.joined(), whole.denseLogits.joined()) {
      #expect(abs(found - expected) < 1e-3 * max(1, abs(expected)))
    }
  }
}
