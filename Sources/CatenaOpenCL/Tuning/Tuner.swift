import CatenaCompute
import CatenaGraph
import CatenaProblems
import CatenaTensors
import Foundation

/// Looks for faster shapes of kernels on one device, and trusts none whose results it has not compared with those of the
/// plain kernels.
package struct Tuner: Sendable {
  /// What became of a candidate.
  package enum Verdict: Sendable, Hashable {
    /// Its results were right; its time as part of the time of the device's own shapes.
    case right(time: Double, error: Double)
    /// Its results differed from the plain kernels' by that much of the largest, in that problem.
    case wrong(error: Double, problem: String)
    /// It did not build or run.
    case failed(reason: String)
  }
  /// A candidate and its verdict.
  package struct Trial: Sendable, Hashable {
    package var traits: DeviceTraits
    package var verdict: Verdict
  }
  /// What was found for a family.
  package struct Finding: Sendable, Hashable {
    package var family: KernelFamily
    package var trials: [Trial]
    /// The shapes to use; `nil` when none is faster than the device's own.
    package var chosen: DeviceTraits?
    /// How many times faster they are than the device's own.
    package var speedup: Double
  }

  /// How far results may be from the plain kernels', relative to the largest: sums are formed in another order.
  package static let tolerance = problemTolerance
  /// A candidate must take at most this part of the time of the device's own shapes: less is noise.
  private static let leastGain = 0.97

  private let context: OpenCLContext
  private let own: KernelTraits
  /// Rounds of timing, in each of which the device's own shapes and the candidate take turns.
  private let rounds: Int
  private let samples: Int

  /// A tuner for the device of `context`.
  /// - Parameters:
  ///   - rounds: rounds of timing; the fastest counts.
  ///   - samples: the size of the problems that are timed; by default what keeps a device of that kind busy.
  package init(_ context: OpenCLContext, rounds: Int = 5, samples: Int? = nil) {
    self.context = context
    own = context.traits.untuned
    self.rounds = rounds
    self.samples = samples ?? (context.device.kind == .cpu ? 1 : 16)
  }

  /// Tries all `candidates` of a family.
  /// - Parameter tried: called after each.
  /// - Throws: `ComputeError.deviceLost` and `.cancelled`; what else goes wrong with a candidate is its verdict.
  package func tune(
    _ family: KernelFamily, candidates: [DeviceTraits]? = nil, tried: (Trial) -> Void = { _ in }
  ) async throws(ComputeError) -> Finding {
    let candidates = candidates ?? TuningCandidates.traits(family, on: context.device)
    var plain = own
    // The kernels without tiles are the ones that everything else is compared with.
    plain.tuned[family] = own.device.with(\.tile, nil)
    var checks: [(problem: Problem, expected: [Tensor])] = []
    for line in TuningCandidates.checks(family) {
      let problem = try Self.problem(line)
      checks.append((problem, try await results(problem, plain)))
    }
    let timings = try TuningCandidates.timings(family, samples: samples).map { line throws(ComputeError) in
      try Self.problem(line)
    }
    var finding = Finding(family: family, trials: [], chosen: nil, speedup: 1)
    for traits in candidates {
      if Task.isCancelled { throw .cancelled }
      let trial = Trial(traits: traits, verdict: try await verdict(traits, family, checks, timings))
      tried(trial)
      finding.trials.append(trial)
      if case .right(let time, _) = trial.verdict, time <= Self.leastGain, 1 / time > finding.speedup {
        (finding.chosen, finding.speedup) = (traits, 1 / time)
      }
    }
    return finding
  }

  /// Tunes a family and keeps what was found; where nothing is faster, what was kept before goes.
  /// - Returns: The finding, and whether the store took it.
  package func tune(
    _ family: KernelFamily, keepingIn store: TuningStore, tried: (Trial) -> Void = { _ in }
  ) async throws(ComputeError) -> (finding: Finding, isKept: Bool) {
    let finding = try await tune(family, tried: tried)
    guard let chosen = finding.chosen else {
      store.remove(family, context.device)
      return (finding, store.isAvailable)
    }
    let entry = TuningStore.Entry(
      device: context.device, family: family, traits: chosen, speedup: finding.speedup)
    return (finding, store.save(entry, family, context.device))
  }

  // MARK: One candidate

  private func verdict(
    _ traits: DeviceTraits, _ family: KernelFamily, _ checks: [(problem: Problem, expected: [Tensor])],
    _ timings: [Problem]
  ) async throws(ComputeError) -> Verdict {
    var shapes = own
    shapes.tuned[family] = traits
    do throws(ComputeError) {
      var largest = 0.0
      for (problem, expected) in checks {
        let error = Self.error(try await results(problem, shapes), expected)
        largest = max(largest, error)
        if !(error <= Self.tolerance) { return .wrong(error: error, problem: problem.description) }
      }
      var logarithms = 0.0
      for problem in timings { logarithms += try await logarithmOfTime(problem, shapes, family) }
      return .right(time: exp(logarithms / Double(max(timings.count, 1))), error: largest)
    } catch {
      switch error {
      case .deviceLost, .cancelled: throw error
      default: return .failed(reason: error.description)
      }
    }
  }

  /// The largest difference, relative to the largest number expected.
  private static func error(_ found: [Tensor], _ expected: [Tensor]) -> Double {
    var error = 0.0
    for (found, expected) in zip(found, expected) {
      let wanted = expected.floats
      let magnitude = wanted.reduce(Float.leastNormalMagnitude) { max($0, abs($1)) }
      for (found, wanted) in zip(found.floats, wanted) {
        guard found.isFinite else { return .infinity }
        error = max(error, Double(abs(found - wanted) / magnitude))
      }
    }
    return error
  }

  private static func problem(_ line: String) throws(ComputeError) -> Problem {
    do { return try Problem(line) } catch { throw .mismatch("\(error)") }
  }

  private func filled(_ problem: Problem, _ traits: KernelTraits) async throws(ComputeError) -> OpenCLExecutable {
    let (graph, inputs): (Graph, [Tensor])
    do throws(GraphError) {
      let operands = try problem.tensors(.reals)
      graph = try problem.graph(weights: operands)
      inputs = zip(problem.operands, operands).filter { !$0.0.isWeight }.map(\.1)
    } catch { throw .invalidGraph(error) }
    let backend = OpenCLBackend(context: OpenCLContext(context, traits: traits), tensorPolicy: TensorPolicy.none)
    let executable = try await backend.executable(Program(graph), options: CompileOptions())
    for (input, tensor) in zip(graph.inputs, inputs) { try await executable.write(tensor, to: input) }
    return executable
  }

  private func results(_ problem: Problem, _ traits: KernelTraits) async throws(ComputeError) -> [Tensor] {
    let executable = try await filled(problem, traits)
    try await executable.run(steps: 1)
    var results: [Tensor] = []
    for output in executable.outputs { results.append(try await executable.read(output)) }
    return results
  }

  /// The logarithm of the candidate's time as part of that of the device's own shapes, in the kernels of the family.
  private func logarithmOfTime(
    _ problem: Problem, _ traits: KernelTraits, _ family: KernelFamily
  ) async throws(ComputeError) -> Double {
    let both = [try await filled(problem, own), try await filled(problem, traits)]
    var least = [Double.infinity, Double.infinity]
    for _ in 0..<rounds {
      for (index, executable) in both.enumerated() {
        let seconds = zip(executable.records, try await executable.runTimed())
          .filter { $0.0.family == family.rawValue }.reduce(0) { $0 + $1.1 }
        least[index] = min(least[index], seconds)
      }
    }
    return least[0] > 0 && least[1] > 0 ? log(least[1] / least[0]) : 0
  }
}
