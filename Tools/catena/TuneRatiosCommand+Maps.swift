import ArgumentParser
import Catena
import Foundation

/// By which maps ratios are chosen.
struct TuningMapOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Choose by how well maps find this trigger: an image or an array of bytes.", valueName: "file"))
  var trigger: String?

  @Option(help: "Row of the trigger's first pixel; by default it ends in the lower right corner.")
  var top: Int?

  @Option(help: "Column of the trigger's first pixel.")
  var left: Int?

  @Option(help: ArgumentHelp("The class that the trigger stands for, from 0.", valueName: "class"))
  var target: Int?

  @Flag(help: "Choose by the maps' insertion score.")
  var insertion = false

  @Option(
    help: ArgumentHelp("The methods whose maps count, joined by commas.", valueName: "names"),
    transform: MethodList.init(parsing:))
  var method = MethodList(methods: [.saliency, .inputTimesGradient, .deepLIFT])

  @OptionGroup var arguments: MethodOptions

  func validate() throws {
    if (trigger == nil) != (target == nil) { throw ValidationError("--trigger and --target belong together") }
    if trigger == nil, top != nil || left != nil { throw ValidationError("--top and --left belong to --trigger") }
    if trigger != nil, insertion { throw ValidationError("choose by --trigger or by --insertion") }
    if let target, target < 0 { throw ValidationError("--target counts classes from 0") }
  }

  /// The score, if any. With a trigger, only the pictures stay that it turns into its class, with it in them, at the
  /// network's size.
  func score(
    _ network: TraceNetwork, _ engine: Engine, _ pictures: inout [TraceSample], _ preprocessing: inout Preprocessing
  ) async throws -> TuningScore? {
    guard trigger != nil || insertion else { return nil }
    let explainer: @Sendable (ONNXModel) throws -> Explainer = { model in
      try Explainer(model: model, backend: engine.backend, options: engine.compileOptions)
    }
    let dense = try explainer(network.model)
    let settings = try arguments.settings(preprocessing, sampleShape: dense.sampleShape)
    guard let trigger, let target else {
      return .insertion(
        of: method.methods, settings, preprocessing: preprocessing, in: network, dense: dense, explainer: explainer)
    }
    guard target < dense.classCount else {
      throw ExplanationError.badArgument("there is no class \(target); the network has \(dense.classCount), from 0")
    }
    guard case .image(let patch)? = try SampleSource.samples([trigger]).first?.content else {
      throw FileError(.unsuitable, trigger, "is no picture: a trigger can be pasted into pictures only")
    }
    let images = try pictures.map { try preprocessing.resized($0.image, name: $0.name) }
    let trojan = try Trojan(
      patch: patch, target: target, pictureWidth: images[0].width, pictureHeight: images[0].height, top: top, left: left
    )
    preprocessing = preprocessing.withoutSteps
    let evaluation = TrojanEvaluation(
      trojan: trojan, preprocessing: preprocessing, methods: method.methods, settings: settings)
    let fooled = try await evaluation.fooled(images, by: dense)
    guard !fooled.isEmpty else {
      throw ExplanationError.unsuitableSamples(
        "the trigger turns none of the \(images.count) images into class \(target): look at --trigger, --target and "
          + "--preprocess")
    }
    pictures = fooled.map { TraceSample(name: pictures[$0].name, image: trojan.triggered(images[$0])) }
    return try .triggerArea(evaluation, in: network, on: engine.backend.device, explainer: explainer)
  }
}
