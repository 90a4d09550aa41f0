import CatenaTensors
import FoundationEssentials

/// Bounds on what a file may claim, so that arithmetic on extents cannot overflow and nothing is reserved for numbers
/// that no machine could hold.
enum ONNXLimits {
  static let rank = 32
  static let extent = Int(Int32.max)
  static let elementCount = 1 << 40
  /// Strides, pads, dilations and the like.
  static let parameter = 1 << 30

  /// The shape of these extents, or what is wrong with them.
  static func shape(_ dimensions: [Int64]) throws(NodeFailure) -> Shape {
    guard dimensions.count <= rank else { throw .invalid("\(dimensions.count) axes are more than \(rank)") }
    var product = 1
    for dimension in dimensions {
      guard dimension >= 0 else { throw .invalid("the extent \(dimension) is negative") }
      guard dimension <= Int64(extent) else { throw .invalid("the extent \(dimension) is larger than \(extent)") }
      let (next, overflow) = product.multipliedReportingOverflow(by: max(1, Int(dimension)))
      guard !overflow, next <= elementCount else {
        throw .invalid("the shape \(dimensions) has more than \(elementCount) elements")
      }
      product = next
    }
    return Shape(dimensions.map(Int.init))
  }
}

extension ElementType {
  /// The element type of an ONNX `TensorProto.DataType`, `nil` for those that Catena does not hold.
  init?(onnx code: Int32) {
    guard let match = Self.onnxCodes.first(where: { $0.code == code }) else { return nil }
    self = match.type
  }

  /// ONNX's number for the type.
  var onnxCode: Int32 { Self.onnxCodes.first { $0.type == self }?.code ?? 0 }

  /// What ONNX calls a data type, for messages.
  static func onnxName(_ code: Int32) -> String {
    if let type = Self(onnx: code) { return type.rawValue }
    return Onnx_TensorProto.DataType(rawValue: Int(code)).map { "\($0)" } ?? "number \(code)"
  }

  private static let onnxCodes: [(type: ElementType, code: Int32)] = [
    (.float32, 1), (.uint8, 2), (.int8, 3), (.uint16, 4), (.int16, 5), (.int32, 6), (.int64, 7), (.bool, 9),
    (.float16, 10), (.float64, 11), (.uint32, 12), (.uint64, 13), (.bfloat16, 16),
  ]
}

extension Tensor {
  /// A stored tensor; `directory` is where external data may lie.
  package init(_ proto: Onnx_TensorProto, directory: String?) throws(ONNXError) {
    func failure(_ reason: String) -> ONNXError { .tensor(name: proto.name, reason: reason) }
    guard let elementType = ElementType(onnx: proto.dataType) else {
      throw failure("its element type (\(ElementType.onnxName(proto.dataType))) is not supported")
    }
    let shape: Shape
    do throws(NodeFailure) { shape = try ONNXLimits.shape(proto.dims) } catch { throw failure(error.reason) }
    let byteCount = shape.elementCount * elementType.byteCount
    if proto.dataLocation == .external {
      guard let directory else { throw failure("it lies in another file, and the model was not read from a folder") }
      let part = try ExternalData(proto)
      let bytes = try part.read(byteCount: byteCount, in: directory)
      self.init(raw: bytes, elementType, shape)
      return
    }
    if proto.hasRawData {
      guard proto.rawData.count == byteCount else {
        throw failure("\(proto.rawData.count) bytes are stored; \(elementType.rawValue) \(shape) needs \(byteCount)")
      }
      self.init(raw: proto.rawData, elementType, shape)
      return
    }
    func checked<Element>(_ stored: [Element]) throws(ONNXError) -> [Element] {
      guard stored.count == shape.elementCount else {
        throw failure("\(stored.count) elements are stored; the shape \(shape) needs \(shape.elementCount)")
      }
      return stored
    }
    switch elementType {
    case .float32: self.init(try checked(proto.floatData), shape: shape)
    case .float64: self.init(try checked(proto.doubleData), shape: shape)
    case .int64: self.init(try checked(proto.int64Data), shape: shape)
    case .uint64: self.init(try checked(proto.uint64Data), shape: shape)
    case .uint32: self.init(try checked(proto.uint64Data).map { UInt32(truncatingIfNeeded: $0) }, shape: shape)
    case .int32: self.init(try checked(proto.int32Data), shape: shape)
    case .int16: self.init(try checked(proto.int32Data).map { Int16(truncatingIfNeeded: $0) }, shape: shape)
    case .int8: self.init(try checked(proto.int32Data).map { Int8(truncatingIfNeeded: $0) }, shape: shape)
    case .uint16: self.init(try checked(proto.int32Data).map { UInt16(truncatingIfNeeded: $0) }, shape: shape)
    case .uint8: self.init(try checked(proto.int32Data).map { UInt8(truncatingIfNeeded: $0) }, shape: shape)
    case .bool: self.init(try checked(proto.int32Data).map { $0 != 0 }, shape: shape)
    case .float16:
      self.init(
        try checked(proto.int32Data).map { Float16(bitPattern: UInt16(truncatingIfNeeded: $0)) }, shape: shape)
    case .bfloat16:
      self.init(
        try checked(proto.int32Data).map { BFloat16(bitPattern: UInt16(truncatingIfNeeded: $0)) }, shape: shape)
    }
  }

  /// Little-endian bytes of the right number; a `bool` other than 0 is 1.
  private init(raw: Data, _ elementType: ElementType, _ shape: Shape) {
    self.init(elementType: elementType, shape: shape) { bytes in
      raw.copyBytes(to: bytes)
      guard elementType == .bool else { return }
      for index in bytes.indices where bytes[index] > 1 { bytes[index] = 1 }
    }
  }

  /// The tensor as ONNX stores it, in raw form.
  package func proto(named name: String) -> Onnx_TensorProto {
    var proto = Onnx_TensorProto()
    proto.name = name
    proto.dataType = elementType.onnxCode
    proto.dims = shape.dimensions.map(Int64.init)
    proto.rawData = withUnsafeBytes { Data($0) }
    return proto
  }
}

extension Tensor {
  /// A tensor from the bytes of a `TensorProto` of its own, as ONNX's test data is stored.
  package init(onnx bytes: [UInt8]) throws(ONNXError) {
    let proto: Onnx_TensorProto
    do { proto = try Onnx_TensorProto(serializedBytes: bytes) } catch {
      throw .malformed("a stored tensor cannot be parsed (\(error))")
    }
    try self.init(proto, directory: nil)
  }
}
