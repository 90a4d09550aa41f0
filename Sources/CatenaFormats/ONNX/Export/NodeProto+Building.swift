import FoundationEssentials

extension Onnx_AttributeProto {
  /// An integer.
  package static func int(_ name: String, _ value: Int) -> Self {
    var attribute = Self()
    attribute.name = name
    attribute.type = .int
    attribute.i = Int64(value)
    return attribute
  }

  /// A list of integers.
  package static func ints(_ name: String, _ values: [Int]) -> Self {
    var attribute = Self()
    attribute.name = name
    attribute.type = .ints
    attribute.ints = values.map(Int64.init)
    return attribute
  }

  /// A number.
  package static func float(_ name: String, _ value: Float) -> Self {
    var attribute = Self()
    attribute.name = name
    attribute.type = .float
    attribute.f = value
    return attribute
  }

  /// A string.
  package static func string(_ name: String, _ value: String) -> Self {
    var attribute = Self()
    attribute.name = name
    attribute.type = .string
    attribute.s = Data(value.utf8)
    return attribute
  }
}

extension Onnx_NodeProto {
  /// A node of ONNX's own domain.
  package init(
    _ operatorType: String, inputs: [String], outputs: [String], attributes: [Onnx_AttributeProto] = []
  ) {
    self.init()
    opType = operatorType
    input = inputs
    output = outputs
    name = outputs.first ?? ""
    attribute = attributes
  }

  /// Sets an attribute, in place of one of that name.
  mutating func set(_ new: Onnx_AttributeProto) {
    removeAttribute(new.name)
    attribute.append(new)
  }

  mutating func removeAttribute(_ name: String) { attribute.removeAll { $0.name == name } }
}
