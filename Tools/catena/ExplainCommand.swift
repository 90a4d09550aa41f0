import ArgumentParser
import Catena
import Foundation

struct ExplainCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain",
    abstract: "Shows which parts of an image a network's prediction rests on.",
    discussion: """
      Writes a folder with, for every image and method, the map over the image \
      (PNG) and the relevance of every input value (.npy), one picture of all \
      methods (grid.png) and a summary (explanations.json).

      Examples:
        catena explain model.onnx photo.jpg --method saliency,grad-cam --out DIR
        catena explain model.onnx photo.jpg --method all --with TRACE_DIR --out DIR
        catena explain CHAIN_DIR 'data.bin#3' --preprocess cifar10 \\
          --method lrp --target 5 --out DIR

      Explained is the class that the network predicts, or --target. With a second \
      network (--with), both explain the class that the first one predicts.

      Methods:
      \(ExplainCommand.methodList)

      \(SampleOptions.explanation)
      """)

  @Argument(help: "An ONNX file, or the folder of a chain or of a trace.")
  var model: String

  @OptionGroup var samples: SampleOptions

  @Option(
    help: ArgumentHelp(
      "Methods from the list above, joined by commas, or 'all' that suit the network.", valueName: "names"),
    transform: MethodList.init(parsing:))
  var method = MethodList(methods: [.saliency])

  @Option(help: ArgumentHelp("A chain, trace or network to show beside the first.", valueName: "folder"))
  var with: String?

  @Option(help: ArgumentHelp("The class to explain, from 0.", valueName: "class"))
  var target: Int?

  @Option(help: ArgumentHelp("The folder to write, new or empty.", valueName: "folder"))
  var out: String

  @Flag(help: "Replace a folder that is not empty.")
  var overwrite = false

  @OptionGroup var arguments: MethodOptions
  @OptionGroup var device: DeviceOptions

  @Option(help: "Rows per run of a program.")
  var batch: Int?

  @Option(help: "A file of class names, one per line.")
  var labels: String?

  @Flag(help: "Print JSON.")
  var json = false

  static var methodList: String {
    let width = AttributionMethod.allCases.map(\.rawValue.count).max() ?? 0
    return AttributionMethod.allCases.map { method in
      "  " + method.rawValue.padding(toLength: width + 2, withPad: " ", startingAt: 0) + method.summary
    }.joined(separator: "\n")
  }

  func validate() throws {
    try checkCount(batch, "--batch", most: 1_000_000)
    if let target, target < 0 { throw ValidationError("--target counts classes from 0") }
  }

  func run() async throws {
    let command = self
    try await reportingFailures(of: model) { try await command.explain() }
  }

  private func explain() async throws {
    let network = try ONNXModel(contentsOf: NetworkFolder.modelPath(model))
    let other = try with.map { try ONNXModel(contentsOf: NetworkFolder.modelPath($0)) }
    let names = try labels.map { try Labels.read($0) }
    let inputs = try samples.pictures(for: network)
    let directory = try AtomicDirectory(
      out, replacing: overwrite, keeping: [model] + (with.map { [$0] } ?? []) + samples.paths)
    let preprocessing = try Preprocessing.named(samples.preprocess)
    let folder = directory.temporaryPath
    let line = ProgressLine()
    let summary = try await device.withEngine { engine in
      var options = engine.compileOptions
      if other != nil { options.memoryLimit = options.memoryLimit.map { $0 / 2 } }
      let each = options
      func explainer(_ model: ONNXModel) throws -> Explainer {
        try Explainer(model: model, backend: engine.backend, options: each, batch: batch)
      }
      var networks = [ExplanationRun.Network(title: title(of: model), explainer: try explainer(network))]
      if let other, let with { networks.append(.init(title: title(of: with), explainer: try explainer(other))) }
      let settings = try arguments.settings(preprocessing, sampleShape: networks[0].explainer.sampleShape)
      Output.noteLabels(names, classes: networks[0].explainer.classCount)
      let run = ExplanationRun(
        networks: networks, inputs: inputs, methods: method.methods, settings: settings, classNames: names,
        skipsUnsuitable: method.isAll)
      return try await run.write(into: folder, target: target) { stage, completed, total in
        line.show(stage, completed, of: total)
      }
    }
    line.finish()
    try directory.commit()
    if json { try Output.json(summary) } else { try report(summary) }
  }

  /// What a network is called in pictures and files: what its folder holds.
  private func title(of argument: String) -> String {
    if FileManager.default.fileExists(atPath: "\(argument)/trace.onnx") { return "trace" }
    return FileManager.default.fileExists(atPath: "\(argument)/chain.onnx") ? "chain" : "dense"
  }

  private func report(_ summary: ExplanationSummary) throws {
    for skipped in summary.skipped {
      try Output.line("\(skipped.method) was left out: \(skipped.reason.prefix { $0 != "\n" })")
    }
    for image in summary.images {
      let shares = image.networks.map { entry in
        "\(entry.network) says \(entry.predictedName ?? "class \(entry.predicted)") \(Output.percent(entry.probability))"
      }
      try Output.line("\(image.image)  class \(image.target) explained; \(shares.joined(separator: ", "))")
      try Output.line("  \(out)/\(image.folder)/grid.png")
    }
  }
}

/// The arguments of the methods.
struct MethodOptions: ParsableArguments {
  @Option(help: "Steps of integrated gradients.")
  var steps: Int?

  @Option(help: "Noisy copies or random points of smooth-grad and gradient-shap.")
  var noiseSamples: Int?

  @Option(help: "Standard deviation of smooth-grad's noise, in the network's units.")
  var noise: Double?

  @Option(help: "The layer that class activation maps read, by its output's name.")
  var layer: String?

  @Option(help: ArgumentHelp("Side of occlusion's window.", valueName: "pixels"))
  var window: Int?

  @Option(help: ArgumentHelp("Step of occlusion's window.", valueName: "pixels"))
  var stride: Int?

  @Option(help: "Superpixels of lime, about.")
  var segments: Int?

  @Option(help: "Perturbations of lime.")
  var perturbations: Int?

  @Option(help: "Masks of rise.")
  var masks: Int?

  @Option(
    help: ArgumentHelp(
      "The colour that stands for nothing, as R,G,B from 0 to 255; by default zeros in the network's units.",
      valueName: "colour"),
    transform: BaselineColour.init(parsing:))
  var baseline: BaselineColour?

  @Option(help: "Seed of everything random.")
  var seed: UInt64 = 0

  func validate() throws {
    let counts: [(String, Int?)] = [
      ("--steps", steps), ("--noise-samples", noiseSamples), ("--window", window), ("--stride", stride),
      ("--segments", segments), ("--perturbations", perturbations), ("--masks", masks),
    ]
    for (name, value) in counts {
      try checkCount(value, name)
    }
    if let noise, !(noise >= 0 && noise.isFinite) { throw ValidationError("--noise must be 0 or more") }
  }

  /// The arguments for a network that reads pictures of `sampleShape` behind `preprocessing`.
  func settings(_ preprocessing: Preprocessing, sampleShape: Shape) throws -> AttributionSettings {
    var settings = AttributionSettings()
    // Other channels than a picture's have no bounds that are known.
    if sampleShape.rank > 0, sampleShape[0] == 3 { settings.inputBounds = InputBounds(preprocessing) }
    settings.baseline = try baseline?.tensor(preprocessing, sampleShape: sampleShape)
    settings.layer = layer
    settings.seed = seed
    if let steps { settings.steps = steps }
    if let noiseSamples { settings.noiseSamples = noiseSamples }
    if let noise { settings.smoothGradDeviation = noise }
    let spatialAxes = max(1, sampleShape.rank - 1)
    if let window { settings.window = [Int](repeating: window, count: spatialAxes) }
    if let stride { settings.strides = [Int](repeating: stride, count: spatialAxes) }
    if let segments { settings.segments = segments }
    if let perturbations { settings.limeSamples = perturbations }
    if let masks { settings.masks = masks }
    return settings
  }
}

/// A colour as the command line names it.
struct BaselineColour {
  private let levels: [UInt8]

  @Sendable
  init(parsing argument: String) throws {
    levels = argument.split(separator: ",").compactMap { UInt8($0.trimmingCharacters(in: .whitespaces)) }
    guard levels.count == 3, argument.filter({ $0 == "," }).count == 2 else {
      throw ValidationError("write a colour as three levels from 0 to 255, as in 125,123,114")
    }
  }

  /// What a network reads of a picture of this colour.
  func tensor(_ preprocessing: Preprocessing, sampleShape: Shape) throws -> Tensor {
    guard sampleShape.rank == 3, sampleShape[0] == 3 else {
      throw ExplanationError.badArgument("--baseline is a colour; the network reads \(sampleShape) and no RGB pictures")
    }
    let pixels = (0..<sampleShape[1] * sampleShape[2]).flatMap { _ in levels }
    let picture = Image(width: sampleShape[2], height: sampleShape[1], pixels: pixels)
    return try preprocessing.withoutSteps.tensor(of: [picture]) { _ in "--baseline" }.reshaped(to: sampleShape)
  }
}

extension Preprocessing {
  /// The same numbers for pictures that have the network's size already.
  var withoutSteps: Preprocessing { Preprocessing(channels: channels, divisor: divisor, mean: mean, std: std) }
}

/// Methods as the command line names them.
struct MethodList {
  var methods: [AttributionMethod]
  /// Whether all were asked for, and none by its name.
  private(set) var isAll = false

  init(methods: [AttributionMethod]) { self.methods = methods }

  @Sendable
  init(parsing argument: String) throws {
    if argument.lowercased() == "all" {
      methods = AttributionMethod.allCases
      isAll = true
      return
    }
    methods = []
    for name in argument.split(separator: ",", omittingEmptySubsequences: false) {
      guard let method = AttributionMethod(named: name.trimmingCharacters(in: .whitespaces)) else {
        let known = AttributionMethod.allCases.map(\.rawValue).joined(separator: ", ")
        throw ValidationError("there is no method '\(name)'; known are \(known), and all")
      }
      if !methods.contains(method) { methods.append(method) }
    }
  }
}

extension SampleOptions {
  /// The samples as the network reads them, each with the picture that people see.
  func pictures(for model: ONNXModel) throws -> ExplanationInputs {
    let found = try SampleSource.samples(images, inputShape: sampleShape(of: model))
    return try ExplanationInputs(found, preprocessing: Preprocessing.named(preprocess))
  }
}
