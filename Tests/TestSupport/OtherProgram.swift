import Foundation

/// A program that a test runs in a process of its own.
package struct OtherProgram: Sendable {
  /// How it ended: 0 for well, as a rule.
  package let status: Int32
  /// What it wrote, to the standard output and to the standard error.
  package let output: String

  /// Runs the program to its end.
  /// - Parameter environment: what its environment holds besides this process's.
  package init(_ program: URL, _ arguments: [String], environment: [String: String] = [:]) async throws {
    let folder = try TemporaryFolder()
    let process = Process()
    process.executableURL = program
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    // A file: a pipe that nobody empties would stop a program that prints much.
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
    // What is no text, such as the end of a program that broke off, must not hide the rest.
    output = String(decoding: try Data(contentsOf: URL(filePath: log)), as: UTF8.self)
    status = process.terminationStatus
  }
}
