import Foundation

/// The Python scripts in `Tools/peers`, which compute what tests compare with.
package enum Peer {
  /// A script failed.
  package struct Failure: Error, CustomStringConvertible {
    /// The script, its exit status and what it wrote.
    package let description: String
  }

  /// The Python with the peers, or why tests are skipped.
  package static var availability: Assets.Availability { Assets.python }

  /// Runs `Tools/peers/SCRIPT` and gives what it printed.
  /// - Precondition: the Python with the peers is there.
  @discardableResult
  package static func run(_ script: String, _ arguments: [String]) async throws -> String {
    guard let python = availability.url else { preconditionFailure("tests are skipped without the peers") }
    let program = try await OtherProgram(
      python, [Assets.repository.appending(path: "Tools/peers/\(script)").path] + arguments)
    guard program.status == 0 else {
      throw Failure(description: "\(script) failed with status \(program.status):\n\(program.output.suffix(4000))")
    }
    return program.output
  }
}
