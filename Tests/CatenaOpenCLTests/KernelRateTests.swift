import CatenaCompute
import CatenaOpenCL
import CatenaProblems
import Foundation
import TestSupport
import Testing

/// What kernels reach of the device's own rates, both measured in one run: on a device of type CPU a quarter of the best
/// product, and of a copy, in processor time, so that other work on the machine does not count. On GPUs the rates are
/// printed with CATENA_REPORT. In processes of their own, since processor time is that of a whole process.
@Suite(.serialized, .enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct KernelRateTests {
  @Test func productsReachAQuarterOfTheBest() async throws {
    let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
      let isLarge = try Self.isLargeDevice
      try await Self.compare(
        RateProblems.products(images: isLarge ? 20 : 4),
        with: RateProblems.largestProduct(isLargeDevice: isLarge), unit: "GFLOP/s", \.gigaflops)
    }
    Self.pass(on: result)
  }

  @Test func memoryBoundKernelsReachAQuarterOfACopy() async throws {
    let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
      try await Self.compare(
        RateProblems.memoryBound, with: RateProblems.copy(isLargeDevice: Self.isLargeDevice), unit: "GB/s",
        \.gigabytes)
    }
    Self.pass(on: result)
  }

  /// Prints what the other process measured.
  private static func pass(on result: ExitTest.Result?) {
    let output = String(decoding: result?.standardOutputContent ?? [], as: UTF8.self)
    for line in output.split(separator: "\n") {
      if let report = line.firstRange(of: "measured: ") { Measured.report(String(line[report.upperBound...])) }
    }
  }

  private static var isLargeDevice: Bool {
    get throws { try DeviceUnderTest.backend.context.device.kind != .cpu }
  }

  /// Measures every problem between two measurements of the standard, of which the better one counts.
  private static func compare(
    _ lines: [String], with standard: String, unit: String, _ rate: KeyPath<KernelRate, Double>
  ) async throws {
    let isLarge = try isLargeDevice
    func measured(_ line: String) async throws -> Double {
      try await KernelRate(
        of: line, on: DeviceUnderTest.backend, runs: 5, clock: isLarge ? .device : .processor)[keyPath: rate]
    }
    for line in lines {
      var share = 0.0
      var report = ""
      // Neighbours on the same cores slow down one and not the other: the best of three comparisons.
      for _ in 0..<3 where share < 0.25 {
        let before = try await measured(standard)
        let found = try await measured(line)
        let best = max(before, try await measured(standard))
        guard found / best > share else { continue }
        share = found / best
        report = String(format: "%@: %.1f %@, %.2f of %.1f", line, found, unit, share, best)
      }
      Measured.report(report)
      #expect(isLarge || share >= 0.25, "\(report), which is what '\(standard)' reaches")
    }
  }
}
