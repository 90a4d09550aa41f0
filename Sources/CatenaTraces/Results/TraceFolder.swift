import CatenaFormats
import CatenaTensors
import Foundation

/// The files of a trace on disk.
public enum TraceFile {
  /// The traced network: the source's file with other weights.
  public static let network = "trace.onnx"
  /// Which connections are left: a bit per weight of every layer.
  public static let connections = "connections.safetensors"
  /// Everything that is known of the trace.
  public static let manifest = "trace.json"
  /// SHA-256 of all the others, in the form of `sha256sum`.
  public static let sums = "SHA256SUMS"

  /// The files that `sums` lists, in its order.
  static let summed = [network, connections, manifest]
}

/// A trace's folder, read.
public struct TraceFolder: Sendable {
  /// The manifest.
  public let manifest: TraceManifest
  /// The traced network.
  public let model: ONNXModel

  /// Whether the folder at `path` holds a trace.
  public static func exists(at path: String) -> Bool {
    FileManager.default.fileExists(atPath: "\(path)/\(TraceFile.manifest)")
  }

  /// Reads the folder at `path`.
  /// - Throws: `FileError` and `ONNXError` for what cannot be read, `TraceError.malformed` for another format.
  public init(contentsOf path: String) throws {
    let file = "\(path)/\(TraceFile.manifest)"
    manifest = try TraceManifest.decoded(from: readFile(file), path: file)
    model = try ONNXModel(contentsOf: "\(path)/\(TraceFile.network)")
  }
}

/// Bits of a mask as bytes: bit i is bit i % 8 of byte i / 8, the last byte filled with zeros.
public enum ConnectionMask {
  /// The bytes of a mask.
  public static func packed(_ connections: [Bool]) -> Tensor {
    var bytes = [UInt8](repeating: 0, count: (connections.count + 7) / 8)
    for (index, isKept) in connections.enumerated() where isKept { bytes[index / 8] |= 1 << UInt8(index % 8) }
    return Tensor(bytes, shape: [bytes.count])
  }

  /// The first `count` bits of a packed mask.
  public static func unpacked(_ tensor: Tensor, count: Int) -> [Bool] {
    let bytes = tensor.elements(of: UInt8.self)
    precondition(bytes.count == (count + 7) / 8, "\(bytes.count) bytes do not hold \(count) bits")
    return (0..<count).map { bytes[$0 / 8] >> UInt8($0 % 8) & 1 == 1 }
  }
}
