import ArgumentParser
import Catena
import CatenaCPU
import Dispatch
import Foundation

struct BenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measures inference and extraction steps on the CPU back end, and the kernels of an OpenCL device.",
    discussion: """
      Absolute times on a shared machine are noise; Tools/bench/compare interleaves these jobs with other engines and \
      reports ratios.
      """,
    subcommands: [
      Machine.self, Inference.self, Step.self, Kernels.self, Chains.self, Explain.self, Gates.self, Device.self,
    ],
    defaultSubcommand: Device.self)
}

// MARK: Options

/// What runs jobs.
struct ThreadOption: ParsableArguments {
  @Option(help: "Threads; by default what the affinity mask and the control group allow.")
  var threads: Int?

  func validate() throws {
    try checkCount(threads, "--threads", most: 4096)
  }

  var backend: CPUBackend { CPUBackend(threads: threads) }
}

/// How jobs are timed.
struct TimingOptions: ParsableArguments {
  @Option(help: "Timed runs.")
  var runs = 7

  @Option(help: "Runs before the first that counts.")
  var warmUp = 2

  @OptionGroup private var processor: ThreadOption

  func validate() throws {
    try checkCount(runs, "--runs")
    if warmUp < 0 { throw ValidationError("--warm-up must not be negative") }
  }

  var backend: CPUBackend { processor.backend }

  /// The seconds of every run.
  func seconds(of job: () async throws -> Void) async throws -> [Double] {
    for _ in 0..<warmUp { try await job() }
    var samples: [Double] = []
    for _ in 0..<runs { samples.append(try await elapsed(job)) }
    return samples
  }
}

/// What runs.
struct WorkOptions: ParsableArguments {
  @Argument(help: "An ONNX file.", completion: .file(extensions: ["onnx"]))
  var model: String

  @Option(help: "Samples per run.")
  var batch = 20

  @Option(help: "Preprocessed samples (.npy, N first) instead of random ones.")
  var samples: String?

  @Option(help: "The lowest precision that products may be computed in.")
  var precision: Precision = .f32

  /// How the job's program is compiled.
  var options: CompileOptions { CompileOptions(precision: precision) }

  func validate() throws {
    try checkCount(batch, "--batch", most: 1_000_000)
  }

  /// `count` samples of the shape that the network reads.
  func tensor(count: Int, like shape: Shape) throws -> Tensor {
    let wanted = Shape([count] + shape.dimensions.dropFirst())
    if let samples {
      let tensor = try NPY.read(samples)
      guard tensor.shape == wanted, tensor.elementType == .float32 else {
        throw ValidationError(
          "\(samples) holds \(tensor.elementType.rawValue) \(tensor.shape); needed is f32 \(wanted)")
      }
      return tensor
    }
    var generator = SeededGenerator(seed: 0)
    let elements = (0..<wanted.elementCount).map { _ in Float(2 * generator.uniform() - 1) * 1.7320508 }
    return Tensor(elements, shape: wanted)
  }
}

struct RegionOption: ParsableArguments {
  @Option(help: "Regions that the samples are shared out to.")
  var regions = 1

  func validate() throws {
    try checkCount(regions, "--regions")
  }
}

// MARK: Jobs

extension BenchCommand {
  struct Machine: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Measures what the processor can do: multiply-adds on registers, copies of blocks of several sizes.")

    @OptionGroup private var processor: ThreadOption

    func run() async throws {
      let command = self
      try await reportingFailures { try Output.json(await command.processor.backend.limits()) }
    }
  }

  struct Inference: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Times a network's own run, input and output included.")

    @OptionGroup private var work: WorkOptions
    @OptionGroup private var timing: TimingOptions

    @Flag(help: "Answer each line 'run' on standard input with the seconds of one run.")
    var serve = false

    func run() async throws {
      let command = self
      try await reportingFailures {
        let job = try await InferenceJob(command.work, command.timing.backend)
        try await report(job, command.timing, serves: command.serve)
      }
    }
  }

  struct Step: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Times an optimisation step of a chain: forward, divergence, backward, update.")

    @OptionGroup private var work: WorkOptions
    @OptionGroup private var region: RegionOption
    @OptionGroup private var timing: TimingOptions

    @Flag(help: "Answer each line 'run' on standard input with the seconds of one step.")
    var serve = false

    func run() async throws {
      let command = self
      try await reportingFailures {
        let job = try await StepJob(command.work, regions: command.region.regions, command.timing.backend)
        try await report(job, command.timing, serves: command.serve)
      }
    }
  }

  struct Gates: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Prints the gated values of a network, as Tools/peers/gated_step.py reads them.")

    @Argument(help: "An ONNX file.", completion: .file(extensions: ["onnx"]))
    var model: String

    func run() async throws {
      let command = self
      try await reportingFailures {
        try Output.json(GateDescription(try ChainNetwork(model: ONNXModel(contentsOf: command.model), batch: 1)))
      }
    }
  }
}

/// Something that runs again and again.
protocol BenchJob: Sendable {
  var executable: any Executable { get }
  func run() async throws
}

struct InferenceJob: BenchJob {
  let executable: any Executable
  private let input: ValueID
  private let output: ValueID
  private let samples: Tensor

  init(_ work: WorkOptions, _ backend: CPUBackend) async throws {
    let model = try ONNXModel(contentsOf: work.model)
    let graph = try model.graph(batch: model.fixedBatch ?? work.batch).pruned()
    (input, output) = (graph.inputs[0], graph.outputs[0])
    samples = try work.tensor(count: graph.shape(input)[0], like: graph.shape(input))
    executable = try await backend.compile(Program(graph), options: work.options)
  }

  func run() async throws {
    try await executable.write(samples, to: input)
    try await executable.run(steps: 1)
    _ = try await executable.read(output)
  }
}

struct StepJob: BenchJob {
  private let optimizer: ChainOptimizer
  var executable: any Executable { optimizer.executable }

  init(_ work: WorkOptions, regions count: Int, _ backend: CPUBackend) async throws {
    guard work.batch.isMultiple(of: count) else {
      throw ValidationError("--batch must be a multiple of --regions")
    }
    let model = try ONNXModel(contentsOf: work.model)
    let size = work.batch / count
    let network = try ChainNetwork(model: model, batch: size)
    let all = try work.tensor(count: work.batch, like: network.graph.shape(network.graph.inputs[0]))
    let regions = try (0..<count).map { index in
      let names = (0..<size).map { "sample \(index * size + $0)" }
      return try Region(name: "region \(index)", samples: all.firstAxis(index, of: count), sampleNames: names)
    }
    let dense = try await Self.denseLogits(of: regions, model, size, backend)
    var settings = ChainSettings()
    settings.batch = work.batch
    optimizer = try await ChainOptimizer(
      network: network, regions: regions, dense: dense, keep: [Double](repeating: 0.05, count: count),
      settings: settings, backend: backend, options: work.options)
  }

  private static func denseLogits(
    of regions: [Region], _ model: ONNXModel, _ batch: Int, _ backend: CPUBackend
  ) async throws -> [[[Float]]] {
    let runner = try await NetworkRunner(model: model, batch: batch, backend: backend)
    var logits: [[[Float]]] = []
    for region in regions { logits.append(try await runner.logits(of: region)) }
    return logits
  }

  func run() async throws { try await optimizer.advance(by: 1) }
}

extension Tensor {
  /// Part `index` of `count` equal parts along the first axis.
  fileprivate func firstAxis(_ index: Int, of count: Int) -> Tensor {
    let bytes = byteCount / count
    let partShape = Shape([shape[0] / count] + shape.dimensions.dropFirst())
    return withUnsafeBytes { source in
      Tensor(elementType: elementType, shape: partShape) { target in
        target.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[(index * bytes)..<((index + 1) * bytes)]))
      }
    }
  }
}

/// The gated values by the names of the file.
private struct GateDescription: Encodable {
  struct Gate: Encodable {
    var value: String
    var axis: Int
    var offset = 0
    var count: Int
    var branch: Int?
  }
  struct Branch: Encodable { var value: String }
  var gates: [Gate]
  var branches: [Branch]

  init(_ network: ChainNetwork) {
    let graph = network.graph
    gates = network.sites.layers.map { layer in
      Gate(value: graph[layer.value].name, axis: layer.axis, count: layer.count, branch: layer.block)
    }
    branches = network.sites.blocks.map { Branch(value: graph[$0.branch].name) }
  }
}

// MARK: Times

private func elapsed(_ job: () async throws -> Void) async throws -> Double {
  let start = DispatchTime.now().uptimeNanoseconds
  try await job()
  return Double(DispatchTime.now().uptimeNanoseconds - start) * 1e-9
}

private func median(_ samples: [Double]) -> Double {
  let sorted = samples.sorted()
  let middle = sorted.count / 2
  return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
}

/// The largest resident set of this process so far; getrusage would count that of the process that started this one.
private func peakResidentBytes() -> Int {
  guard let status = FileManager.default.contents(atPath: "/proc/self/status") else { return 0 }
  let line = String(decoding: status, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
  let kibibytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
  return (kibibytes ?? 0) * 1024
}

private struct TimingReport: Encodable {
  var runs: Int
  var medianSeconds: Double
  var minSeconds: Double
  var maxSeconds: Double
  var peakRSSBytes: Int
  var plannedBytes: Int
  var threads: Int
}

private func report(_ job: some BenchJob, _ timing: TimingOptions, serves: Bool) async throws {
  if serves { return try await serve(job, warmUp: timing.warmUp) }
  let samples = try await timing.seconds(of: job.run)
  try Output.json(
    TimingReport(
      runs: samples.count, medianSeconds: median(samples), minSeconds: samples.min() ?? 0,
      maxSeconds: samples.max() ?? 0, peakRSSBytes: peakResidentBytes(),
      plannedBytes: job.executable.memoryPlan.total, threads: timing.backend.device.threads))
}

/// Answers requests on standard input, in the words of Tools/peers/timing.py, so that a driver can interleave engines.
private func serve(_ job: some BenchJob, warmUp: Int) async throws {
  for _ in 0..<warmUp { try await job.run() }
  say("ready")
  loop: while let line = readLine() {
    switch line {
    case "run": say(String(format: "%.9f", try await elapsed(job.run)))
    case "quit": break loop
    case "": continue
    default: say("error: unknown request '\(line)'; expected 'run' or 'quit'")
    }
  }
  say(#"{"peakRSSBytes": \#(peakResidentBytes())}"#)
}

/// Prints a line at once, also into a pipe.
private func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
