/// A node of an ONNX file, as messages name it.
public struct ONNXNodeLocation: Sendable, Hashable, CustomStringConvertible {
  /// Position in the file.
  public let index: Int
  /// The node's name, or that of its first output when it has none.
  public let name: String
  /// The operator type, with its domain when it is not ONNX's own.
  public let operatorType: String
  /// The version of the operator set that the file imports for the node's domain.
  public let opset: Int

  /// As in `node 12 'features.3' (Conv, opset 13)`.
  public var description: String { "node \(index) '\(name)' (\(operatorType), opset \(opset))" }
}

/// A node that cannot be imported, and why.
public struct UnsupportedNode: Sendable, Hashable, CustomStringConvertible {
  /// The node.
  public let node: ONNXNodeLocation
  /// What it needs that is missing, and what is supported.
  public let reason: String

  /// The node and the reason.
  public var description: String { "\(node): \(reason)" }
}

/// What is wrong with an ONNX model, or with what was asked of one.
public enum ONNXError: Error, Hashable, CustomStringConvertible {
  /// A file could not be read or written.
  case file(FileError)
  /// The bytes are no model, or the model's structure breaks a rule of the format.
  case malformed(String)
  /// A stored tensor breaks a rule of the format.
  case tensor(name: String, reason: String)
  /// A node breaks a rule of its operator.
  case node(ONNXNodeLocation, reason: String)
  /// All nodes that are outside what is supported.
  case unsupported([UnsupportedNode])
  /// The model cannot be bound as asked.
  case binding(String)
  /// A graph cannot be expressed as an ONNX model.
  case notExpressible(String)

  /// What was wrong, where, and what to do.
  public var description: String {
    switch self {
    case .file(let error): error.description
    case .malformed(let reason): "the ONNX model is malformed: \(reason)"
    case .tensor(let name, let reason): "the ONNX model is malformed: tensor '\(name)': \(reason)"
    case .node(let node, let reason): "the ONNX model is malformed: \(node): \(reason)"
    case .unsupported(let nodes):
      "\(nodes.count) node(s) of the ONNX model are not supported:\n  "
        + nodes.map(\.description).joined(separator: "\n  ")
    case .binding(let reason): reason
    case .notExpressible(let reason): "the graph cannot be written as ONNX: \(reason)"
    }
  }
}
