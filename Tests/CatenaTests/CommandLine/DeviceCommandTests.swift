import CatenaOpenCL
import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  @Suite(
    "tuning and qualifying", .enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? ""))
  )
  struct Device {
    /// `tune` with a folder of its own for what is found.
    private static let line = #"CATENA_CACHE="$1" exec "$catena" tune --device "$2" --rounds 1 "${@:3}""#

    private static var device: String { get throws { "opencl:\(try DeviceUnderTest.backend.context.device.index)" } }

    @Test("a folder that nothing can be kept in is found out before the work")
    func unwritable() async throws {
      let folder = try TemporaryFolder()
      let file = try folder.write([1], to: "file")
      let result = try await CatenaProgram.shell(Self.line, [file + "/cache", try Self.device, "--family", "softmax"])
      #expect(result.exitCode == 1 && result.errors.contains("nothing could be kept"), "\(result)")
      #expect(!result.output.contains("softmax"), "\(result)")
    }

    @Test("a report that cannot be written is found out before the work")
    func unwritableReport() async throws {
      let report = try TemporaryFolder().file("none/report.md")
      let result = try await CatenaProgram.run(["bench", "--device", try Self.device, "--qualify", "--out", report])
      #expect(result.exitCode == 1 && result.errors.contains(report), "\(result)")
      #expect(!result.errors.contains("examining"), "\(result)")
    }

    @Test("Ctrl-C keeps the families that are done, and says so")
    func interrupt() async throws {
      let folder = try TemporaryFolder()
      let program = try RunningProgram(
        URL(filePath: "/bin/bash"),
        ["-c", "catena=\(CatenaProgram.url.path); \(Self.line)", "bash", folder.file("cache"), try Self.device]
          + ["--family", "softmax", "--family", "movement"])
      #expect(try await program.waits(for: "movement"))
      program.send(SIGINT)
      let result = try await program.result()
      #expect(result.exitCode == 75 && result.errors.contains("what was found for softmax is kept"), "\(result)")
      #expect(!result.errors.contains("nothing was written"), "\(result)")
    }
  }
}
