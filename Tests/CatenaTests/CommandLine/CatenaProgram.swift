import Foundation
import TestSupport
import Testing

/// How a program ended and what it said.
struct ProgramResult: CustomStringConvertible {
  var exitCode: Int32
  /// Whether a signal ended it.
  var isSignalled: Bool
  var output: String
  var errors: String

  var description: String {
    "\(isSignalled ? "ended by signal" : "exit code") \(exitCode)\nstandard output:\n\(output)\nstandard error:\n\(errors)"
  }

  /// Standard output as JSON.
  func json() throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
  }
}

/// The program `catena` as it was built, run as a user runs it.
enum CatenaProgram {
  /// The program lies beside the tests.
  static let url = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    .appending(path: "catena")

  /// Why the tests of the program are skipped, empty when it is there.
  static let absence =
    FileManager.default.isExecutableFile(atPath: url.path) ? "" : "the program is not built: no \(url.path)"

  /// Runs it to its end.
  static func run(_ arguments: [String]) async throws -> ProgramResult {
    try await RunningProgram(url, arguments).result()
  }

  /// Runs a line of bash in which "$catena" is the program and "$1", "$2"... are `arguments`.
  static func shell(_ line: String, _ arguments: [String] = []) async throws -> ProgramResult {
    try await RunningProgram(URL(filePath: "/bin/bash"), ["-c", "catena=\(url.path); \(line)", "bash"] + arguments)
      .result()
  }
}

/// A program while it runs. Its output goes to files: nobody has to read a pipe for it to go on.
final class RunningProgram: Sendable {
  private let process: Process
  private let folder: TemporaryFolder
  private let ended: AsyncStream<Void>

  init(_ program: URL, _ arguments: [String]) throws {
    folder = try TemporaryFolder()
    process = Process()
    process.executableURL = program
    process.arguments = arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: URL(filePath: folder.write([], to: "output")))
    process.standardError = try FileHandle(forWritingTo: URL(filePath: folder.write([], to: "errors")))
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
    ended = stream
    process.terminationHandler = { _ in continuation.finish() }
    try process.run()
  }

  /// What it has written to standard error so far.
  var errors: String { get throws { try String(decoding: folder.bytes(of: "errors"), as: UTF8.self) } }

  var isRunning: Bool { process.isRunning }

  /// Waits until standard error has `text` in it.
  func waits(for text: String, seconds: Double = 120) async throws -> Bool {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while Date() < deadline, process.isRunning {
      if try errors.contains(text) { return true }
      try await Task.sleep(for: .milliseconds(20))
    }
    return try errors.contains(text)
  }

  /// Sends it a signal.
  func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

  /// Waits for its end.
  func result() async throws -> ProgramResult {
    for await _ in ended {}
    return ProgramResult(
      exitCode: process.terminationStatus, isSignalled: process.terminationReason == .uncaughtSignal,
      output: String(decoding: try folder.bytes(of: "output"), as: UTF8.self), errors: try errors)
  }
}

/// What ships with the repository, by its use here.
enum Shipped {
  static let network = Assets.samples.appending(path: "models/mlperf_tiny_resnet8.onnx").path
  static let otherNetwork = Assets.samples.appending(path: "models/cifar10_resnet20.onnx").path
  static let records = Assets.samples.appending(path: "images/cifar10_demo.bin").path
  static let images = Assets.samples.appending(path: "images/imagenet").path

  /// `chain` on the small network, quickly: what it finds does not matter.
  static func chain(_ request: String..., out: String, images: String = records) -> [String] {
    ["chain", network, images, "--preprocess", "raw", "--steps", "4", "--batch", "20", "--out", out] + request
  }
}
