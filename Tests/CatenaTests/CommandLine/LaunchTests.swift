import Foundation
import Testing

extension CommandLineTests {
  /// What the program does for its own process before anything else.
  @Suite("launch")
  struct LaunchTests {
    /// Standard error and the exit code show that it is the same program with the same arguments.
    @Test(
      "threads spin for a bounded time, unless the environment says how they wait",
      arguments: [
        (given: "", found: "'5000'"), (given: "GOMP_SPINCOUNT=77", found: "'77'"),
        (given: "OMP_WAIT_POLICY=passive", found: "'0'"),
      ])
    func spinning(given: String, found: String) async throws {
      // libgomp prints what it read when it is loaded.
      let result = try await CatenaProgram.shell(
        #"exec env -u GOMP_SPINCOUNT -u OMP_WAIT_POLICY OMP_DISPLAY_ENV=verbose \#(given) "$catena" "$@""#,
        ["chain", "a b", "--keep", "nothing"])
      #expect(result.exitCode == 64 && !result.isSignalled, "\(result)")
      #expect(result.errors.contains("nothing"), "\(result)")
      let printed = result.errors.split(separator: "\n").filter { $0.contains("GOMP_SPINCOUNT") }
      #expect(!printed.isEmpty && printed.allSatisfy { $0.hasSuffix(found) }, "\(result)")
    }

    @Test("a program that may not start itself again runs all the same")
    func loader() async throws {
      let result = try await CatenaProgram.shell(
        #"exec env -u GOMP_SPINCOUNT $(ls /lib64/ld-linux-*.so.* | head -n 1) "$catena" "$@""#, ["--version"])
      #expect(result.exitCode == 0 && !result.isSignalled, "\(result)")
      #expect(!result.output.isEmpty)
    }
  }
}
