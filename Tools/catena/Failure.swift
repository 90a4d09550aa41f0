import ArgumentParser
import Catena
import Dispatch
import Foundation

/// Exit codes, the same in all commands.
enum ExitStatus {
  static let failed = ExitCode(1)
  static let notMet = ExitCode(2)
  static let badInput = ExitCode(65)
  static let stopped = ExitCode(75)
}

/// Runs a command's work so that it ends with the right exit code: errors are printed once, on standard error, and
/// Ctrl-C cancels the work, which then stops between two steps and leaves no half-written result.
func reportingFailures(_ work: @escaping @Sendable () async throws -> Void) async throws {
  let task = Task { try await work() }
  let interrupts = [SIGINT, SIGTERM].map { number in
    signal(number, SIG_IGN)
    let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
    source.setEventHandler {
      // The second time the user means it.
      if task.isCancelled { exit(130) }
      Output.note("\nstopping after the step in progress; once more to stop at once")
      task.cancel()
    }
    source.resume()
    return source
  }
  defer { for source in interrupts { source.cancel() } }
  do {
    try await task.value
  } catch {
    throw exitCode(reporting: error)
  }
}

private func exitCode(reporting error: any Error) -> any Error {
  switch error {
  case is ExitCode, is ValidationError: return error
  case is CancellationError: return stopped()
  case ComputeError.cancelled: return stopped()
  case let error as ChainError:
    Output.note("error: \(error)")
    switch error {
    case .unreachable: return ExitCode(64)
    case .verification: return ExitStatus.failed
    case .emptyRegion, .mismatch, .noUnits, .unsupportedOutput: return ExitStatus.badInput
    }
  case let error as FileError:
    Output.note("error: \(error)")
    return exitCode(of: error.kind)
  case is ONNXError, is GraphError:
    Output.note("error: \(error)")
    return ExitStatus.badInput
  default:
    Output.note("error: \(error)")
    return ExitStatus.failed
  }
}

private func exitCode(of kind: FileError.Kind) -> ExitCode {
  switch kind {
  case .unwritable, .diskFull, .exists: ExitStatus.failed
  case .badArgument: ExitCode(64)
  case .missing, .unreadable, .truncated, .malformed, .unsupported, .tooLarge, .unsuitable: ExitStatus.badInput
  }
}

private func stopped() -> ExitCode {
  Output.note("stopped; nothing was written")
  return ExitStatus.stopped
}
