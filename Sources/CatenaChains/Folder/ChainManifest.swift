import CatenaAutodiff
import CatenaCompute
import CatenaGraph
import Foundation

/// What is known of a chain on disk: `manifest.json`.
///
/// Layers are named by their node's first output in the source file; a unit is (that name, axis, index). Indices are
/// those of the source network.
public struct ChainManifest: Sendable, Hashable, Codable {
  /// The value of `format`.
  public static let formatName = "catena-chain"
  /// The newest format version that this program writes and reads.
  public static let currentVersion = "1.0"

  /// `catena-chain`.
  public var format = ChainManifest.formatName
  /// major.minor; a reader refuses a newer major.
  public var formatVersion = ChainManifest.currentVersion
  /// The version of the program that wrote this.
  public var catenaVersion: String
  /// The source network.
  public var model: Model
  /// How images became samples: the preprocessing description, as given.
  public var preprocessing: String
  /// Where it was computed.
  public var device: DeviceDescription
  /// The settings, the seed among them.
  public var settings: ChainSettings
  /// What the search did.
  public var work: SearchWork
  /// What was asked.
  public var request: ChainRequest
  /// Whether the chain meets it.
  public var met: Bool
  /// The samples.
  public var region: RegionSummary
  /// Every layer with its retained units.
  public var layers: [Layer]
  /// Every residual branch.
  public var blocks: [Block]
  /// How much is left.
  public var size: Size
  /// The chain's fidelity in both modes.
  public var fidelity: Modes
  /// Every point of the curve that was evaluated, the largest chain first.
  public var curve: [CurvePoint]
  /// How every constant of `chain.onnx` follows from the source network's.
  public var constants: [Constant]
  /// Explicit products with zeros and ones, where no constant could make a channel zero.
  public var factors: [Factor]
  /// The products of `chain.soft.onnx` that `chain.onnx` does not have.
  public var softFactors: [SoftFactor]
  /// Dead channels that had to stay, and why.
  public var uncut: [Uncut]

  /// The source network.
  public struct Model: Sendable, Hashable, Codable {
    /// The file's name, without its folder.
    public var file: String
    /// SHA-256 of the file.
    public var sha256: String
  }

  /// The samples.
  public struct RegionSummary: Sendable, Hashable, Codable {
    /// The region's name.
    public var name: String
    /// The samples' names, in order.
    public var samples: [String]
  }

  /// A layer.
  public struct Layer: Sendable, Hashable, Codable {
    /// The name of its node's first output.
    public var name: String
    /// The axis of the units.
    public var axis: Int
    /// The number of units in the source network.
    public var count: Int
    /// The residual branch that the layer lies in, as an index into `blocks`.
    public var block: Int?
    /// The indices of the retained units, ascending.
    public var kept: [Int]
  }

  /// A residual branch.
  public struct Block: Sendable, Hashable, Codable {
    /// The name of the sum that the branch ends in.
    public var name: String
    /// Whether the branch is retained.
    public var kept: Bool
  }

  /// How much is left of the network.
  public struct Size: Sendable, Hashable, Codable {
    /// Units retained, of all units.
    public var units: Part
    /// Residual branches retained.
    public var blocks: Part
    /// Elements of the constants.
    public var parameters: Part
    /// Multiplications with additions, per sample.
    public var multiplyAdds: Part
    /// A part of a whole.
    public struct Part: Sendable, Hashable, Codable {
      /// What is left.
      public var kept: Int
      /// What there was.
      public var total: Int
    }
  }

  /// Both modes of a chain.
  public struct Modes: Sendable, Hashable, Codable {
    /// Kept units exactly 1.
    public var binary: Fidelity
    /// Kept units scaled by their scores.
    public var soft: Fidelity
  }

  /// A point of the curve.
  public struct CurvePoint: Sendable, Hashable, Codable {
    /// Units retained.
    public var keptUnits: Int
    /// The same as a fraction.
    public var keptFraction: Double
    /// The optimisation step whose scores were used; absent for the dense network.
    public var step: Int?
    /// Fidelity in both modes.
    public var fidelity: Modes
  }

  /// A constant of the chain.
  public struct Constant: Sendable, Hashable, Codable {
    /// Its name in the source network.
    public var source: String
    /// Its name in the chain; differs where two readers of one constant needed different cuts.
    public var name: String
    /// Per axis the kept original indices; `null` for all.
    public var kept: [[Int]?]
    /// For grouped convolutions, the kept indices of axis 1 per kept group.
    public var keptByGroup: [[Int]]?
    /// Per axis the original indices whose slices are structural zeros.
    public var zeros: [[Int]]
    /// New elements of an index constant.
    public var renumbered: [Int]?
  }

  /// An explicit product.
  public struct Factor: Sendable, Hashable, Codable {
    /// The name of the constant of zeros and ones.
    public var name: String
    /// The name of the value in front.
    public var value: String
    /// The axis of the zeros, `null` for all of the value.
    public var axis: Int?
    /// The original indices on `axis` whose factor is 0.
    public var zeros: [Int]
  }

  /// A factor of the soft mode.
  public struct SoftFactor: Sendable, Hashable, Codable {
    /// The name of the constant in `chain.soft.onnx`.
    public var name: String
    /// The name of the value in front.
    public var value: String
    /// The axis of the channels; absent for one factor for all of the value.
    public var axis: Int?
    /// The tensor of `scores.safetensors` that the factors are elements of.
    public var scores: String
    /// Which elements, in order.
    public var indices: [Int]
  }

  /// Dead channels that stayed.
  public struct Uncut: Sendable, Hashable, Codable {
    /// The value at whose end they are zero.
    public var value: String
    /// The axis.
    public var axis: Int
    /// The original indices.
    public var indices: [Int]
    /// Why they stayed.
    public var reason: String
  }
}

extension ChainManifest {
  /// The curve for spreadsheets: one line per point.
  var curveTable: String {
    var table = "kept_units,kept_fraction,step,binary_agreement,binary_kl,soft_agreement,soft_kl\n"
    for point in curve {
      let (binary, soft) = (point.fidelity.binary, point.fidelity.soft)
      let numbers = [binary.agreement, binary.divergence, soft.agreement, soft.divergence]
      let step = point.step.map(String.init) ?? ""
      table += "\(point.keptUnits),\(point.keptFraction),\(step),"
      table += numbers.map { "\($0)" }.joined(separator: ",") + "\n"
    }
    return table
  }

  /// Deterministic JSON: sorted keys, one element per line. A divergence without bound is the text `inf`.
  public func encoded() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    return try Array(encoder.encode(self)) + [UInt8(ascii: "\n")]
  }

  /// Reads a manifest.
  /// - Throws: `ChainError.verification` for another format, a newer major version or broken JSON.
  public static func decoded(from bytes: [UInt8]) throws(ChainError) -> ChainManifest {
    struct Header: Decodable {
      var format: String
      var formatVersion: String
    }
    do {
      let header = try JSONDecoder().decode(Header.self, from: Data(bytes))
      guard header.format == formatName else {
        throw ChainError.verification(["manifest.json is of the format '\(header.format)', not '\(formatName)'"])
      }
      guard header.formatVersion.split(separator: ".").first == currentVersion.split(separator: ".").first else {
        throw ChainError.verification([
          "manifest.json is of version \(header.formatVersion); this program reads \(currentVersion): use a newer one"
        ])
      }
      let decoder = JSONDecoder()
      decoder.nonConformingFloatDecodingStrategy = .convertFromString(
        positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
      return try decoder.decode(ChainManifest.self, from: Data(bytes))
    } catch let error as ChainError {
      throw error
    } catch {
      throw ChainError.verification(["manifest.json cannot be read: \(error)"])
    }
  }
}
