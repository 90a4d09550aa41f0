import CatenaOpenCL
import Foundation
import TestSupport
import Testing

/// The tests of OpenCL on the devices other than the one under test: one process for each, in which it is that.
@Suite(.serialized, .enabled(if: !DeviceUnderTest.others.isEmpty, "skipped: there is one device, or it was named"))
struct EveryDeviceTests {
  /// The suites that use a device.
  private static let filter = "OpenCL|CatenaTests.Device"

  @Test(arguments: DeviceUnderTest.others.map(\.index))
  func theTestsPass(onDevice index: Int) async throws {
    let tests = try await OtherProgram(
      URL(filePath: "/proc/self/exe").resolvingSymlinksInPath(),
      ["--testing-library", "swift-testing", "--filter", Self.filter],
      environment: [DeviceUnderTest.variable: "\(index)"])
    let lines = tests.output.split(separator: "\n")
    let summary = lines.last { $0.contains("Test run with ") }
    print("opencl:\(index), \(OpenCLDevices.all[index].name): \(summary ?? "ended with code \(tests.status)")")
    if tests.status != 0 || summary == nil {
      let faults = lines.filter { $0.contains("✘") || $0.contains("Assertion") }
      Issue.record("\((faults.isEmpty ? lines.suffix(20) : faults).joined(separator: "\n"))")
    }
  }
}

/// A name that no device has must not look like success.
@Test(.enabled(if: DeviceUnderTest.isNamed, "skipped: no device was named"))
func theDeviceThatWasNamedCanBeUsed() {
  #expect(DeviceUnderTest.problem == nil)
}
