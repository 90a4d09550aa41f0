import CatenaTensors

/// Why a node cannot be imported.
enum NodeFailure: Error {
  /// It breaks a rule of its operator.
  case invalid(String)
  /// It is outside what is supported.
  case unsupported(String)

  var reason: String {
    switch self {
    case .invalid(let reason), .unsupported(let reason): reason
    }
  }
}

/// A node of the file while it is imported: its operands' names and typed access to its attributes.
struct ImportedNode {
  let location: ONNXNodeLocation
  let opset: Int
  let inputs: [String]
  let outputs: [String]
  private let attributes: [String: Onnx_AttributeProto]

  init(_ proto: Onnx_NodeProto, location: ONNXNodeLocation, opset: Int) throws(NodeFailure) {
    self.location = location
    self.opset = opset
    inputs = proto.input
    outputs = proto.output
    var attributes: [String: Onnx_AttributeProto] = [:]
    for attribute in proto.attribute {
      guard attributes.updateValue(attribute, forKey: attribute.name) == nil else {
        throw .invalid("the attribute '\(attribute.name)' is given twice")
      }
      guard attribute.refAttrName.isEmpty else {
        throw .invalid("the attribute '\(attribute.name)' refers to one of a function, but the node is in none")
      }
    }
    self.attributes = attributes
  }

  /// Whether input `index` is given.
  func has(_ index: Int) -> Bool { inputs.indices.contains(index) && !inputs[index].isEmpty }

  /// Whether output `index` is wanted.
  func wants(_ index: Int) -> Bool { outputs.indices.contains(index) && !outputs[index].isEmpty }

  func has(attribute name: String) -> Bool { attributes[name] != nil }

  var attributeNames: [String] { attributes.keys.sorted() }

  func int(_ name: String) throws(NodeFailure) -> Int? {
    guard let attribute = try attribute(name, .int, "an integer", { $0.hasI }) else { return nil }
    return Int(attribute.i)
  }

  func int(_ name: String, default value: Int) throws(NodeFailure) -> Int { try int(name) ?? value }

  func flag(_ name: String, default value: Bool = false) throws(NodeFailure) -> Bool {
    try int(name).map { $0 != 0 } ?? value
  }

  func float(_ name: String, default value: Float) throws(NodeFailure) -> Float {
    try float(name) ?? value
  }

  func float(_ name: String) throws(NodeFailure) -> Float? {
    try attribute(name, .float, "a number", { $0.hasF })?.f
  }

  func ints(_ name: String) throws(NodeFailure) -> [Int]? {
    try attribute(name, .ints, "a list of integers", { _ in true })?.ints.map(Int.init)
  }

  func floats(_ name: String) throws(NodeFailure) -> [Float]? {
    try attribute(name, .floats, "a list of numbers", { _ in true })?.floats
  }

  func string(_ name: String, default value: String) throws(NodeFailure) -> String {
    guard let attribute = try attribute(name, .string, "a string", { $0.hasS }) else { return value }
    return String(decoding: attribute.s, as: UTF8.self)
  }

  func tensor(_ name: String) throws(NodeFailure) -> Tensor? {
    guard let attribute = try attribute(name, .tensor, "a tensor", { $0.hasT }) else { return nil }
    guard ElementType(onnx: attribute.t.dataType) != nil else {
      throw .unsupported("the tensor '\(name)' has the element type \(ElementType.onnxName(attribute.t.dataType))")
    }
    do throws(ONNXError) { return try Tensor(attribute.t, directory: nil) } catch { throw .invalid(error.description) }
  }

  /// The attribute of that name, which must be of `type` where the file states a type.
  private func attribute(
    _ name: String, _ type: Onnx_AttributeProto.AttributeType, _ words: String,
    _ isSet: (Onnx_AttributeProto) -> Bool
  ) throws(NodeFailure) -> Onnx_AttributeProto? {
    guard let attribute = attributes[name] else { return nil }
    guard attribute.type == type || (attribute.type == .undefined && isSet(attribute)) else {
      throw .invalid("the attribute '\(name)' is not \(words)")
    }
    return attribute
  }
}
