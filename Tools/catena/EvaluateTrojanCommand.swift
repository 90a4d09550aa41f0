import ArgumentParser
import Catena
import Foundation

struct EvaluateTrojanCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trojan",
    abstract: "Measures how well explanations find the trigger of a trojaned network.",
    discussion: """
      Pastes the trigger (a small picture) into images of other classes, explains \
      the class that the network then predicts, and scores every map by its pixel \
      AUC against the trigger's place: on the network itself, and on a trace of it \
      for every image, made by each solver.

      Example:
        catena evaluate trojan model.onnx 'data.bin#0-399' --preprocess unit \\
          --trigger patch.npy --target 5 --count 100 --control clean.onnx \\
          --ratios fast.json --exact-ratios exact.json --baseline 125,123,114

      A pixel scores the size of what a map says of it, for or against, in all \
      columns alike. Methods that compare with a baseline say nothing of pixels of \
      its colour: choose one that the trigger does not have.

      Only images count that the network does not take for the target by \
      themselves, and takes for it with the trigger. The control network gets the \
      same images with the same trigger: what its maps score is what the trigger's \
      looks alone are worth.

      With --out, what is measured is kept after every image, in FILE.unfinished: \
      stopped with Ctrl-C or killed, the same command goes on where it was.

      \(SampleOptions.explanation)
      """)

  @Argument(help: "The trojaned network, an ONNX file.", completion: .file(extensions: ["onnx"]))
  var model: String

  @OptionGroup var samples: SampleOptions

  @Option(help: ArgumentHelp("The trigger's pixels: an image or an array of bytes.", valueName: "file"))
  var trigger: String

  @Option(help: "Row of the trigger's first pixel; by default it ends in the lower right corner.")
  var top: Int?

  @Option(help: "Column of the trigger's first pixel.")
  var left: Int?

  @Option(help: ArgumentHelp("The class that the trigger stands for, from 0.", valueName: "class"))
  var target: Int

  @Option(help: "How many images are scored, the first ones that count.")
  var count = 100

  @Option(help: ArgumentHelp("A network without the trojan, as a control.", valueName: "model"))
  var control: String?

  @Option(
    help: ArgumentHelp("The solvers whose traces are compared with the network, or 'none'.", valueName: "solvers"),
    transform: SolverList.init(parsing:))
  var traces = SolverList(solvers: TraceSolver.allCases)

  @OptionGroup var ratios: RatioOptions

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp("The same for the exact solver, where it differs.", valueName: "ratios"))
  var exactRatios: [String] = []

  @Option(help: "What the exact solver removes at once from a convolution: kernel, tap or weight.")
  var blocks: PruningMethod.Blocks?

  @Option(help: "Random views of each image that its traces are made from.")
  var augmentations: Int?

  @Option(help: "What a pixel scores: 'size' or 'signed', the sum over the channels.")
  var pixelScore: PixelScore = .size

  @Option(
    help: ArgumentHelp("Methods joined by commas, or 'all'; by default the ten published.", valueName: "names"),
    transform: MethodList.init(parsing:))
  var method = MethodList(methods: AttributionMethod.published)

  @OptionGroup var arguments: MethodOptions
  @OptionGroup var device: DeviceOptions

  @Option(help: ArgumentHelp("Write every table as a CSV file into this folder.", valueName: "folder"))
  var csv: String?

  @Option(help: ArgumentHelp("Write everything that was measured into this file, as JSON.", valueName: "file"))
  var out: String?

  @Flag(help: "Replace a file that exists.")
  var overwrite = false

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    try checkCount(count, "--count")
    try checkCount(augmentations, "--augmentations")
    if !exactRatios.isEmpty { try RatioOptions.check(exactRatios, "--exact-ratios") }
    if overwrite, out == nil { throw ValidationError("--overwrite belongs to --out") }
    if target < 0 { throw ValidationError("--target counts classes from 0") }
    for (name, value) in [("--top", top), ("--left", left)] {
      if let value, !(0..<1 << 20).contains(value) { throw ValidationError("\(name) counts pixels from 0") }
    }
    if Set(traces.solvers).count != traces.solvers.count { throw ValidationError("--traces names a solver twice") }
    if traces.solvers == [.fast], blocks != nil || !exactRatios.isEmpty {
      throw ValidationError("--blocks and --exact-ratios belong to traces by the exact solver")
    }
  }

  func run() async throws {
    let command = self
    try await reportingFailures(of: model) { try await command.evaluate() }
  }

  private func evaluate() async throws {
    let network = try ONNXModel(contentsOf: model)
    let preprocessing = try Preprocessing.named(samples.preprocess)
    let pictures = try images(SampleSource.samples(samples.images), preprocessing)
    let patch = try images(SampleSource.samples([trigger]), nil)
    let trojan = try Trojan(
      patch: patch[0], target: target, pictureWidth: pictures[0].width, pictureHeight: pictures[0].height, top: top,
      left: left)
    // Found out before the work, not after it.
    if let csv { try Output.makeFolder(csv) }
    if let out {
      let read = [model, trigger, samples.preprocess] + (control.map { [$0] } ?? []) + samples.paths
      try Output.refuseExisting(out, overwrite: overwrite, keeping: read + ratios.ratios + exactRatios)
    }
    let engine = try device.openEngine()
    Output.note(engine.description)
    let explainer: @Sendable (ONNXModel) throws -> Explainer = { model in
      try Explainer(model: model, backend: engine.backend, options: engine.compileOptions)
    }
    let dense = try explainer(network)
    guard target < dense.classCount else {
      throw ExplanationError.badArgument("there is no class \(target); the network has \(dense.classCount), from 0")
    }
    let evaluation = TrojanEvaluation(
      trojan: trojan, preprocessing: preprocessing.withoutSteps, methods: method.methods,
      settings: try arguments.settings(preprocessing, sampleShape: dense.sampleShape), pixelScore: pixelScore)
    let extractors = try traces.solvers.map { try extractor($0, of: network, preprocessing.withoutSteps, engine) }
    let fooled = try await evaluation.fooled(pictures, by: dense)
    guard !fooled.isEmpty else {
      throw ExplanationError.unsuitableSamples(
        "the trigger turns none of the \(pictures.count) images into class \(target): look at --trigger, --target and "
          + "--preprocess")
    }
    let scored = fooled.prefix(count).map { pictures[$0] }
    if scored.count < count {
      Output.note("only \(scored.count) of \(pictures.count) images are turned by the trigger")
    }
    let work = TrojanWork(
      evaluation: evaluation, pictures: Array(scored), dense: dense, extractors: extractors, explainer: explainer)
    var controlWork: TrojanWork?
    let clean = try control.map { try ONNXModel(contentsOf: $0) }
    if let clean {
      controlWork = TrojanWork(
        evaluation: evaluation, pictures: Array(scored), dense: try explainer(clean),
        extractors: try traces.solvers.map { try extractor($0, of: clean, preprocessing.withoutSteps, engine) },
        explainer: explainer)
    }
    let empty = try evaluation.emptyRecord(
      for: work.pictures, of: network, control: clean, extractors: extractors, on: engine.backend.device)
    let record = try await measured(work, controlWork, from: empty)
    try report(TrojanResult(columns: record.columns, controls: record.controls, methods: method.methods))
  }

  /// Measures everything, kept after every picture where there is an output.
  private func measured(
    _ work: TrojanWork, _ controlWork: TrojanWork?, from empty: TrojanEvaluation.Record
  ) async throws -> TrojanEvaluation.Record {
    let line = ProgressLine()
    func all(
      _ start: TrojanEvaluation.Record, keep: (TrojanEvaluation.Record) throws -> Void
    ) async throws -> TrojanEvaluation.Record {
      var record = start
      try await work.measure("dense", \.columns, of: &record, line, keep: keep)
      try await controlWork?.measure("control", \.controls, of: &record, line, keep: keep)
      line.finish()
      return record
    }
    guard let out else { return try await all(empty) { _ in } }
    let unfinished = UnfinishedWork(of: out)
    let start = try unfinished.record(orEmpty: empty)
    let record = try await unfinished.resumable(line) { try await all(start) { try unfinished.keep($0) } }
    try AtomicFile.write(
      Output.encoded(TrojanResult(columns: record.columns, controls: record.controls, methods: method.methods)), to: out
    )
    try unfinished.drop()
    return record
  }

  private func extractor(
    _ solver: TraceSolver, of model: ONNXModel, _ preprocessing: Preprocessing, _ engine: Engine
  ) throws -> TraceExtractor {
    var settings = TraceSettings()
    settings.solver = solver
    settings.blocks = blocks ?? settings.blocks
    settings.seed = arguments.seed
    if let augmentations { settings.augmentations = augmentations }
    settings.setBatch(nil, for: model)
    // Whether predictions survive is looked at on the picture itself.
    settings.checkedAugmentations = 0
    let ratios =
      solver == .exact && !exactRatios.isEmpty ? try RatioOptions.parse(exactRatios) : try ratios.sparsityRatios()
    return try TraceExtractor(
      network: try TraceNetwork(model: model, batch: settings.batch), backend: engine.backend, solvers: engine.solvers,
      preprocessing: preprocessing, ratios: ratios, settings: settings, options: engine.compileOptions)
  }

  private func images(_ samples: [Sample], _ preprocessing: Preprocessing?) throws -> [Image] {
    try samples.map { sample in
      guard case .image(let image) = sample.content else {
        throw FileError(.unsuitable, sample.name, "is no picture: a trigger can be pasted into pictures only")
      }
      return try preprocessing?.resized(image, name: sample.name) ?? image
    }
  }

  private func report(_ result: TrojanResult) throws {
    // First what no disk can refuse.
    if json { try Output.json(result) } else { try Output.line(result.tables.map(\.text).joined(separator: "\n\n")) }
    guard let csv else { return }
    try Output.makeFolder(csv)
    for table in result.tables { try AtomicFile.write(Array(table.csv.utf8), to: "\(csv)/\(table.name).csv") }
  }
}

/// One network and its traces, on the scored pictures.
private struct TrojanWork {
  let evaluation: TrojanEvaluation
  let pictures: [Image]
  let dense: Explainer
  let extractors: [TraceExtractor]
  let explainer: @Sendable (ONNXModel) throws -> Explainer

  /// Measures the columns that a record lacks: the network, called `name`, and its traces.
  func measure(
    _ name: String, _ columns: WritableKeyPath<TrojanEvaluation.Record, [TrojanEvaluation.Measured]>,
    of record: inout TrojanEvaluation.Record, _ line: ProgressLine,
    keep: (TrojanEvaluation.Record) throws -> Void
  ) async throws {
    for place in 0...extractors.count {
      let known = record[keyPath: columns]
      let begun = known.indices.contains(place) ? known[place] : nil
      if let begun, begun.count == pictures.count { continue }
      let column = try await column(place, name)
      let title = name == "dense" ? column.name : "\(name), \(column.name)"
      var current = record
      current[keyPath: columns] = Array(known.prefix(place)) + [begun ?? .init(name: column.name)]
      let measured = try await evaluation.measured(
        column, on: pictures, dense: dense, resuming: begun, progress: { line.show(title, $0, of: $1) },
        checkpoint: {
          current[keyPath: columns][place] = $0
          try keep(current)
        })
      current[keyPath: columns][place] = measured
      record = current
    }
  }

  private func column(_ place: Int, _ name: String) async throws -> TrojanEvaluation.Column {
    guard place > 0 else {
      let dense = dense
      return TrojanEvaluation.Column(name: name) { _, _ in dense }
    }
    return try await .traced(by: extractors[place - 1], explainer: explainer)
  }
}

/// Solvers as the command line names them.
struct SolverList {
  var solvers: [TraceSolver]

  init(solvers: [TraceSolver]) { self.solvers = solvers }

  @Sendable
  init(parsing argument: String) throws {
    if argument == "none" {
      solvers = []
      return
    }
    solvers = try argument.split(separator: ",", omittingEmptySubsequences: false).map { name in
      guard let solver = TraceSolver(rawValue: String(name)) else {
        throw ValidationError("there is no solver '\(name)'; known are fast and exact, or none")
      }
      return solver
    }
  }
}

extension PixelScore: ExpressibleByArgument {}

/// All that was measured.
private struct TrojanResult: Encodable {
  let columns: [TrojanEvaluation.Measured]
  let controls: [TrojanEvaluation.Measured]
  let tables: [Table]

  init(
    columns: [TrojanEvaluation.Measured], controls: [TrojanEvaluation.Measured], methods: [AttributionMethod]
  ) {
    self.columns = columns
    self.controls = controls
    let report = TrojanReport(columns, methods: methods)
    var tables = [report.areas, report.pointing]
    if columns.count > 1 { tables.append(report.gains) }
    if !controls.isEmpty {
      var control = TrojanReport(controls, methods: methods).areas
      control.name = "trojan-control"
      control.title = "Control: the same images and trigger on a network without the trojan"
      tables.append(control)
    }
    self.tables = tables
  }
}
