import ArgumentParser
import Catena
import Foundation

struct TraceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace",
    abstract: "Extracts the few connections that preserve every layer's response to one picture.",
    discussion: """
      Writes a folder with the traced network (trace.onnx), which connections are left \
      (connections.safetensors) and what is known of it (trace.json). The trace only \
      explains: predictions still come from the dense network. Several pictures give \
      a folder each, inside the output folder; stopped with Ctrl-C or killed, the same \
      command goes on with those that are not complete.

      Examples:
        catena trace model.onnx photo.jpg --out DIR
        catena trace cifar.onnx 'data.bin#7' --preprocess cifar10 \\
          --ratios uniform 0.5 --augmentations 256 --out DIR
        catena trace model.onnx photo.jpg --solver exact --ratios ratios.json --out DIR

      --ratios is 'uniform S' (the part S of every layer's connections is removed), \
      'published' (the ratios tuned for ResNet-50; other networks by relative depth) or \
      a .json file of ratios by layer, as in { "conv1": 0.9 }. A narrow network does \
      not bear the published ratios: look at 'prediction' in the output, and let \
      'catena tune-ratios' find what it bears.

      \(SampleOptions.explanation)
      """)

  @Argument(help: "An ONNX file.", completion: .file(extensions: ["onnx"]))
  var model: String

  @OptionGroup var samples: SampleOptions

  @Option(help: "fast: column by column. exact: greedy, slower, closer to the dense network.")
  var solver: TraceSolver = .fast

  @OptionGroup var ratios: RatioOptions

  @Option(help: "Random views of the picture on which the layers' responses are preserved.")
  var augmentations: Int?

  @Option(help: "What the exact solver removes at once from a convolution: kernel, tap or weight.")
  var blocks: PruningMethod.Blocks?

  @Flag(help: "Count and damp exactly as the published code does.")
  var compat = false

  @Option(help: ArgumentHelp("The folder to write, new or empty.", valueName: "folder"))
  var out: String

  @Flag(help: "Replace a folder that is not empty.")
  var overwrite = false

  @Option(help: "Seed of the augmentations.")
  var seed: UInt64 = 0

  @Option(help: "Images per run of the network.")
  var batch: Int?

  @OptionGroup var device: DeviceOptions

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    try checkCount(augmentations, "--augmentations")
    try checkCount(batch, "--batch", most: 1_000_000)
    if blocks != nil, solver != .exact { throw ValidationError("--blocks belongs to --solver exact") }
    if compat, let blocks, blocks != .tap { throw ValidationError("--compat cuts blocks as --blocks tap does") }
  }

  func run() async throws {
    let command = self
    try await reportingFailures(of: model) { try await command.extract() }
  }

  private func settings(for source: ONNXModel) -> TraceSettings {
    var settings = TraceSettings()
    settings.solver = solver
    settings.isCompatible = compat
    settings.blocks = compat ? .tap : blocks ?? settings.blocks
    settings.seed = seed
    if let augmentations { settings.augmentations = augmentations }
    settings.setBatch(batch, for: source)
    return settings
  }

  private func extract() async throws {
    let pictures = try samples.pictures()
    if pictures.count == 1 { try await extractOne(pictures[0]) } else { try await extractAll(pictures) }
  }

  /// The extractor and what writes its traces.
  private func prepared(_ engine: Engine) throws -> (TraceExtractor, TraceWriter) {
    let source = try ONNXModel(contentsOf: model)
    let settings = settings(for: source)
    let extractor = try TraceExtractor(
      network: try TraceNetwork(model: source, batch: settings.batch), backend: engine.backend, solvers: engine.solvers,
      preprocessing: try samples.preprocessing(), ratios: try ratios.sparsityRatios(), settings: settings,
      options: engine.compileOptions)
    let origin = TraceOrigin(
      modelFile: URL(fileURLWithPath: model).lastPathComponent, preprocessing: try samples.preprocessingDescription(),
      device: engine.backend.device, version: catenaVersion)
    return (extractor, TraceWriter(extractor: extractor, origin: origin))
  }

  private func extractOne(_ picture: TraceSample) async throws {
    // Begun before the work, so that a folder that cannot be written is not found out after it.
    let directory = try directory(out)
    let line = ProgressLine()
    let (result, writer) = try await device.withEngine { engine in
      let (extractor, writer) = try prepared(engine)
      return (try await extractor.trace(of: picture) { line.show($0) }, writer)
    }
    line.finish()
    let manifest = try writer.write(result, into: directory)
    if json { try Output.json(manifest) } else { try report(manifest, in: out) }
  }

  /// One folder per picture, each complete or absent: what is done when the work is stopped stays.
  private func extractAll(_ pictures: [TraceSample]) async throws {
    var work = TraceWork(folders: folders(pictures.count))
    let line = ProgressLine()
    do { try await traceAll(pictures, line, &work) } catch  where isCancellation(error) {
      line.finish()
      let complete = work.folders.count - work.open.count
      Output.note(
        "stopped; complete are \(complete) of \(work.folders.count) folders in \(out); the same command goes on from here"
      )
      throw ExitStatus.stopped
    }
    if json { try Output.json(work.manifests.compactMap(\.self)) }
  }

  private func traceAll(_ pictures: [TraceSample], _ line: ProgressLine, _ work: inout TraceWork) async throws {
    try await device.withEngine { engine in
      let (extractor, writer) = try prepared(engine)
      if !work.isBegun { try begin(&work, pictures, extractor, writer) }
      // Where a device was lost, the folders that are complete stay.
      let (open, count) = (work.open, pictures.count)
      try report(&work)
      let show: @Sendable (Int, TraceProgress) -> Void = { index, progress in
        line.show(progress, prefix: "\(open[index] + 1)/\(count) ")
      }
      try await extractor.traces(of: open.map { pictures[$0] }, progress: show) { index, result in
        work.manifests[open[index]] = try write(result, writer, work.folders[open[index]])
        line.finish()
        try report(&work)
      }
    }
  }

  /// Finds out, before any work, what is complete already and whether everything else can be written.
  private func begin(
    _ work: inout TraceWork, _ pictures: [TraceSample], _ extractor: TraceExtractor, _ writer: TraceWriter
  ) throws {
    try extractor.check(pictures)
    try Output.makeFolder(out)
    for (index, folder) in work.folders.enumerated() {
      do {
        work.manifests[index] = try writer.finished(
          pictures[index], at: folder, onAnyDevice: device.device == .automatic)
      } catch let error as FileError where error.kind == .exists && overwrite {
        // What another command left is replaced.
      }
      if work.manifests[index] == nil { try requireFree(folder) }
    }
    work.isBegun = true
    let complete = work.folders.count - work.open.count
    if complete > 0 { Output.note("\(complete) of \(work.folders.count) folders in \(out) are complete and stay") }
  }

  /// Says what is known, in the order of the pictures.
  private func report(_ work: inout TraceWork) throws {
    while work.reported < work.folders.count, let manifest = work.manifests[work.reported] {
      if !json { try Output.line("\(work.folders[work.reported])  \(manifest.sample)  \(summary(manifest.fidelity))") }
      work.reported += 1
    }
  }

  private func write(_ result: TraceResult, _ writer: TraceWriter, _ folder: String) throws -> TraceManifest {
    try writer.write(result, into: try directory(folder))
  }

  private func directory(_ folder: String) throws(FileError) -> AtomicDirectory {
    try AtomicDirectory(folder, replacing: overwrite, keeping: [model] + samples.paths)
  }

  /// Throws when `folder` cannot be written or must not be replaced.
  private func requireFree(_ folder: String) throws {
    let probe = try directory(folder)
    precondition(!probe.temporaryPath.isEmpty)
  }

  private func folders(_ count: Int) -> [String] {
    let width = String(count - 1).count
    return (0..<count).map { index in
      let digits = String(index)
      return "\(out)/\(String(repeating: "0", count: width - digits.count))\(digits)"
    }
  }

  private func summary(_ fidelity: TraceFidelity) -> String {
    let prediction = fidelity.keepsPrediction ? "kept" : "lost: class \(fidelity.traceClass)"
    let agreement = fidelity.agreement.map { ", on \(Output.percent($0)) of the augmentations" } ?? ""
    return "class \(fidelity.denseClass) \(prediction)\(agreement)"
  }

  /// A line for every reason that layers are left as they are for.
  private func leftDense(_ manifest: TraceManifest) -> [String] {
    var reasons: [String] = []
    for layer in manifest.untouched where !reasons.contains(layer.reason) { reasons.append(layer.reason) }
    return reasons.map { reason in
      let names = manifest.untouched.filter { $0.reason == reason }.map(\.name)
      return "left dense   \(names.count == 1 ? names[0] : "\(names.count) layers, '\(names[0])' first"): \(reason)"
    }
  }

  private func report(_ manifest: TraceManifest, in folder: String) throws {
    let rows = manifest.layers.map { layer in
      [
        layer.name, Output.percent(layer.ratio), "\(layer.connections.kept)", "\(layer.connections.total)",
        layer.loss.map { String(format: "%.4g", $0) } ?? "",
        layer.wasDampedFurther == true ? String(format: "damped by %.0e", layer.damping ?? 0) : "",
      ]
    }
    let connections = manifest.connections
    try Output.line(
      """
      \(Output.table(["layer", "ratio", "kept", "of", "loss", "note"], rows))
      \(leftDense(manifest).map { "\n\($0)" }.joined())
      connections  \(connections.kept) of \(connections.total) \
      (\(Output.percent(Double(connections.kept) / Double(max(connections.total, 1)))))
      prediction   \(summary(manifest.fidelity))
      logits       differ by \(Output.percent(manifest.fidelity.logitDifference)) of their range, cosine \
      \(String(format: "%.4f", manifest.fidelity.logitCosine))

      \(folder)/\(TraceFile.network)   the traced network
      \(folder)/\(TraceFile.connections)   which connections are left
      \(folder)/\(TraceFile.manifest)   every layer's sparsity and loss, and the settings
      """)
  }
}

/// The folders of many pictures' traces and what is known of them.
private struct TraceWork {
  let folders: [String]
  /// By picture; `nil` where there is none yet.
  var manifests: [TraceManifest?]
  /// Whether the folders have been looked at.
  var isBegun = false
  /// How many have been said, in their order.
  var reported = 0

  init(folders: [String]) {
    self.folders = folders
    manifests = folders.map { _ in nil }
  }

  /// The pictures without a trace.
  var open: [Int] { manifests.indices.filter { manifests[$0] == nil } }
}

extension ProgressLine {
  /// Shows how far a trace is.
  func show(_ progress: TraceProgress, prefix: String = "") {
    show(prefix + progress.stage.rawValue, progress.completed, of: progress.total)
  }
}

extension SampleOptions {
  /// The samples of all arguments as pictures of their original size.
  func pictures() throws -> [TraceSample] {
    try SampleSource.samples(images).map { sample in
      guard case .image(let image) = sample.content else {
        throw FileError(
          .unsuitable, sample.name, "is a tensor; a trace needs a picture, from which augmentations are cut")
      }
      return TraceSample(name: sample.name, image: image)
    }
  }

  /// The preprocessing that was named.
  func preprocessing() throws -> Preprocessing { try Preprocessing.named(preprocess) }
}
