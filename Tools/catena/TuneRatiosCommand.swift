import ArgumentParser
import Catena
import Foundation

struct TuneRatiosCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tune-ratios",
    abstract: "Finds how much of its connections each layer of a network can lose in a trace.",
    discussion: """
      Every layer is pruned alone first, at several ratios, to see what that costs. \
      Then all layers share one limit for that cost: the largest at which the traces \
      of the images keep the prediction on enough of them. The file is what \
      'catena trace --ratios' reads. Use images that you do not judge traces on.

      Examples:
        catena tune-ratios model.onnx photos/ --out ratios.json
        catena tune-ratios cifar.onnx 'data.bin#0-49' --preprocess cifar10 \\
          --augmentations 256 --solver exact --out ratios.json

      Stopped with Ctrl-C or killed, the same command goes on where it was: what is \
      known lies beside the output, in FILE.unfinished, until it is done.

      \(SampleOptions.explanation)
      """)

  @Argument(help: "An ONNX file.", completion: .file(extensions: ["onnx"]))
  var model: String

  @OptionGroup var samples: SampleOptions

  @Option(help: "The solver that the ratios are for: fast or exact.")
  var solver: TraceSolver = .fast

  @Option(help: "What the exact solver removes at once from a convolution: kernel, tap or weight.")
  var blocks: PruningMethod.Blocks?

  @Option(
    help: "The part of the images whose prediction traces must keep, as 95%.", transform: Fraction.init(parsing:))
  var kept: Fraction?

  @Option(
    help: "The part of the images' random views whose prediction traces must keep.",
    transform: Fraction.init(parsing:))
  var agreement: Fraction?

  @Option(help: "Images on which every layer is tried alone.")
  var probes: Int?

  @Option(help: "Random views of each image on which the layers' responses are preserved.")
  var augmentations: Int?

  @Option(help: ArgumentHelp("The file to write.", valueName: "file"))
  var out: String

  @Flag(help: "Replace a file that exists.")
  var overwrite = false

  @Option(help: "Seed of the augmentations.")
  var seed: UInt64 = 0

  @Option(help: "Images per run of the network.")
  var batch: Int?

  @OptionGroup var device: DeviceOptions

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    if blocks != nil, solver != .exact { throw ValidationError("--blocks belongs to --solver exact") }
    for (name, value) in [("--augmentations", augmentations), ("--batch", batch), ("--probes", probes)] {
      if let value, value < 1 { throw ValidationError("\(name) must be at least 1") }
    }
  }

  func run() async throws {
    let command = self
    try await reportingFailures(of: model) { try await command.tune() }
  }

  private func tune() async throws {
    let pictures = try samples.pictures()
    let source = try ONNXModel(contentsOf: model)
    try Output.refuseExisting(out, overwrite: overwrite)
    let engine = try device.openEngine()
    Output.note(engine.description)
    let tuner = try tuner(source, engine)
    let unfinished = UnfinishedWork(of: out)
    let record = try unfinished.record(orEmpty: tuner.emptyRecord(for: pictures))
    let line = ProgressLine()
    let found = try await unfinished.resumable(line) {
      try await tuner.ratios(
        for: pictures, resuming: record,
        progress: { line.show($0.stage.rawValue, $0.completed, of: $0.total) },
        checkpoint: { try unfinished.keep($0) })
    }
    line.finish()
    try AtomicFile.write(Output.encoded(found.chosen.ratios), to: out)
    try unfinished.drop()
    if json { try Output.json(found) } else { try report(found) }
    if !found.isMet { throw ExitStatus.notMet }
  }

  private func tuner(_ source: ONNXModel, _ engine: Engine) throws -> RatioTuner {
    var settings = TraceSettings()
    settings.solver = solver
    settings.blocks = blocks ?? settings.blocks
    settings.seed = seed
    if let augmentations { settings.augmentations = augmentations }
    settings.setBatch(batch, for: source)
    var tuning = TuningSettings()
    if let kept { tuning.kept = kept.value }
    if let agreement { tuning.agreement = agreement.value }
    if let probes { tuning.probes = probes }
    return try RatioTuner(
      network: try TraceNetwork(model: source, batch: settings.batch), backend: engine.backend, solvers: engine.solvers,
      preprocessing: try samples.preprocessing(), settings: settings, tuning: tuning, options: engine.compileOptions)
  }

  private func report(_ found: TunedRatios) throws {
    let rows = found.levels.map { level in
      [
        String(format: "%.4f", level.limit), Output.percent(level.sparsity), Output.percent(level.kept),
        Output.percent(level.agreement), level == found.chosen ? "chosen" : "",
      ]
    }
    let layers = found.chosen.ratios.sorted { $0.key < $1.key }.map { "  \($0.key)  \(Output.percent($0.value))" }
    try Output.line(
      """
      \(Output.table(["limit", "removed", "prediction kept", "views kept", ""], rows))

      \(layers.isEmpty ? "no layer bears any ratio" : layers.joined(separator: "\n"))

      \(found.isMet ? "" : "less is kept than was asked for; the best level was taken\n")\(out)
      """)
  }
}
