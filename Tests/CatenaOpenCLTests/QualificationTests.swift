import CatenaCPU
import CatenaCompute
import CatenaOpenCL
import CatenaProblems
import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct QualificationTests {
  @Test func aRightDeviceQualifies() async throws {
    let report = try await Qualification(
      of: DeviceUnderTest.backend, against: CPUBackend(), families: [.convolution, .pool, .gate], measuresSpeed: false
    )
    #expect(report.isCorrect, "\(report.families.flatMap(\.failures))")
    #expect(report.features.map(\.feature) == DeviceFeature.allCases)
    for family in report.families {
      #expect(family.problems > 5 && family.numbers > 1000)
      #expect(family.percentile50 <= family.percentile99 && family.percentile999 <= family.largest)
      #expect(family.largest <= problemTolerance)
    }
    // Only three tables ran.
    #expect(report.kernelsNotRun.contains("matrix_multiply") && !report.kernelsNotRun.contains("pool_gradient"))
    #expect(report.markdown.contains("| gate |"))
    let decoded = try JSONDecoder().decode(Qualification.self, from: JSONEncoder().encode(report))
    #expect(decoded.families == report.families)
  }

  /// All tables together run every kernel that there is.
  @Test func theTablesReachEveryKernel() async throws {
    let report = try await Qualification(
      of: DeviceUnderTest.backend, against: DeviceUnderTest.backend, measuresSpeed: false)
    let hasTiles = try DeviceUnderTest.backend.context.traits.device.tile != nil
    let unreachable = report.kernelsNotRun.filter { hasTiles ? false : !$0.hasSuffix("_tiled") }
    #expect(unreachable.isEmpty, "\(unreachable)")
  }

  /// Kernels that are built wrong are found, each with the line that shows it. In a process of its own, whose memory they
  /// may spoil.
  @Test func aWrongDeviceDoesNot() async throws {
    await #expect(processExitsWith: .success) {
      var driver = Driver()
      let build = driver.buildProgram
      driver.buildProgram = { program, device, options in
        build(program, device, options.replacingOccurrences(of: "-DPIXELS=8", with: "-DPIXELS=4"))
      }
      let context = try OpenCLContext(
        DeviceUnderTest.backend.context.device, traits: KernelTraits(DeviceTraits(kind: .cpu)), cache: .off,
        driver: driver)
      let report = try await Qualification(
        of: OpenCLBackend(context: context), against: ReferenceBackend(), families: [.convolution], measuresSpeed: false
      )
      #expect(!report.isCorrect)
      let failures = report.families[0].failures
      #expect(failures.contains { $0.hasPrefix("convolution ") && $0.contains("off by") })
      #expect(report.markdown.contains("results are wrong"))
      #expect(report.families[0].largest > 0.01)
    }
  }

  @Test func aFeatureThatDoesNotBuildIsAnAnswer() throws {
    var driver = Driver()
    driver.buildProgram = { _, _, _ in -11 }
    driver.buildLog = { _, _ in "no such instruction" }
    let context = try OpenCLContext(DeviceUnderTest.backend.context.device, cache: .off, driver: driver)
    let finding = try DeviceFeature.localMemory48KiB.examine(on: context)
    #expect(finding.works == false)
    #expect(finding.reason.contains("no such instruction"))
  }

  @Test func ratesNameTheKernelThatDoesTheWork() async throws {
    let rate = try await KernelRate(of: "gemm 64x64 64x64 weight", on: DeviceUnderTest.backend, runs: 2)
    #expect(rate.kernel.name.hasPrefix("matrix_multiply"))
    #expect(rate.seconds > 0 && rate.gigaflops > 0 && rate.gigabytes > 0)
    for line in RateProblems.products(images: 2) + RateProblems.memoryBound { _ = try Problem(line) }
    await #expect(throws: ComputeError.self) { try await KernelRate(of: "gemm nonsense", on: DeviceUnderTest.backend) }
  }

  @Test func limitsAreMeasured() throws {
    let limits = try DeviceLimits.measured(on: DeviceUnderTest.backend.context, bytes: 8 << 20)
    #expect(limits.gigaflopsPerSecond > 0.1 && limits.gigabytesPerSecond > 0.1)
    let record = KernelRecord(name: "", family: "", shape: [], operations: 1_000_000, bytes: 0)
    #expect(abs(limits.seconds(record) * limits.gigaflopsPerSecond - 1e-3) < 1e-9)
  }
}
