import CatenaCPU
import CatenaChains
import CatenaCompute
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
}
