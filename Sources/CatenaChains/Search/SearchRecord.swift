import Foundation
import Logging

/// What a search did.
public struct SearchWork: Sendable, Hashable, Codable {
  /// Passes back for the gates' sensitivities, each about as long as a step.
  public var draws: Int
  /// Times that it settled.
  public var ends: Int
  /// Times that its straight phase ran again after them.
  public var restarts: Int
  /// Chains of other sizes that it went to from there.
  public var sizes: Int
  /// Steps, of all of these together.
  public var steps: Int
}

/// What one program of a search was, and the time it took.
package struct ProgramRecord: Sendable, Hashable {
  /// Its gates.
  package let phase: ChainProgram.Phase
  /// Units of the network that it runs.
  package let units: Int
  /// Those of them that the search has not given up.
  package let livingUnits: Int
  /// Multiplications with additions of one forward pass over all samples of a run.
  package let multiplyAdds: Int
  /// Steps made before it.
  package let firstStep: Int
  /// Seconds in which the network was cut, the program planned, compiled and given its state.
  package let makingSeconds: Double
  /// Steps made with it.
  package internal(set) var steps = 0
  /// Seconds of these steps.
  package internal(set) var runningSeconds = 0.0

  /// Seconds of one step, the mean.
  package var secondsPerStep: Double { runningSeconds / Double(max(steps, 1)) }
}

/// The stages of an extraction, timed where the environment asks for it (`CATENA_DEBUG` is 1 or 2).
struct ExtractionLog: Sendable {
  private let logger: Logger?

  init() {
    guard ["1", "2"].contains(ProcessInfo.processInfo.environment["CATENA_DEBUG"]) else {
      logger = nil
      return
    }
    var logger = Logger(label: "CatenaChains")
    logger.logLevel = .debug
    self.logger = logger
  }

  /// Says how long `work` took.
  func timed<Result>(_ name: String, _ work: () async throws -> Result) async rethrows -> Result {
    guard let logger else { return try await work() }
    let (result, seconds) = try await secondsOf(work)
    logger.debug("\(name): \(String(format: "%.1f ms", seconds * 1e3))")
    return result
  }

  /// One line per program, in the order in which they ran.
  func write(_ records: [ProgramRecord]) {
    guard let logger else { return }
    for record in records {
      let line = String(
        format: "%d units, %.1f million multiply-adds, made in %.1f ms, %d steps of %.2f ms", record.units,
        Double(record.multiplyAdds) * 1e-6, record.makingSeconds * 1e3, record.steps, record.secondsPerStep * 1e3)
      logger.debug("\(record.phase) from step \(record.firstStep): \(line)")
    }
  }
}

/// What `work` gives, and how long it took.
func secondsOf<Result>(_ work: () async throws -> Result) async rethrows -> (Result, Double) {
  let begin = ContinuousClock.now
  let result = try await work()
  let duration = (ContinuousClock.now - begin).components
  return (result, Double(duration.seconds) + Double(duration.attoseconds) * 1e-18)
}
