import ArgumentParser
import Catena
import Foundation

struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Runs a network on images and prints its predictions.",
    discussion: """
      Examples:
        catena run model.onnx photo.jpg --preprocess imagenet --labels names.txt
        catena run cifar.onnx 'data.bin#0-9' --preprocess cifar10 --top 1 --json

      \(SampleOptions.explanation)
      """)

  @Argument(help: "An ONNX file.", completion: .file(extensions: ["onnx"]))
  var model: String

  @OptionGroup var samples: SampleOptions
  @OptionGroup var device: DeviceOptions

  @Option(help: "How many classes to print.")
  var top = 3

  @Option(help: "A file of class names, one per line.")
  var labels: String?

  @Option(help: "Samples per run.")
  var batch = 32

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    try checkCount(top, "--top")
    try checkCount(batch, "--batch", most: 1_000_000)
  }

  func run() async throws {
    let command = self
    try await reportingFailures(of: model) { try await command.predict() }
  }

  private func predict() async throws {
    let network = try ONNXModel(contentsOf: model)
    let names = try labels.map { try Labels.read($0) }
    let region = try samples.region(named: "images", for: network)
    let (logits, givesLabels) = try await device.withEngine { engine in
      let runner = try await NetworkRunner(
        model: network, batch: min(batch, region.count), backend: engine.backend, options: engine.compileOptions)
      return (try await runner.logits(of: region), runner.givesLabels)
    }
    if let place = logits.firstIndex(where: { !$0.allSatisfy(\.isFinite) }) {
      throw FileError(
        .unsuitable, model,
        "gives NaN or infinite logits for \(region.sampleNames[place]): look at its weights and at --preprocess")
    }
    Output.noteLabels(names, classes: logits.first?.count ?? 0)
    let predictions = zip(region.sampleNames, logits).map {
      Prediction(image: $0, logits: $1, givesLabels: givesLabels, top: top, names: names)
    }
    if json { return try Output.json(predictions) }
    for prediction in predictions {
      let classes = prediction.classes.map { entry in
        "\(entry.name ?? "class \(entry.index)") \(Output.percent(entry.probability))"
      }
      try Output.line("\(prediction.image)  \(classes.joined(separator: ", "))")
    }
  }
}

/// The classes of one image.
private struct Prediction: Encodable {
  struct Entry: Encodable {
    var index: Int
    var name: String?
    var logit: Float
    var probability: Double
  }
  var image: String
  var classes: [Entry]

  init(image: String, logits: [Float], givesLabels: Bool, top: Int, names: [String]?) {
    self.image = image
    let probabilities = givesLabels ? logits.map { Double($0) } : logProbabilities(logits).map { exp($0) }
    let order = logits.indices.sorted { logits[$0] == logits[$1] ? $0 < $1 : logits[$0] > logits[$1] }
    classes = order.prefix(top).map { index in
      let name = names.flatMap { $0.indices.contains(index) ? $0[index] : nil }
      return Entry(index: index, name: name, logit: logits[index], probability: probabilities[index])
    }
  }
}
