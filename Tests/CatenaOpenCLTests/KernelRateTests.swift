import CatenaCompute
import CatenaOpenCL
import Foundation
import TestSupport
import Testing

/// What kernels reach of the device's own rates, measured in one run: printed with CATENA_REPORT, judged by people, since
/// a shared machine's times are noise.
@Suite(
  .serialized,
  .enabled(
    if: ProcessInfo.processInfo.environment["CATENA_OPENCL_LONG_TESTS"] == "1" && DeviceUnderTest.isAvailable,
    "CATENA_OPENCL_LONG_TESTS is not 1"))
struct KernelRateTests {
  private static var isLargeDevice: Bool {
    get throws { try DeviceUnderTest.backend.context.device.kind != .cpu }
  }

  @Test func productsAgainstTheLargestOne() async throws {
    let isLarge = try Self.isLargeDevice
    let best = try await rate(RateProblems.largestProduct(isLargeDevice: isLarge)).gigaflops
    Measured.report(String(format: "the best product: %.1f GFLOP/s", best))
    for line in RateProblems.products(images: isLarge ? 20 : 4) {
      let rate = try await rate(line).gigaflops
      Measured.report(String(format: "%@: %.1f GFLOP/s, %.2f of the best product", line, rate, rate / best))
    }
  }

  @Test func memoryBoundKernelsAgainstACopy() async throws {
    let copy = try await rate(RateProblems.copy(isLargeDevice: Self.isLargeDevice)).gigabytes
    Measured.report(String(format: "a copy: %.1f GB/s", copy))
    for line in RateProblems.memoryBound {
      let rate = try await rate(line).gigabytes
      Measured.report(String(format: "%@: %.1f GB/s, %.2f of a copy", line, rate, rate / copy))
    }
  }

  private func rate(_ line: String) async throws -> KernelRate {
    try await KernelRate(of: line, on: DeviceUnderTest.backend)
  }
}
