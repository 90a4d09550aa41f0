import CatenaCompute
import Foundation

/// What is known of a trace on disk: `trace.json`.
public struct TraceManifest: Sendable, Hashable, Codable {
  /// The value of `format`.
  public static let formatName = "catena-trace"
  /// The newest format version that this program writes and reads.
  public static let currentVersion = "1.0"

  /// `catena-trace`.
  public var format = TraceManifest.formatName
  /// major.minor; a reader refuses a newer major.
  public var formatVersion = TraceManifest.currentVersion
  /// The version of the program that wrote this.
  public var catenaVersion: String
  /// The source network.
  public var model: Model
  /// How pictures became inputs: the preprocessing description, as given.
  public var preprocessing: String
  /// Where it was computed.
  public var device: DeviceDescription
  /// The settings, the seed among them.
  public var settings: TraceSettings
  /// The lowest precision that products could be computed in.
  public var precision: Precision
  /// The most bytes that were to be planned for, where that was said.
  public var memoryLimit: Int?
  /// The sample's name.
  public var sample: String
  /// SHA-256 of the picture's pixels: 8-bit RGB, row by row.
  public var pixels: String
  /// Whether the network's answers survive.
  public var fidelity: TraceFidelity
  /// Connections in all layers together.
  public var connections: Part
  /// Every layer that can be pruned.
  public var layers: [Layer]
  /// Mixing layers that were left as they are.
  public var untouched: [UntouchedLayer]
  /// Bytes that were planned before the run.
  public var plannedBytes: Int

  /// The source network.
  public struct Model: Sendable, Hashable, Codable {
    /// The file's name, without its folder.
    public var file: String
    /// SHA-256 of the file.
    public var sha256: String
  }

  /// A part of a whole.
  public struct Part: Sendable, Hashable, Codable {
    /// What is left.
    public var kept: Int
    /// What there was.
    public var total: Int
  }

  /// A layer.
  public struct Layer: Sendable, Hashable, Codable {
    /// The node's first output in the source file; the name of the layer's mask.
    public var name: String
    /// The part that was to be removed.
    public var ratio: Double
    /// The shape of its weights in the file.
    public var shape: [Int]
    /// Weights that are not zero.
    public var connections: Part
    /// The solver's loss: half the squared change of the layer's response, per image. Absent for a layer that no solver
    /// worked on.
    public var loss: Double?
    /// What was added to the diagonal of the Hessian, relative to its mean. Absent like `loss`.
    public var damping: Double?
    /// Whether that was more than the solver asks for, because a factorisation failed. Absent like `loss`.
    public var wasDampedFurther: Bool?
    /// Columns without any input, which were zeroed. Absent like `loss`.
    public var deadColumns: Int?
  }

  /// Deterministic JSON: sorted keys, one element per line.
  public func encoded() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    return try Array(encoder.encode(self)) + [UInt8(ascii: "\n")]
  }

  /// Reads a manifest; `path` names it in errors.
  /// - Throws: `TraceError.malformed` for another format, a newer major version or broken JSON.
  public static func decoded(from bytes: [UInt8], path: String) throws(TraceError) -> TraceManifest {
    struct Header: Decodable {
      var format: String
      var formatVersion: String
    }
    func failure(_ reason: String) -> TraceError { .malformed(path: path, reason: reason) }
    do {
      let header = try JSONDecoder().decode(Header.self, from: Data(bytes))
      guard header.format == formatName else { throw failure("the format is '\(header.format)', not '\(formatName)'") }
      guard header.formatVersion.split(separator: ".").first == currentVersion.split(separator: ".").first else {
        throw failure("the version is \(header.formatVersion); this program reads \(currentVersion): use a newer one")
      }
      return try JSONDecoder().decode(TraceManifest.self, from: Data(bytes))
    } catch let error as TraceError {
      throw error
    } catch {
      throw failure("the manifest cannot be read: \(error)")
    }
  }
}
