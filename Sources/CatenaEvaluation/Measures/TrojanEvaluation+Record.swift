import CatenaCompute
import CatenaExplain
import CatenaFormats
import CatenaTensors
import CatenaTraces
import Foundation

extension TrojanEvaluation {
  /// What an evaluation has measured so far: everything that is needed to go on after an interruption.
  public struct Record: Sendable, Codable {
    /// What must be the same for a record to be of use: networks, pictures, trigger, methods, settings.
    public var key: String
    /// The columns of the trojaned network; the last may lack pictures.
    public var columns: [Measured]
    /// The same of the control network.
    public var controls: [Measured]
  }

  /// A record without results, for these pictures (without the patch).
  /// - Parameters:
  ///   - pictures: The pictures that are scored.
  ///   - network: The trojaned network.
  ///   - control: The control network.
  ///   - extractors: What makes the traces.
  ///   - device: What computes; its number of threads may differ.
  public func emptyRecord(
    for pictures: [Image], of network: ONNXModel, control: ONNXModel?, extractors: [TraceExtractor],
    on device: DeviceDescription
  ) throws -> Record {
    struct Key: Encodable {
      var models: [String?]
      var traces: [TraceSettings]
      var ratios: [[Double]]
      var preprocessing: String
      var pixelScore: PixelScore
      var methods: [AttributionMethod]
      var arguments: String
      var baseline: [Float]?
      var trigger: [Int]
      var pixels: [String]
      var device: [String]
    }
    var arguments = settings
    arguments.baseline = nil
    let key = Key(
      models: [network.sha256, control?.sha256], traces: extractors.map(\.settings), ratios: extractors.map(\.ratios),
      preprocessing: preprocessing.json, pixelScore: pixelScore, methods: methods, arguments: "\(arguments)",
      baseline: settings.baseline?.floats,
      trigger: [trojan.top, trojan.left, trojan.patch.width, trojan.patch.height, trojan.target],
      pixels: ([trojan.patch] + pictures).map { SHA256.hexDigest(of: $0.pixels) },
      device: [device.name, device.backend])
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return Record(key: SHA256.hexDigest(of: try Array(encoder.encode(key))), columns: [], controls: [])
  }
}
