import ArgumentParser
import Catena
import CatenaCPU
import Foundation

extension BenchCommand {
  struct Kernels: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Shows where the time of a step or of an inference goes, kernel by kernel.",
      discussion: """
        "limit" is the time that the processor's measured limits allow (the larger of operations over the rate of \
        multiply-adds in f32 on registers, and bytes over the rate of a copy of as many bytes) as part of the time \
        taken. Convolutions by minimal filtering count the operations that they save, and what reads more than it \
        writes can be faster than a copy: more than 100 % is possible. Single kernels are timed one after the other, \
        the fastest of the runs counts; each includes starting its threads.
        """)

    @OptionGroup private var work: WorkOptions
    @OptionGroup private var region: RegionOption
    @OptionGroup private var timing: TimingOptions

    @Flag(help: "Of an inference instead of a step.")
    var inference = false

    @Option(help: "How many single kernels to list, slowest first.")
    var top = 25

    @Flag(help: "Print JSON.")
    var json = false

    func run() async throws {
      let command = self
      try await reportingFailures {
        let limits = await command.timing.backend.limits()
        let backend = command.timing.backend
        let job: any BenchJob =
          command.inference
          ? try await InferenceJob(command.work, backend)
          : try await StepJob(command.work, regions: command.region.regions, backend)
        let profile = try await Profile(of: job, command.timing, limits: limits)
        if command.json { return try Output.json(profile) }
        print(profile.text(top: command.top))
      }
    }
  }
}

/// Where the time goes.
private struct Profile: Encodable {
  struct Row: Encodable {
    var kernel: KernelRecord
    /// The fastest of the runs, as the limits are: what else the machine does hits single kernels at random.
    var seconds: Double
    var limitSeconds: Double
  }
  struct Class: Encodable {
    var kind: String
    var implementation: String
    var kernels: Int
    var seconds: Double
    var limitSeconds: Double
    var operations: Int
    var bytes: Int
  }
  var limits: ProcessorLimits
  /// The fastest whole run, in which kernels are not timed singly.
  var secondsPerRun: Double
  var rows: [Row]

  init(of job: some BenchJob, _ timing: TimingOptions, limits: ProcessorLimits) async throws {
    guard let executable = job.executable as? CPUExecutable else {
      throw ComputeError.mismatch("only the CPU back end times single kernels")
    }
    self.limits = limits
    secondsPerRun = try await timing.seconds(of: job.run).min() ?? 0
    var runs: [[Double]] = []
    for _ in 0..<timing.runs { runs.append(try await executable.runTimed()) }
    rows = executable.kernels.enumerated().map { index, kernel in
      Row(
        kernel: kernel, seconds: runs.map { $0[index] }.min() ?? 0,
        limitSeconds: limits.seconds(operations: kernel.operations, bytes: kernel.bytes))
    }
  }

  /// Kernels of one kind and implementation together, slowest first.
  private var classes: [Class] {
    let grouped = Dictionary(grouping: rows) { [$0.kernel.kind, $0.kernel.implementation] }
    return grouped.map { key, rows in
      Class(
        kind: key[0], implementation: key[1], kernels: rows.count, seconds: rows.reduce(0) { $0 + $1.seconds },
        limitSeconds: rows.reduce(0) { $0 + $1.limitSeconds },
        operations: rows.reduce(0) { $0 + $1.kernel.operations }, bytes: rows.reduce(0) { $0 + $1.kernel.bytes })
    }.sorted { ($1.seconds, $0.kind) < ($0.seconds, $1.kind) }
  }

  func text(top: Int) -> String {
    let total = rows.reduce(0) { $0 + $1.seconds }
    let headings = ["ms", "share", "GFLOP/s", "GB/s", "limit"]
    func numbers(_ seconds: Double, _ operations: Int, _ bytes: Int, _ limit: Double) -> [String] {
      let rates = [Double(operations), Double(bytes)].map { seconds > 0 ? $0 / seconds * 1e-9 : 0 }
      return [String(format: "%.3f", seconds * 1e3), Output.percent(total > 0 ? seconds / total : 0)]
        + rates.map { String(format: "%.1f", $0) } + [Output.percent(seconds > 0 ? limit / seconds : 0)]
    }
    let byClass = classes.map { entry in
      numbers(entry.seconds, entry.operations, entry.bytes, entry.limitSeconds)
        + ["\(entry.kernels)", entry.kind, entry.implementation]
    }
    let single = rows.sorted { $0.seconds > $1.seconds }.prefix(top).map { row in
      numbers(row.seconds, row.kernel.operations, row.kernel.bytes, row.limitSeconds)
        + [row.kernel.shape.description, row.kernel.kind, row.kernel.implementation, row.kernel.name]
    }
    let limit = rows.reduce(0) { $0 + $1.limitSeconds }
    return String(
      format: "%@ measured; %.3f ms a run, %.3f ms in %d kernels, %.3f ms at the limits\n\n",
      limits.description, secondsPerRun * 1e3, total * 1e3, rows.count, limit * 1e3)
      + Output.table(headings + ["kernels", "kind", "implementation"], byClass) + "\n\n"
      + Output.table(headings + ["shape", "kind", "implementation", "name"], Array(single))
  }
}
