import CatenaExplain
import CatenaFormats
import CatenaOpenCL
import CatenaTensors
import Foundation
import TestSupport
import Testing

/// The device that CATENA_OPENCL_DEVICE numbers, else the best GPU, else the first usable one.
private let index: Int? = {
  let usable = OpenCLDevices.all.filter { $0.problem == nil }
  let named = ProcessInfo.processInfo.environment["CATENA_OPENCL_DEVICE"].flatMap { Int($0) }
  return named ?? (usable.first { $0.kind == .gpu } ?? usable.first)?.index
}()

/// The rules that replace derivatives: every one of them lowers to kernels, and gives the processor's maps.
@Suite("attributions on OpenCL", .enabled(if: index != nil, "there is no OpenCL device"))
struct OpenCLTests {
  @Test("are those of the processor", arguments: AttributionMethod.allCases)
  func maps(method: AttributionMethod) async throws {
    let network = try SampleNetwork.resnet20(0..<2)
    var settings = AttributionSettings()
    (settings.steps, settings.smoothGradDeviation) = (4, 0.05)
    (settings.masks, settings.limeSamples, settings.segments) = (6, 6, 6)
    (settings.window, settings.strides) = ([16, 16], [16, 16])
    settings.inputBounds = InputBounds(try Preprocessing.named("cifar10"))
    let backend = try OpenCLBackend(deviceAt: try #require(index))
    let expected = try await network.explainer().attribution(
      of: network.samples, method: method, settings: settings)
    let found = try await Explainer(model: network.model, backend: backend).attribution(
      of: network.samples, method: method, targets: expected.targets, settings: settings)
    let error = relativeError(found.relevance.doubles, expected.relevance.doubles)
    Measured.report("\(method.rawValue) on \(backend.device.name): \(error) from the processor's")
    #expect(expected.relevance.doubles.contains { $0 != 0 })
    // Along a line, or among noisy copies, many inputs of ReLUs pass 0, where rounding decides which of two gradients
    // counts.
    let isMean = [.integratedGradients, .gradientSHAP, .smoothGrad].contains(method)
    #expect(error <= (isMean ? 5e-3 : 1e-4))
  }
}
