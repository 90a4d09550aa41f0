import ArgumentParser
import Catena
import CatenaOpenCL
import Foundation

struct TuneCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tune", abstract: "Looks for faster shapes of the kernels on an OpenCL device.",
    discussion: """
      Every candidate's results are compared with the plain kernels' before it is \
      timed; what is wrong or fails is named and skipped. What is faster is kept \
      beside the built programs (CATENA_CACHE) and used from the next start on, \
      until the device, its driver or the kernels change. Nothing else should use \
      the device meanwhile.

      Examples:
        catena tune
        catena tune --device opencl:1 --family convolution --family gemm
        catena tune --forget
      """)

  @Option(help: "Which OpenCL device; by default the best GPU.")
  var device: DeviceChoice = .automatic

  @Option(help: ArgumentHelp("A family of kernels, instead of all; may be repeated.", valueName: "family"))
  var family: [String] = []

  @Option(help: "Rounds of timing; the fastest counts.")
  var rounds = 5

  @Flag(help: "Remove what was kept, and tune nothing.")
  var forget = false

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    try checkCount(rounds, "--rounds")
    let names = KernelFamily.tunable.map(\.rawValue)
    if let unknown = family.first(where: { !names.contains($0) }) {
      throw ValidationError("there is no family '\(unknown)' to tune; there are \(names.joined(separator: ", "))")
    }
  }

  func run() async throws {
    let command = self
    try await reportingFailures { try await command.tune() }
  }

  private func tune() async throws {
    let backend = try device.openCLBackend()
    let context = backend.context
    let store = TuningStore(cache: .standard)
    guard store.isAvailable else {
      throw ValidationError("there is no folder to keep anything in: CATENA_CACHE is off, or HOME is not set")
    }
    let families = KernelFamily.tunable.filter { family.isEmpty || family.contains($0.rawValue) }
    if forget {
      for family in families { store.remove(family, context.device) }
      return
    }
    guard store.isWritable else {
      Output.note("nothing could be kept: the folder of built programs cannot be written")
      throw ExitStatus.failed
    }
    Output.note("\(context.device.name) (\(backend.reason))")
    let tuner = Tuner(OpenCLContext(context, traits: context.traits.untuned), rounds: rounds)
    let line = ProgressLine()
    var rows: [TuningRow] = []
    var (kept, lost): ([String], [String]) = ([], [])
    for family in families {
      let count = TuningCandidates.traits(family, on: context.device).count
      var done = 0
      line.show(family.rawValue, 0, of: count)
      let (finding, isKept) = try await stoppable(keeping: kept, line) {
        try await tuner.tune(family, keepingIn: store) { _ in
          done += 1
          line.show(family.rawValue, done, of: count)
        }
      }
      rows += finding.trials.map { TuningRow($0, finding, context.traits.device) }
      if isKept { kept.append(family.rawValue) } else { lost.append(family.rawValue) }
    }
    line.finish()
    try show(rows)
    guard lost.isEmpty else {
      Output.note("\(lost.joined(separator: ", ")) could not be kept: the folder of built programs cannot be written")
      throw ExitStatus.failed
    }
  }

  /// Runs work behind which families are kept; when it is cancelled, says which.
  private func stoppable<Result>(
    keeping kept: [String], _ line: ProgressLine, _ work: () async throws -> Result
  ) async throws -> Result {
    do { return try await work() } catch  where isCancellation(error) && !kept.isEmpty {
      line.finish()
      Output.note("stopped; what was found for \(kept.joined(separator: ", ")) is kept")
      throw ExitStatus.stopped
    }
  }

  private func show(_ rows: [TuningRow]) throws {
    if json { return try Output.json(rows) }
    try Output.line(Output.table(["family", "candidate", "time", "error", ""], rows.map(\.cells)))
    try Output.line(
      "\ntime is a part of that of the device's own shapes, error the largest difference from the plain kernels")
  }
}

/// One candidate, for machines.
private struct TuningRow: Encodable {
  var family: String
  var candidate: String
  /// `right`, `wrong` or `failed`.
  var verdict: String
  var time: Double?
  var error: Double?
  var reason: String?
  var isChosen: Bool

  init(_ trial: Tuner.Trial, _ finding: Tuner.Finding, _ own: DeviceTraits) {
    family = finding.family.rawValue
    candidate = trial.traits.difference(from: own)
    isChosen = finding.chosen == trial.traits
    switch trial.verdict {
    case .right(let time, let error): (verdict, self.time, self.error) = ("right", time, error)
    case .wrong(let error, let problem):
      (verdict, self.error, reason) = ("wrong", error.isFinite ? error : nil, problem)
    case .failed(let reason): (verdict, self.reason) = ("failed", reason)
    }
  }

  var cells: [String] {
    let remark = isChosen ? "chosen" : verdict == "right" ? "" : "\(verdict): \(reason ?? "")"
    return [
      family, candidate, time.map { String(format: "%.2f", $0) } ?? "", error.map { String(format: "%.1e", $0) } ?? "",
      remark,
    ]
  }
}

extension DeviceChoice {
  /// The OpenCL device that is meant; `auto` is the best GPU.
  func openCLBackend() throws -> OpenCLBackend {
    switch self {
    case .automatic: try OpenCLBackend()
    case .openCL(let index): try OpenCLBackend(deviceAt: index)
    case .cpu, .reference: throw ValidationError("--device must be an OpenCL device, such as opencl:0")
    }
  }
}
