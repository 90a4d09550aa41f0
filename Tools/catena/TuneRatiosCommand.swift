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

  private var unfinished: String { out + ".unfinished" }

  private func tune() async throws {
    let pictures = try samples.pictures()
    let source = try ONNXModel(contentsOf: model)
    if !overwrite, FileManager.default.fileExists(atPath: out) {
      throw FileError(.exists, out, "the file exists; choose another name or ask to replace it (--overwrite)")
    }
    let engine = try device.openEngine()
    Output.note(engine.description)
    let tuner = try tuner(source, engine)
    let record = try record(tuner, pictures)
    let line = ProgressLine()
    let found: TunedRatios
    do {
      found = try await tuner.ratios(
        for: pictures, resuming: record,
        progress: { line.show($0.stage.rawValue, $0.completed, of: $0.total) },
        checkpoint: { try AtomicFile.write(Self.encoded($0), to: unfinished) })
    } catch  where isCancellation(error) {
      line.finish()
      Output.note("stopped; the same command goes on from here: \(unfinished)")
      throw ExitStatus.stopped
    }
    line.finish()
    try AtomicFile.write(Self.encoded(found.chosen.ratios), to: out)
    try FileManager.default.removeItem(atPath: unfinished)
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

  /// What an earlier run left behind, or nothing yet; in both cases a file that can be written.
  private func record(_ tuner: RatioTuner, _ pictures: [TraceSample]) throws -> TuningRecord {
    let empty = try tuner.emptyRecord(for: pictures)
    if let bytes = FileManager.default.contents(atPath: unfinished) {
      do {
        let left = try JSONDecoder().decode(TuningRecord.self, from: bytes)
        if left.key == empty.key {
          Output.note("going on where \(unfinished) ends")
          return left
        }
        Output.note("\(unfinished) is of another network, other images or settings: starting again")
      } catch {
        Output.note("\(unfinished) cannot be read: starting again")
      }
    }
    // Whether the file can be written is found out before the work, not after it.
    try Self.probe(unfinished)
    return empty
  }

  /// Begins a file and drops it.
  private static func probe(_ path: String) throws { _ = try AtomicFile(path) }

  private static func encoded(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    return Array(try encoder.encode(value)) + [UInt8(ascii: "\n")]
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
