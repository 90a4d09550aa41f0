import CatenaFormats
import CatenaTensors
import Foundation

/// Samples with the pictures that they are explained on.
public struct ExplanationInputs: Sendable {
  /// float32, N x C x spatial.
  public let tensor: Tensor
  /// The name of each sample.
  public let names: [String]
  /// What the network sees of each sample, as a picture of the input's size.
  public let pictures: [Image]

  /// Preprocesses samples.
  /// - Throws: `FileError` for samples that do not agree in size.
  public init(_ samples: [Sample], preprocessing: Preprocessing) throws(FileError) {
    tensor = try preprocessing.tensor(of: samples)
    names = samples.map(\.name)
    var pictures: [Image] = []
    for (index, sample) in samples.enumerated() {
      switch sample.content {
      case .image(let image): pictures.append(try preprocessing.resized(image, name: sample.name))
      case .tensor:
        let own = Samples(tensor)
        let (height, width) = own.mapSize
        pictures.append(
          RelevancePicture.picture(ofInput: own[index], channels: own.channels, height: height, width: width))
      }
    }
    self.pictures = pictures
  }
}

/// What was explained, for machines.
public struct ExplanationSummary: Sendable, Codable {
  /// One image.
  public struct Entry: Sendable, Codable {
    /// The sample's name.
    public var image: String
    /// Its folder in the output.
    public var folder: String
    /// The explained class.
    public var target: Int
    /// Per network, what it says of the sample.
    public var networks: [Verdict]
    /// Per method and network.
    public var maps: [Map]
  }
  /// What a network says.
  public struct Verdict: Sendable, Codable {
    /// The network's title.
    public var network: String
    /// Its class.
    public var predicted: Int
    /// The name of its class, where names are known.
    public var predictedName: String?
    /// The probability of its class.
    public var probability: Double
    /// The logit of the explained class.
    public var targetLogit: Double
  }
  /// One map.
  public struct Map: Sendable, Codable {
    /// The method's name.
    public var method: String
    /// The network's title.
    public var network: String
    /// The picture, in the image's folder.
    public var picture: String
    /// The relevance, in the image's folder.
    public var relevance: String
    /// What the relevance adds up to.
    public var sum: Double
    /// See `Attribution.completenessDelta`.
    public var completenessDelta: Double?
    /// See `Attribution.leak`.
    public var leak: Double?
  }
  /// A method that does not suit a network.
  public struct Skipped: Sendable, Codable {
    /// The method's name.
    public var method: String
    /// Why it does not.
    public var reason: String
  }
  /// The form of this summary.
  public var format = "catena-explanations"
  /// Its version.
  public var formatVersion = "1.0"
  /// Per image.
  public var images: [Entry]
  /// The methods that do not suit the network, where only those that do were asked for.
  public var skipped: [Skipped] = []
}

/// Explains samples by several methods on one network or two, and writes pictures and numbers.
public struct ExplanationRun: Sendable {
  /// A network with the title that pictures and files give it.
  public struct Network: Sendable {
    /// `dense`, `chain` or `trace`.
    public var title: String
    /// What explains it.
    public var explainer: Explainer

    /// A titled network.
    public init(title: String, explainer: Explainer) {
      self.title = title
      self.explainer = explainer
    }
  }
  private let networks: [Network]
  private let inputs: ExplanationInputs
  private let methods: [AttributionMethod]
  private let settings: AttributionSettings
  private let classNames: [String]?
  private let skipsUnsuitable: Bool

  /// A run. The first network predicts the explained class.
  /// - Parameter skipsUnsuitable: whether methods that cannot explain one of the networks are left out and named, as long
  ///   as one can.
  public init(
    networks: [Network], inputs: ExplanationInputs, methods: [AttributionMethod], settings: AttributionSettings,
    classNames: [String]? = nil, skipsUnsuitable: Bool = false
  ) {
    precondition(!networks.isEmpty && !methods.isEmpty, "something is explained by something")
    var titled = networks
    for index in titled.indices.dropFirst() where titled[..<index].contains(where: { $0.title == titled[index].title })
    {
      titled[index].title += " \(index + 1)"
    }
    self.networks = titled
    self.inputs = inputs
    self.methods = methods
    self.settings = settings
    self.classNames = classNames
    self.skipsUnsuitable = skipsUnsuitable
  }

  /// Writes everything into `folder`, which exists.
  /// - Parameters:
  ///   - target: The class to explain, or `nil` for what the first network predicts.
  ///   - progress: Called with the stage and how many of how many maps are done.
  /// - Throws: `ExplanationError`, `FileError`.
  public func write(
    into folder: String, target: Int? = nil, progress: @Sendable (String, Int, Int) -> Void = { _, _, _ in }
  ) async throws -> ExplanationSummary {
    var logits: [[[Float]]] = []
    for network in networks { logits.append(try await network.explainer.logits(of: inputs.tensor).rows) }
    let targets = logits[0].map { row in target ?? row.largest(in: row.indices) }
    var attributions: [(method: AttributionMethod, rows: [Attribution])] = []
    var summary = ExplanationSummary(images: [])
    for (index, method) in methods.enumerated() {
      progress("explaining", index, methods.count)
      do throws(ExplanationError) {
        attributions.append((method, try await explained(by: method, targets)))
      } catch {
        let isLast = index == methods.count - 1 && attributions.isEmpty
        guard skipsUnsuitable, !isLast, error.isOfMethodAlone else { throw error }
        summary.skipped.append(.init(method: method.rawValue, reason: "\(error)"))
      }
    }
    progress("explaining", methods.count, methods.count)
    let folders = folderNames()
    for sample in inputs.names.indices {
      summary.images.append(
        try write(sample, folder: folders[sample], into: folder, attributions, logits.map { $0[sample] }))
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    try AtomicFile.write([UInt8](encoder.encode(summary)), to: "\(folder)/explanations.json")
    return summary
  }

  /// What a method says on every network.
  private func explained(
    by method: AttributionMethod, _ targets: [Int]
  ) async throws(ExplanationError) -> [Attribution] {
    var row: [Attribution] = []
    for network in networks {
      row.append(
        try await network.explainer.attribution(
          of: inputs.tensor, method: method, targets: targets, settings: settings))
    }
    return row
  }

  private func write(
    _ sample: Int, folder: String, into root: String,
    _ attributions: [(method: AttributionMethod, rows: [Attribution])], _ logits: [[Float]]
  ) throws -> ExplanationSummary.Entry {
    let path = "\(root)/\(folder)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    let picture = inputs.pictures[sample]
    let target = attributions[0].rows[0].targets[sample]
    var entry = ExplanationSummary.Entry(
      image: inputs.names[sample], folder: folder, target: target,
      networks: zip(networks, logits).map { verdict($0.title, $1, target) }, maps: [])
    var rows: [(title: String, pictures: [Image])] = []
    for (method, results) in attributions {
      var overlays: [Image] = []
      for (network, attribution) in zip(networks, results) {
        let scores = attribution.pixelScores(of: sample)
        let overlay = RelevancePicture.overlay(scores: scores, isSigned: method.isSigned, on: picture)
        let suffix = networks.count == 1 ? "" : "-\(network.title.replacing(" ", with: "-"))"
        let name = method.rawValue + suffix
        try AtomicFile.write(PNGEncoder.encode(overlay), to: "\(path)/\(name).png")
        try NPY.write(attribution.relevance.row(sample), to: "\(path)/\(name).npy")
        overlays.append(overlay)
        entry.maps.append(
          ExplanationSummary.Map(
            method: method.rawValue, network: network.title, picture: "\(name).png", relevance: "\(name).npy",
            sum: scores.reduce(0.0) { $0 + Double($1) }, completenessDelta: attribution.completenessDelta?[sample],
            leak: attribution.leak?[sample]))
      }
      rows.append((method.rawValue, [picture.enlarged(toSide: 256)] + overlays))
    }
    let grid = RelevancePicture.grid(columns: ["image"] + networks.map(\.title), rows: rows)
    try AtomicFile.write(PNGEncoder.encode(grid), to: "\(path)/grid.png")
    return entry
  }

  private func verdict(_ title: String, _ logits: [Float], _ target: Int) -> ExplanationSummary.Verdict {
    let predicted = logits.largest(in: logits.indices)
    return ExplanationSummary.Verdict(
      network: title, predicted: predicted,
      predictedName: classNames.flatMap { $0.indices.contains(predicted) ? $0[predicted] : nil },
      probability: Double(softmax(logits)[predicted]), targetLogit: Double(logits[target]))
  }

  /// A folder per sample, named after its file without what file systems mind; repeated names get a number.
  private func folderNames() -> [String] {
    var used: Set<String> = []
    return inputs.names.map { name in
      let file = name.split(separator: "/").last.map(String.init) ?? name
      let stem = file.contains("#") ? file : file.split(separator: ".").dropLast().joined(separator: ".")
      let base = (stem.isEmpty ? file : stem).map { $0.isLetter || $0.isNumber || "-_.".contains($0) ? $0 : "-" }
      var candidate = String(base)
      var number = 2
      while !used.insert(candidate).inserted {
        candidate = "\(String(base))-\(number)"
        number += 1
      }
      return candidate
    }
  }
}

extension Tensor {
  /// One sample, without the first axis.
  func row(_ index: Int) -> Tensor {
    let inner = Shape(Array(shape.dimensions.dropFirst()))
    return withElements(of: Float.self) { values in
      Tensor(Array(values[index * inner.elementCount..<(index + 1) * inner.elementCount]), shape: inner)
    }
  }

  /// The rows of an N x K tensor.
  var rows: [[Float]] { (0..<shape[0]).map { row($0).elements(of: Float.self) } }
}
