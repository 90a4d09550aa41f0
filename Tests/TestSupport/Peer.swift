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
    let folder = try TemporaryFolder()
    let process = Process()
    process.executableURL = python
    process.arguments = [Assets.repository.appending(path: "Tools/peers/\(script)").path] + arguments
    // A file: a pipe that nobody empties would stop a script that prints much.
    let log = folder.file("log")
    try Data().write(to: URL(filePath: log))
    let handle = try FileHandle(forWritingTo: URL(filePath: log))
    process.standardOutput = handle
    process.standardError = handle
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      process.terminationHandler = { _ in continuation.resume() }
      do { try process.run() } catch { continuation.resume(throwing: error) }
    }
    try handle.close()
    let output = try String(contentsOfFile: log, encoding: .utf8)
    guard process.terminationStatus == 0 else {
      throw Failure(description: "\(script) failed with status \(process.terminationStatus):\n\(output.suffix(4000))")
    }
    return output
  }
}
