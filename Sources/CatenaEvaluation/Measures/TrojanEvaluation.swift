import CatenaExplain
import CatenaFormats
import CatenaTensors

/// How well explanations find the trigger of a trojaned network, on the dense network and on traces of it.
public struct TrojanEvaluation: Sendable {
  /// A way to explain: the dense network for all samples, or a trace made for each.
  public struct Column: Sendable {
    /// `dense`, `fast`, `exact`.
    public var name: String
    /// Gives the network that explains a sample.
    public var network: @Sendable (Int, Image) async throws -> Explainer

    /// A column.
    public init(name: String, network: @escaping @Sendable (Int, Image) async throws -> Explainer) {
      self.name = name
      self.network = network
    }
  }

  /// What was measured of one column.
  public struct Measured: Sendable, Codable {
    /// The column's name.
    public var name: String
    /// Per method (by its raw value), one AUC per sample.
    public var areas: [String: [Double]]
    /// Per method, one value of the pointing game per sample.
    public var pointing: [String: [Double]]
    /// Per sample, whether the column's network predicts what the dense one does.
    public var keepsPrediction: [Bool]

    /// A column of which nothing is measured yet.
    public init(name: String) { (self.name, areas, pointing, keepsPrediction) = (name, [:], [:], []) }

    /// Whether everything is there for as many pictures.
    public var isWhole: Bool {
      (Array(areas.values.map(\.count)) + pointing.values.map(\.count)).allSatisfy { $0 == count }
    }

    /// Pictures that are measured.
    public var count: Int { keepsPrediction.count }

    /// Per sample, the mean AUC over the methods.
    public var meanAreas: [Double] {
      keepsPrediction.indices.map { sample in
        // In a fixed order: sums in another one differ in their last digit.
        areas.sorted { $0.key < $1.key }.reduce(0) { $0 + $1.value[sample] } / Double(max(areas.count, 1))
      }
    }
  }

  /// The trigger.
  public var trojan: Trojan
  /// How pictures become inputs; it must not change their size.
  public var preprocessing: Preprocessing
  /// The methods.
  public var methods: [AttributionMethod]
  /// Their arguments.
  public var settings: AttributionSettings
  /// What a pixel scores, in all columns and by all methods. By its size: whether a trigger's pixel speaks for its class
  /// by being bright or by being dark, and with which sign a method says so, is not what is asked.
  public var pixelScore: PixelScore

  /// An evaluation.
  public init(
    trojan: Trojan, preprocessing: Preprocessing, methods: [AttributionMethod] = AttributionMethod.published,
    settings: AttributionSettings = AttributionSettings(), pixelScore: PixelScore = .size
  ) {
    self.pixelScore = pixelScore
    self.trojan = trojan
    self.preprocessing = preprocessing
    self.methods = methods
    self.settings = settings
  }

  /// The pictures (of other classes, which the network does not take for the target by themselves) that the patch turns
  /// into the target.
  /// - Returns: indices into `pictures`.
  public func fooled(_ pictures: [Image], by network: Explainer) async throws -> [Int] {
    let plain = try await predictions(pictures, by: network)
    let triggered = try await predictions(pictures.map(trojan.triggered), by: network)
    return pictures.indices.filter { plain[$0] != trojan.target && triggered[$0] == trojan.target }
  }

  /// The class of each picture.
  public func predictions(_ pictures: [Image], by network: Explainer) async throws -> [Int] {
    let logits = try await network.logits(of: preprocessing.tensor(of: pictures) { "picture \($0)" })
    let classes = logits.shape[1]
    let values = logits.elements(of: Float.self)
    return pictures.indices.map { picture in
      let row = values[picture * classes..<(picture + 1) * classes]
      return row.indices.reduce(row.startIndex) { row[$1] > row[$0] ? $1 : $0 } - row.startIndex
    }
  }

  /// Explains every triggered picture, by each method, for the class that the dense network predicts.
  /// - Parameters:
  ///   - column: The networks that explain.
  ///   - pictures: Pictures without the patch; it is pasted in here.
  ///   - dense: The network whose predictions are explained.
  ///   - begun: What is known already, of the first pictures.
  ///   - progress: Called with how many of how many pictures are done.
  ///   - checkpoint: Called with everything known, after every picture.
  /// - Throws: `CancellationError` or `ExplanationError.compute(.cancelled)` when the task is cancelled; what the column,
  ///   the methods and `checkpoint` throw.
  public func measured(
    _ column: Column, on pictures: [Image], dense: Explainer, resuming begun: Measured? = nil,
    progress: @Sendable (Int, Int) -> Void = { _, _ in }, checkpoint: (Measured) throws -> Void = { _ in }
  ) async throws -> Measured {
    var result = begun ?? Measured(name: column.name)
    progress(result.count, pictures.count)
    for index in pictures.indices.dropFirst(result.count) {
      try Task.checkCancellation()
      try await measure(pictures[index], index, column, dense, into: &result)
      try checkpoint(result)
      progress(index + 1, pictures.count)
    }
    return result
  }

  private func measure(
    _ picture: Image, _ index: Int, _ column: Column, _ dense: Explainer, into result: inout Measured
  ) async throws {
    let triggered = trojan.triggered(picture)
    let input = try preprocessing.tensor(of: [triggered]) { _ in "picture \(index)" }
    let mask = trojan.mask(width: triggered.width, height: triggered.height)
    let target = try await predictions([triggered], by: dense)
    let network = try await column.network(index, triggered)
    let keepsPrediction = try await predictions([triggered], by: network) == target
    var rows: [(name: String, area: Double, pointing: Double)] = []
    for method in methods {
      let scores = try await network.attribution(of: input, method: method, targets: target, settings: settings)
        .pixelScores(of: 0, as: pixelScore)
      guard let area = PixelMeasures.rocAUC(scores, mask: mask) else {
        preconditionFailure("the patch is a part of the picture")
      }
      rows.append((method.rawValue, area, PixelMeasures.pointing(scores, mask: mask)))
    }
    result.keepsPrediction.append(keepsPrediction)
    for row in rows {
      result.areas[row.name, default: []].append(row.area)
      result.pointing[row.name, default: []].append(row.pointing)
    }
  }
}
