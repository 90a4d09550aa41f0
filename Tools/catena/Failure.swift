import ArgumentParser
import Catena
import Dispatch
import Foundation

/// Exit codes, the same in all commands.
enum ExitStatus {
  static let failed = ExitCode(1)
  static let notMet = ExitCode(2)
  static let badUsage = ExitCode(64)
  static let badInput = ExitCode(65)
  static let stopped = ExitCode(75)
}

/// Runs a command's work so that it ends with the right exit code: errors are printed once, on standard error, and
/// Ctrl-C cancels the work, which then stops between two steps and leaves no half-written result.
/// - Parameter model: The network's file, which errors about its content name.
func reportingFailures(
  of model: String? = nil, _ work: @escaping @Sendable () async throws -> Void
) async throws {
  let task = Task { try await work() }
  let interrupts = [SIGINT, SIGTERM, SIGHUP].map { number in
    signal(number, SIG_IGN)
    let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
    source.setEventHandler {
      // The second time the user means it.
      if task.isCancelled {
        Unfinished.removeAll()
        exit(ExitStatus.stopped.rawValue)
      }
      Output.note("\nstopping after the step in progress; once more to stop at once")
      task.cancel()
    }
    source.resume()
    return source
  }
  defer { for source in interrupts { source.cancel() } }
  do {
    try await task.value
  } catch let error as ExitCode {
    throw error
  } catch let error as ValidationError {
    throw error
  } catch  where isCancellation(error) {
    Output.note("stopped; nothing was written")
    throw ExitStatus.stopped
  } catch {
    Output.note("error: \(message(of: error, model: model))")
    throw exitCode(of: error)
  }
}

/// Whether a task was cancelled, which is what Ctrl-C does.
func isCancellation(_ error: any Error) -> Bool {
  if case ComputeError.cancelled = error { return true }
  if case ExplanationError.compute(.cancelled) = error { return true }
  return error is CancellationError
}

private func message(of error: any Error, model: String?) -> String {
  switch error {
  case ONNXError.file: "\(error)"
  case is ONNXError, is GraphError, ExplanationError.unsuitableNetwork, ExplanationError.unsupportedMethod,
    ExplanationError.model:
    model.map { "\($0): \(error)" } ?? "\(error)"
  default: "\(error)"
  }
}

private func exitCode(of error: any Error) -> ExitCode {
  switch error {
  case let error as ChainError:
    switch error {
    case .unreachable: ExitStatus.badUsage
    case .verification: ExitStatus.failed
    case .emptyRegion, .mismatch, .noUnits, .notFinite, .unsupportedOutput: ExitStatus.badInput
    }
  case let error as ExplanationError:
    switch error {
    case .badArgument: ExitStatus.badUsage
    case .unsuitableNetwork, .unsupportedMethod, .unsuitableSamples, .graph: ExitStatus.badInput
    case .model(let error): exitCode(of: error)
    case .compute: ExitStatus.failed
    }
  case let error as TraceError:
    switch error {
    case .ratios: ExitStatus.badUsage
    case .unsuitable, .notFinite, .malformed: ExitStatus.badInput
    case .layer: ExitStatus.failed
    }
  case let error as FileError: exitCode(of: error.kind)
  case ONNXError.file(let error): exitCode(of: error.kind)
  case is ONNXError, is GraphError: ExitStatus.badInput
  default: ExitStatus.failed
  }
}

private func exitCode(of kind: FileError.Kind) -> ExitCode {
  switch kind {
  case .unwritable, .diskFull, .exists: ExitStatus.failed
  case .badArgument: ExitStatus.badUsage
  case .missing, .unreadable, .truncated, .malformed, .unsupported, .tooLarge, .unsuitable: ExitStatus.badInput
  }
}
