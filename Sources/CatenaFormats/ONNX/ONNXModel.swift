import CatenaGraph
import CatenaTensors
import FoundationEssentials
import SwiftProtobuf

/// A trained network in ONNX's form, read and checked.
///
/// Names, order and metadata stay as they are in the file, so that a network can be changed and written back. A
/// `Graph` is made from it for one batch size: see `graph(batch:)`.
public struct ONNXModel: Sendable {
  /// An extent that is fixed or that the caller chooses.
  public enum Dimension: Sendable, Hashable {
    /// An extent.
    case fixed(Int)
    /// A name, empty when the file gives none.
    case symbolic(String)
  }

  /// An input or output of the network.
  public struct Port: Sendable, Hashable {
    /// The name in the file.
    public let name: String
    /// The type of the elements; `nil` where the file does not say it, or says one that is not supported.
    public let elementType: ElementType?
    /// The extents; `nil` where the file does not say them.
    public let dimensions: [Dimension]?
  }

  /// The SHA-256 of the file, and behind it of the stored values that it has in other files, in the order in which it
  /// names them, in hexadecimal digits; `nil` for a model that was made or changed in memory.
  public let sha256: String?
  /// The version of ONNX's operator set that the file imports.
  public let opset: Int
  /// What the caller must give: graph inputs without a stored value.
  public let inputs: [Port]
  /// What the network computes.
  public let outputs: [Port]
  /// Stored values by name.
  public let initializers: [String: Tensor]

  /// The message; the initialisers' contents are in `initializers` only.
  package let proto: Onnx_ModelProto
  /// Indices of `proto.graph.node` in an order in which they can run.
  let order: [Int]
  /// Stored values of types that are not supported, with the reason.
  let unusableInitializers: [String: String]

  /// The newest operator set whose operators are known.
  public static let newestOpset = 22

  /// Reads the file at `path`; tensors in other files must lie in the same folder.
  public init(contentsOf path: String) throws(ONNXError) {
    let bytes: [UInt8]
    do throws(FileError) { bytes = try readFile(path) } catch { throw .file(error) }
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    try self.init(data: bytes, directory: folder)
  }

  /// Reads a model from memory; `directory` is where tensors in other files may lie.
  public init(data: [UInt8], directory: String? = nil) throws(ONNXError) {
    let proto: Onnx_ModelProto
    do { proto = try Onnx_ModelProto(serializedBytes: data) } catch {
      throw .malformed("it cannot be parsed (\(error)): the file is truncated, damaged or no ONNX model")
    }
    try self.init(proto, directory: directory, data: data)
  }

  /// Checks a message. Initialisers whose value is in `replacements` take it from there.
  package init(
    _ proto: Onnx_ModelProto, directory: String?, data: [UInt8]? = nil, replacements: [String: Tensor] = [:]
  ) throws(ONNXError) {
    guard proto.hasGraph else { throw .malformed("it has no graph; the file is damaged or no ONNX model") }
    var digest = SHA256()
    if let data { digest.update(data) }
    opset = try Self.opset(of: proto)
    var proto = proto
    var initializers = replacements
    var unusable: [String: String] = [:]
    var names: Set<String> = []
    for index in proto.graph.initializer.indices {
      let stored = proto.graph.initializer[index]
      guard names.insert(stored.name).inserted else {
        throw .malformed("two initialisers are called '\(stored.name)'")
      }
      if replacements[stored.name] != nil { continue }
      guard ElementType(onnx: stored.dataType) != nil else {
        unusable[stored.name] = "the element type \(ElementType.onnxName(stored.dataType))"
        continue
      }
      let tensor = try Tensor(stored, directory: directory)
      if data != nil, stored.dataLocation == .external { tensor.withUnsafeBytes { digest.update($0) } }
      initializers[stored.name] = tensor
      proto.graph.initializer[index].clearContents()
    }
    for sparse in proto.graph.sparseInitializer {
      guard names.insert(sparse.values.name).inserted else {
        throw .malformed("two initialisers are called '\(sparse.values.name)'")
      }
      unusable[sparse.values.name] = "sparse storage"
    }
    sha256 = data.map { _ in digest.hexDigest() }
    self.initializers = initializers
    unusableInitializers = unusable
    inputs = proto.graph.input.filter { !names.contains($0.name) }.map(Port.init)
    outputs = proto.graph.output.map(Port.init)
    order = try topologicalOrder(of: proto.graph, stored: names)
    self.proto = proto
  }

  /// The extent of the batch when the file fixes it: the first axis of the first input.
  public var fixedBatch: Int? {
    guard case .fixed(let extent)? = inputs.first?.dimensions?.first else { return nil }
    return extent
  }

  /// The number of nodes in the file.
  public var nodeCount: Int { proto.graph.node.count }

  /// The name of the network in the file.
  public var name: String { proto.graph.name }

  func location(of index: Int) -> ONNXNodeLocation {
    let node = proto.graph.node[index]
    let domain = node.domain == "ai.onnx" ? "" : node.domain
    let version = proto.opsetImport.first { ($0.domain == "ai.onnx" ? "" : $0.domain) == domain }?.version
    return ONNXNodeLocation(
      index: index, name: node.name.isEmpty ? node.output.first { !$0.isEmpty } ?? "" : node.name,
      operatorType: domain.isEmpty ? node.opType : "\(domain).\(node.opType)", opset: Int(clamping: version ?? 0))
  }

  private static func opset(of proto: Onnx_ModelProto) throws(ONNXError) -> Int {
    let imports = proto.opsetImport.filter { $0.domain.isEmpty || $0.domain == "ai.onnx" }
    guard imports.count <= 1 else { throw .malformed("ONNX's operator set is imported twice") }
    // Files older than the field mean version 1; files with only other domains name none.
    let version = imports.first?.version ?? 1
    guard version >= 1 else { throw .malformed("the operator set version \(version) does not exist") }
    guard version <= newestOpset else {
      throw .binding(
        "the model uses operator set \(version); up to \(newestOpset) are supported. Export it with an older one")
    }
    return Int(version)
  }
}

extension ONNXModel.Port {
  init(_ info: Onnx_ValueInfoProto) {
    name = info.name
    guard case .tensorType(let type)? = info.type.value else {
      elementType = nil
      dimensions = nil
      return
    }
    elementType = ElementType(onnx: type.elemType)
    dimensions =
      type.hasShape
      ? type.shape.dim.map { dimension in
        switch dimension.value {
        case .dimValue(let extent)?: .fixed(Int(extent))
        case .dimParam(let name)?: .symbolic(name)
        case nil: .symbolic("")
        }
      } : nil
  }
}

extension Onnx_TensorProto {
  /// Forgets the elements and where they lie.
  mutating func clearContents() {
    clearRawData()
    floatData = []
    int32Data = []
    int64Data = []
    doubleData = []
    uint64Data = []
    stringData = []
    externalData = []
    clearDataLocation()
  }
}
