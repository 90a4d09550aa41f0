import ArgumentParser
import Catena
import Foundation

struct EvaluateChainCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "chain",
    abstract: "Extracts chains of many regions and analyses them, beside baselines.",
    discussion: """
      A region is a few images of a few classes. Regions come from a file, are drawn \
      at random from labelled images, or are those of chains that exist already:

        catena evaluate chain model.onnx --images photos/ --draw 10 --classes 2 \\
          --per-class 10 --preprocess imagenet --keep 10%
        catena evaluate chain cifar.onnx --images test.bin --preprocess cifar10 \\
          --regions regions.json --list mine --keep 10% --csv tables/
        catena evaluate chain model.onnx --images photos/ --chains out/* \\
          --preprocess imagenet

      Analyses (--analyses, separated by commas; all unless given)
        fidelity    agreement, KL and logit cosine in the region; what is kept of
                    units, blocks, parameters and multiply-adds; over the curve
        unseen      other images of the region's classes, and of other classes
        importance  without one retained unit at a time; the dense network without
                    all of them; units exchanged for random ones
        baselines   as many units in every layer: random, L1 magnitude, mean
                    activation, Taylor; no weight changes
        stability   overlap of chains from other seeds and from other samples; as
                    many more extractions for every region

      \(LabelledImages.syntax)

      The form of a regions file: Tools/schemas/regions.schema.json. --preprocess is \
      as in 'catena chain'.
      """)

  @Argument(help: "An ONNX file.", completion: .file(extensions: ["onnx"]))
  var model: String

  @Option(help: ArgumentHelp("Labelled images: records or a folder; see above.", valueName: "images"))
  var images: String

  @Option(help: "How images become samples: a name, or a .json file.")
  var preprocess: String = "imagenet"

  @Option(help: ArgumentHelp("A file of regions.", valueName: "file"), completion: .file(extensions: ["json"]))
  var regions: String?

  @Option(help: ArgumentHelp("The list of the file, where it has several.", valueName: "name"))
  var list: String?

  @Option(help: ArgumentHelp("Draw this many regions from the images.", valueName: "count"))
  var draw: Int?

  @Option(help: "Classes of a drawn region; 2 by default.")
  var classes: Int?

  @Option(help: "Images of each class of a drawn region; 10 by default.")
  var perClass: Int?

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp("Folders of chains to take instead of extracting.", valueName: "folder"))
  var chains: [String] = []

  @Option(
    help: ArgumentHelp(
      "Labelled images to take unseen ones from; by default those of --images that are not in the region.",
      valueName: "images"))
  var unseen: String?

  @Option(
    help: ArgumentHelp("The network's class names, one per line, for folders named by them.", valueName: "file"))
  var labels: String?

  @Option(help: "Added to every label: 1 where the network's class 0 is a background that labels do not count.")
  var labelOffset = 0

  @Option(
    help: ArgumentHelp("Keep at most this part of all units, such as 10%.", valueName: "part"),
    transform: Fraction.init(parsing:))
  var keep: Fraction?

  @Option(
    help: ArgumentHelp("Agreement asked for, such as 95%.", valueName: "part"), transform: Fraction.init(parsing:))
  var agreement: Fraction?

  @Option(
    help: ArgumentHelp("The analyses, separated by commas.", valueName: "names"),
    transform: AnalysisList.init(parsing:))
  var analyses: AnalysisList?

  @Option(help: "Random draws wherever something is chosen at random.")
  var draws: Int?

  @Option(help: "Further seeds and sets of samples, for stability; 2 by default.")
  var repeats: Int?

  @Option(help: "Seed of everything random.")
  var seed: UInt64 = 0

  @Option(help: "Optimisation steps of every extraction.")
  var steps: Int?

  @OptionGroup var device: DeviceOptions

  @Option(help: ArgumentHelp("Write every table as a CSV file into this folder.", valueName: "folder"))
  var csv: String?

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    let sources = [regions != nil, draw != nil, !chains.isEmpty].count { $0 }
    if sources != 1 { throw ValidationError("give one of --regions, --draw and --chains") }
    if list != nil, regions == nil { throw ValidationError("--list chooses from a file of --regions") }
    if chains.isEmpty, keep == nil, agreement == nil {
      throw ValidationError("give --keep (such as 10%), --agreement (such as 95%) or both")
    }
    if !chains.isEmpty, keep != nil || agreement != nil || steps != nil {
      throw ValidationError("--chains were made as their manifests say: leave out --keep, --agreement and --steps")
    }
    for (name, count) in [
      ("draw", draw), ("classes", classes), ("per-class", perClass), ("draws", draws), ("steps", steps),
      ("repeats", repeats),
    ] {
      try checkCount(count, "--\(name)")
    }
    if !(-1_000_000...1_000_000).contains(labelOffset) { throw ValidationError("--label-offset is out of range") }
    if draw == nil, classes != nil || perClass != nil {
      throw ValidationError("--classes and --per-class belong to --draw")
    }
    let chosen = analyses?.analyses ?? ChainAnalysis.allCases
    if repeats != nil, !chosen.contains(.stability) {
      throw ValidationError("--repeats belongs to --analyses stability")
    }
    if unseen != nil, !chosen.contains(.unseen) { throw ValidationError("--unseen belongs to --analyses unseen") }
  }

  func run() async throws {
    let command = self
    try await reportingFailures(of: model) { try await command.evaluate() }
  }

  private func evaluate() async throws {
    var settings = EvaluationSettings()
    if let analyses { settings.analyses = analyses.analyses }
    if let draws { settings.draws = draws }
    if let repeats { settings.otherSeeds = repeats }
    settings.seed = seed
    let source = try ONNXModel(contentsOf: model)
    let regions = try regionSource(for: source, settings)
    // Before the work, so that a folder that cannot be made is not found out after it.
    if let csv { try Output.makeFolder(csv) }
    let engine = try device.openEngine()
    Output.note("\(engine.description)")
    let evaluation = try ChainEvaluation(
      model: source, backend: engine.backend, options: engine.compileOptions, settings: settings)
    let records = try await records(of: evaluation, regions, source, engine)
    let report = ChainReport(records: records)
    // First what no disk can refuse.
    if json {
      try Output.json(
        EvaluationDocument(
          version: catenaVersion, model: URL(fileURLWithPath: model).lastPathComponent, sha256: source.sha256 ?? "",
          preprocessing: try Preprocessing.named(preprocess).json, device: engine.backend.device, settings: settings,
          request: chains.isEmpty ? request : nil, search: chains.isEmpty ? search : nil,
          tables: report.tables + report.details))
    } else {
      try Output.line(report.tables.map(\.text).joined(separator: "\n\n"))
    }
    if let csv { try write(report, to: csv) }
    let missed = records.count { ($0.binary?.agreement ?? 1) < (agreement?.value ?? 0) }
    if missed > 0 {
      Output.note("\(missed) of \(records.count) chains agree on less than was asked for")
      throw ExitStatus.notMet
    }
  }

  private var request: ChainRequest {
    switch (keep, agreement) {
    case (let keep?, nil): .keep(fraction: keep.value)
    case (let keep?, let agreement?): .keepWithAgreement(fraction: keep.value, agreement: agreement.value)
    case (nil, let agreement): .agreement(fraction: agreement?.value ?? 1)
    }
  }

  private var search: ChainSettings {
    var search = ChainSettings()
    search.seed = seed
    if let steps { search.steps = steps }
    return search
  }

  private func regionSource(for source: ONNXModel, _ settings: EvaluationSettings) throws -> RegionSource {
    let names = try labels.map(Labels.read)
    var result = RegionSource(
      images: try LabelledImages(images, classNames: names, labelOffset: labelOffset),
      unseen: try unseen.map { try LabelledImages($0, classNames: names, labelOffset: labelOffset) },
      preprocessing: try Preprocessing.named(preprocess), inputShape: sampleShape(of: source))
    result.seed = seed
    if !settings.analyses.contains(.unseen) { (result.unseenLimit, result.controlLimit) = (0, 0) }
    result.otherCount = settings.analyses.contains(.stability) ? settings.otherSeeds : 0
    return result
  }

  private func records(
    of evaluation: ChainEvaluation, _ source: RegionSource, _ model: ONNXModel, _ engine: Engine
  ) async throws -> [RegionRecord] {
    var work: [Work] = try chains.map { folder in
      .chain(try ChainVerifier(folder: folder, model: model, backend: engine.backend).read())
    }
    if let draw { work = try source.drawn(draw, classes: classes ?? 2, perClass: perClass ?? 10).map { .region($0) } }
    if let regions { work = try NamedRegion.read(regions, list: list).map { .region($0) } }
    let line = EvaluationLine(regions: work.count)
    var records: [RegionRecord] = []
    for (number, item) in work.enumerated() {
      switch item {
      case .region(let named):
        let region = try source.region(named, at: number)
        records.append(
          try await evaluation.record(of: region, request: request, search: search) { stage, done in
            line.show(number, region.samples.region.name, stage, done)
          })
      case .chain(let chain):
        let region = try source.region(of: chain)
        records.append(
          try await evaluation.record(of: region, chain: chain) { stage, done in
            line.show(number, region.samples.region.name, stage, done)
          })
      }
    }
    line.finish()
    return records
  }

  private enum Work {
    case region(NamedRegion)
    case chain(StoredChain)
  }

  private func write(_ report: ChainReport, to folder: String) throws {
    for table in report.tables + report.details {
      try AtomicFile.write(Array(table.csv.utf8), to: "\(folder)/\(table.name).csv")
    }
    Output.note("\(folder): \((report.tables + report.details).map { "\($0.name).csv" }.joined(separator: ", "))")
  }
}

/// What `--analyses` takes.
struct AnalysisList {
  let analyses: [ChainAnalysis]

  @Sendable
  init(parsing argument: String) throws {
    let names = ChainAnalysis.allCases.map(\.rawValue).joined(separator: ", ")
    let named = try argument.split(separator: ",").map { word in
      guard let analysis = ChainAnalysis(rawValue: word.trimmingCharacters(in: .whitespaces)) else {
        throw ValidationError("'\(word)' is no analysis; there are \(names)")
      }
      return analysis
    }
    analyses = ChainAnalysis.allCases.filter(named.contains)
    guard !analyses.isEmpty else { throw ValidationError("name at least one of \(names)") }
  }
}

/// What `--json` prints.
private struct EvaluationDocument: Encodable {
  let format = "catena-chain-evaluation"
  let formatVersion = "1.0"
  let catenaVersion: String
  let model: Model
  let preprocessing: String
  let device: DeviceDescription
  let settings: EvaluationSettings
  let request: ChainRequest?
  let search: ChainSettings?
  let tables: [Table]

  struct Model: Encodable {
    let file: String
    let sha256: String
  }

  init(
    version: String, model: String, sha256: String, preprocessing: String, device: DeviceDescription,
    settings: EvaluationSettings, request: ChainRequest?, search: ChainSettings?, tables: [Table]
  ) {
    catenaVersion = version
    self.model = Model(file: model, sha256: sha256)
    self.preprocessing = preprocessing
    self.device = device
    self.settings = settings
    self.request = request
    self.search = search
    self.tables = tables
  }
}

/// One line of progress for each region, with the time that is left for its stage and for all regions.
private final class EvaluationLine: @unchecked Sendable {
  private let line = ProgressLine()
  private let regions: Int
  private let started = Date()
  private let lock = NSLock()
  private var stage = ""
  private var stageStarted = Date()

  init(regions: Int) { self.regions = regions }

  func show(_ number: Int, _ name: String, _ stage: String, _ done: Double) {
    let elapsed = lock.withLock {
      if stage != self.stage { (self.stage, stageStarted) = (stage, Date()) }
      return Date().timeIntervalSince(stageStarted)
    }
    var left = done > 0 && done < 1 ? ", \(duration(elapsed / done * (1 - done))) left" : ""
    if number > 0 {
      let perRegion = Date().timeIntervalSince(started) / Double(number)
      left += "; all regions \(duration(perRegion * Double(regions - number)))"
    }
    line.show("region \(number + 1) of \(regions) (\(name))", detail: "\(stage) \(Int(done * 100)) %\(left)")
  }

  private func duration(_ seconds: Double) -> String {
    seconds < 90 ? "\(Int(seconds.rounded(.up))) s" : "\(Int((seconds / 60).rounded(.up))) min"
  }

  func finish() { line.finish() }
}
