import ArgumentParser
import Catena
import Foundation

struct ChainCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "chain",
    abstract: "Extracts the few filters, exactly copied, that preserve a network's outputs on some images.",
    discussion: """
      Writes a folder with the sub-network (chain.onnx), the scores, the curve of \
      fidelity over size, the samples and a manifest. All inputs together are one \
      region: ten to twenty samples of a few classes are usual.

      Examples:
        catena chain model.onnx images/ --keep 10% --out DIR
        catena chain cifar.onnx 'data.bin#0-19' --preprocess cifar10 \\
          --agreement 95% --out DIR
        catena chain model.onnx images/*.png --keep 10% --agreement 95% \\
          --out DIR --json

      --keep alone gives the best chain within the budget, --agreement alone the \
      smallest chain that is faithful enough. Both together give the best chain \
      within the budget, and exit code 2 when it is not faithful enough.

      \(SampleOptions.explanation)
      """)

  @Argument(help: "An ONNX file.", completion: .file(extensions: ["onnx"]))
  var model: String

  @OptionGroup var samples: SampleOptions

  @Option(
    help: ArgumentHelp("Keep at most this part of all units, such as 5%.", valueName: "part"),
    transform: Fraction.init(parsing:))
  var keep: Fraction?

  @Option(
    help: ArgumentHelp(
      "Keep the network's own top-1 class on at least this part of the samples, such as 95%.", valueName: "part"),
    transform: Fraction.init(parsing:))
  var agreement: Fraction?

  @Option(help: ArgumentHelp("The folder to write, new or empty.", valueName: "folder"))
  var out: String?

  @Flag(help: "Print what will be done and the memory it needs, and stop.")
  var dryRun = false

  @Flag(help: "Replace a folder that is not empty.")
  var overwrite = false

  @Option(help: "Seed of everything random.")
  var seed: UInt64 = 0

  @Option(help: "Optimisation steps; large networks get more at the end.")
  var steps: Int?

  @Option(help: "Samples per step; larger regions run in chunks.")
  var batch: Int?

  @OptionGroup var device: DeviceOptions

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    if keep == nil, agreement == nil {
      throw ValidationError("give --keep (such as 5%), --agreement (such as 95%) or both")
    }
    if out == nil, !dryRun { throw ValidationError("give --out, the folder to write, or --dry-run") }
    try checkCount(steps, "--steps")
    try checkCount(batch, "--batch", most: 1_000_000)
  }

  func run() async throws {
    let command = self
    try await reportingFailures(of: model) { try await command.extract() }
  }

  private var request: ChainRequest {
    switch (keep, agreement) {
    case (let keep?, nil): .keep(fraction: keep.value)
    case (let keep?, let agreement?): .keepWithAgreement(fraction: keep.value, agreement: agreement.value)
    case (nil, let agreement): .agreement(fraction: agreement?.value ?? 1)
    }
  }

  private func extract() async throws {
    var settings = ChainSettings()
    settings.seed = seed
    if let steps { settings.steps = steps }
    if let batch { settings.batch = batch }
    let source = try ONNXModel(contentsOf: model)
    let region = try samples.region(named: samples.regionName, for: source)
    guard !dryRun, let out else { return try await plan(region, source, settings) }
    // Begun before the work, so that a folder that cannot be written is not found out after it.
    let directory = try AtomicDirectory(out, replacing: overwrite, keeping: [model] + samples.paths)
    let network = try ChainNetwork(model: source, batch: min(settings.batch, region.count))
    let line = ProgressLine()
    let (results, used) = try await device.withEngine { engine in
      let extractor = ChainExtractor(
        network: network, backend: engine.backend, settings: settings, options: engine.compileOptions)
      let results = try await extractor.chains(for: [region], request: request) { progress in
        let state = progress.divergence.map { divergence in
          String(format: "KL %.4f, %.1f %% of units", divergence, (progress.size ?? 0) * 100)
        }
        line.show(progress.stage.rawValue, progress.completed, of: progress.total, detail: state ?? "")
      }
      return (results, engine.backend.device)
    }
    line.finish()
    let batch = results[0].settings.batch
    if batch < settings.batch { Output.note("memory allowed \(batch) samples per step instead of \(settings.batch)") }
    let writer = try ChainWriter(
      network: network, result: results[0],
      origin: ChainOrigin(
        modelFile: URL(fileURLWithPath: model).lastPathComponent, preprocessing: try samples.preprocessingDescription(),
        device: used, version: catenaVersion))
    let manifest = try writer.write(into: directory)
    if json { try Output.json(manifest) } else { try report(manifest, in: out) }
    if !manifest.met { throw ExitStatus.notMet }
  }

  /// Prints what would be done.
  private func plan(_ region: Region, _ source: ONNXModel, _ settings: ChainSettings) async throws {
    let engine = try device.openEngine()
    let network = try ChainNetwork(model: source, batch: min(settings.batch, region.count))
    let extractor = ChainExtractor(
      network: network, backend: engine.backend, settings: settings, options: engine.compileOptions)
    let plan = try await extractor.plan(for: region, request: request)
    if json { return try Output.json(plan) }
    func bytes(_ name: String, _ part: (MemoryPlan) -> Int) -> [String] {
      [name, Output.bytes(part(plan.step)), Output.bytes(part(plan.evaluation))]
    }
    let reason = request.budget == nil ? "to the smallest chain" : "while the chain misses some of them"
    let further = plan.mostSteps > plan.steps ? ", up to \(plan.mostSteps) \(reason)" : ""
    let limit = plan.limit.map { " of \(Output.bytes($0)) allowed" } ?? ""
    try Output.line(
      """
      device      \(engine.description)
      network     \(plan.units) units, \(plan.blocks) residual branches
      smallest    connected chain: \(plan.smallestChain) units
      search      \(plan.steps) steps on \(plan.samples) samples, \(plan.samplesPerRun) at a time\(further)
      evaluation  \(plan.samplesPerEvaluation) samples at a time

      \(Output.table(
        ["memory", "search", "evaluation"],
        [
          bytes("constants", \.constants), bytes("persistent", \.persistent), bytes("intermediates", \.intermediates),
          bytes("scratch", \.scratch), bytes("all", \.total),
        ]))

      both are held at once: \(Output.bytes(plan.total))\(limit); nothing was run
      """)
    if plan.samplesPerRun < min(settings.batch, region.count) {
      try Output.line("--memory made the batch smaller; more memory makes it faster, not better")
    }
  }

  private func report(_ manifest: ChainManifest, in out: String) throws {
    func part(_ part: ChainManifest.Size.Part) -> String {
      "\(part.kept) of \(part.total) (\(Output.percent(Double(part.kept) / Double(max(part.total, 1)))))"
    }
    func mode(_ fidelity: Fidelity) -> String {
      "agreement \(Output.percent(fidelity.agreement)), KL \(String(format: "%.4f", fidelity.divergence))"
    }
    try Output.line(
      """
      kept        \(part(manifest.size.units)) units, \(part(manifest.size.blocks)) residual branches
      parameters  \(part(manifest.size.parameters))
      operations  \(part(manifest.size.multiplyAdds)) multiply-adds per sample
      binary      \(mode(manifest.fidelity.binary))  (kept filters exactly as they are)
      soft        \(mode(manifest.fidelity.soft))  (kept filters scaled by their scores)
      """)
    if manifest.fidelity.binary.predictedClasses == 1, manifest.region.samples.count > 1 {
      try Output.line("note        the chain gives one class to all samples")
    }
    if !manifest.met { try Output.line("not met     this is the best chain found; see the curve for others") }
    try Output.line(
      """

      \(out)/\(ChainFile.network)   the sub-network
      \(out)/\(ChainFile.picture)    fidelity over size: open this first
      \(out)/\(ChainFile.manifest)  every retained unit, the settings and the curve
      check it: catena verify \(out) \(model)
      """)
  }
}
