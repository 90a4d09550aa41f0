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
      of the images keep the prediction on enough of them. After that, --depths groups \
      of layers get limits of their own, where that removes more connections (or \
      explains better, see below) and keeps as many predictions. The file is what \
      'catena trace --ratios' reads. Use images that you do not judge traces on.

      By default the ratios that remove the most are taken. With --trigger and \
      --target, as in 'catena evaluate trojan', the trigger is pasted into the images \
      and those ratios are taken whose traces' maps find it best; with --insertion \
      those whose maps have the highest insertion score.

      Examples:
        catena tune-ratios model.onnx photos/ --out ratios.json
        catena tune-ratios cifar.onnx 'data.bin#0-49' --preprocess cifar10 \\
          --augmentations 256 --solver exact --out ratios.json
        catena tune-ratios trojaned.onnx 'data.bin#400-439' --preprocess unit \
          --trigger patch.npy --target 5 --augmentations 256 --out ratios.json

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
    help: "The part of the images' random views whose prediction traces must keep; with --trigger none by default.",
    transform: Fraction.init(parsing:))
  var agreement: Fraction?

  @Option(help: "Images on which every layer is tried alone.")
  var probes: Int?

  @Option(help: "Groups of layers by depth with limits of their own; 1 for one limit.")
  var depths: Int?

  @OptionGroup var maps: TuningMapOptions

  @Option(help: "Random views of each image on which the layers' responses are preserved.")
  var augmentations: Int?

  @Option(help: ArgumentHelp("The file to write.", valueName: "file"))
  var out: String

  @Flag(help: "Replace a file that exists.")
  var overwrite = false

  @Option(help: "Images per run of the network.")
  var batch: Int?

  @OptionGroup var device: DeviceOptions

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    if blocks != nil, solver != .exact { throw ValidationError("--blocks belongs to --solver exact") }
    for (name, value) in [
      ("--augmentations", augmentations), ("--batch", batch), ("--probes", probes), ("--depths", depths),
    ] {
      try checkCount(value, name)
    }
  }

  func run() async throws {
    let command = self
    try await reportingFailures(of: model) { try await command.tune() }
  }

  private func tune() async throws {
    var pictures = try samples.pictures()
    let source = try ONNXModel(contentsOf: model)
    try Output.refuseExisting(
      out, overwrite: overwrite,
      keeping: [model, samples.preprocess] + (maps.trigger.map { [$0] } ?? []) + samples.paths)
    let engine = try device.openEngine()
    Output.note(engine.description)
    var preprocessing = try samples.preprocessing()
    let settings = settings(source)
    let network = try TraceNetwork(model: source, batch: settings.batch)
    let score = try await maps.score(network, engine, &pictures, &preprocessing)
    let tuner = try RatioTuner(
      network: network, backend: engine.backend, solvers: engine.solvers, preprocessing: preprocessing,
      settings: settings, tuning: tuning, score: score, options: engine.compileOptions)
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

  private func settings(_ source: ONNXModel) -> TraceSettings {
    var settings = TraceSettings()
    settings.solver = solver
    settings.blocks = blocks ?? settings.blocks
    settings.seed = maps.arguments.seed
    if let augmentations { settings.augmentations = augmentations }
    settings.setBatch(batch, for: source)
    return settings
  }

  private var tuning: TuningSettings {
    var tuning = TuningSettings()
    if let depths { tuning.depths = depths }
    if let kept { tuning.kept = kept.value }
    // Most random views lack a trigger: what becomes of them says nothing of it.
    if let agreement { tuning.agreement = agreement.value } else if maps.trigger != nil { tuning.agreement = 0 }
    if let probes { tuning.probes = probes }
    return tuning
  }

  private func report(_ found: TunedRatios) throws {
    let rows = found.levels.map { level in
      [
        level.limits.map { String(format: "%.4f", $0) }.joined(separator: " "), Output.percent(level.sparsity),
        Output.percent(level.kept),
        Output.percent(level.agreement), level.score.map { String(format: "%.4f", $0) } ?? "",
        level == found.chosen ? "chosen" : "",
      ]
    }
    let layers = found.chosen.ratios.sorted { $0.key < $1.key }.map { "  \($0.key)  \(Output.percent($0.value))" }
    try Output.line(
      """
      \(Output.table(["limits by depth", "removed", "prediction kept", "views kept", "score", ""], rows))

      \(layers.isEmpty ? "no layer bears any ratio" : layers.joined(separator: "\n"))

      \(found.isMet ? "" : "less is kept than was asked for; the best level was taken\n")\(out)
      """)
  }
}
