import CatenaExplain
import CatenaFormats
import CatenaOpenCL
import CatenaTensors
import Foundation
import TestSupport
import Testing

/// The rules that replace derivatives: every one of them lowers to kernels, and gives the processor's maps.
@Suite(
  "attributions on OpenCL", .enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct OpenCLTests {
  @Test("are those of the processor", arguments: AttributionMethod.allCases)
  func maps(method: AttributionMethod) async throws {
    let network = try SampleNetwork.resnet20(0..<2)
    var settings = AttributionSettings()
    (settings.steps, settings.smoothGradDeviation) = (4, 0.05)
    (settings.masks, settings.limeSamples, settings.segments) = (6, 6, 6)
    (settings.window, settings.strides) = ([16, 16], [16, 16])
    settings.inputBounds = InputBounds(try Preprocessing.named("cifar10"))
    let backend = try DeviceUnderTest.backend
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
