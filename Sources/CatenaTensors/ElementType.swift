/// The type of one element of a tensor.
///
/// Names and widths follow ONNX's `TensorProto.DataType` and safetensors' `dtype`.
public enum ElementType: String, Sendable, Hashable, CaseIterable, Codable {
  case bool, uint8, int8, uint16, int16, uint32, int32, uint64, int64
  case float16, bfloat16, float32, float64

  /// Bytes per element; a `bool` is one byte, 0 or 1.
  public var byteCount: Int {
    switch self {
    case .bool, .uint8, .int8: 1
    case .uint16, .int16, .float16, .bfloat16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64: 8
    }
  }

  /// Whether the type holds fractions (f16, bf16, f32, f64).
  public var isFloatingPoint: Bool {
    switch self {
    case .float16, .bfloat16, .float32, .float64: true
    default: false
    }
  }

  /// Whether the type is a signed or unsigned integer; `bool` is not.
  public var isInteger: Bool { !isFloatingPoint && self != .bool }
}
