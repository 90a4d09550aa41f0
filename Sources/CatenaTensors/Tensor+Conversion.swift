extension Tensor {
  /// The elements as doubles, whatever the element type; integers beyond 2^53 are rounded.
  public var doubles: [Double] {
    switch elementType {
    case .bool: elements(of: UInt8Bits.self).map { $0.byte == 0 ? 0 : 1 }
    case .uint8: elements(of: UInt8.self).map(Double.init)
    case .int8: elements(of: Int8.self).map(Double.init)
    case .uint16: elements(of: UInt16.self).map(Double.init)
    case .int16: elements(of: Int16.self).map(Double.init)
    case .uint32: elements(of: UInt32.self).map(Double.init)
    case .int32: elements(of: Int32.self).map(Double.init)
    // `Double.init` alone would be the initialiser from a bit pattern.
    case .uint64: elements(of: UInt64.self).map { Double($0) }
    case .int64: elements(of: Int64.self).map(Double.init)
    case .float16: elements(of: Float16.self).map(Double.init)
    case .bfloat16: elements(of: BFloat16.self).map { Double($0.float) }
    case .float32: elements(of: Float.self).map(Double.init)
    case .float64: elements(of: Double.self)
    }
  }

  /// The elements as floats, whatever the element type.
  public var floats: [Float] {
    elementType == .float32 ? elements(of: Float.self) : doubles.map(Float.init)
  }

  /// The elements as integers; fractions are cut off, numbers outside `Int`'s range are clamped, NaN is 0.
  public var integers: [Int] {
    switch elementType {
    case .int64: elements(of: Int64.self).map(Int.init)
    case .uint64: elements(of: UInt64.self).map { Int(clamping: $0) }
    default:
      doubles.map { value in
        if value.isNaN { return 0 }
        return value >= 0x1p63 ? Int.max : value < -0x1p63 ? Int.min : Int(value)
      }
    }
  }

  /// A tensor of `elementType` with these values, rounded to nearest for floating-point types and cut off towards zero
  /// (and wrapped to the type's width) for integers.
  public init(doubles: [Double], shape: Shape, elementType: ElementType) {
    switch elementType {
    case .bool: self.init(doubles.map { $0 != 0 }, shape: shape)
    case .uint8: self.init(doubles.map { UInt8(truncatingIfNeeded: wrapped($0)) }, shape: shape)
    case .int8: self.init(doubles.map { Int8(truncatingIfNeeded: wrapped($0)) }, shape: shape)
    case .uint16: self.init(doubles.map { UInt16(truncatingIfNeeded: wrapped($0)) }, shape: shape)
    case .int16: self.init(doubles.map { Int16(truncatingIfNeeded: wrapped($0)) }, shape: shape)
    case .uint32: self.init(doubles.map { UInt32(truncatingIfNeeded: wrapped($0)) }, shape: shape)
    case .int32: self.init(doubles.map { Int32(truncatingIfNeeded: wrapped($0)) }, shape: shape)
    case .uint64: self.init(doubles.map { UInt64(truncatingIfNeeded: wrapped($0)) }, shape: shape)
    case .int64: self.init(doubles.map { Int64(wrapped($0)) }, shape: shape)
    case .float16: self.init(doubles.map { Float16($0) }, shape: shape)
    case .bfloat16: self.init(doubles.map { BFloat16(rounding: $0) }, shape: shape)
    case .float32: self.init(doubles.map { Float($0) }, shape: shape)
    case .float64: self.init(doubles, shape: shape)
    }
  }
}

/// A `bool` read as its byte, so that a file's byte other than 0 and 1 cannot make an invalid `Bool`.
private struct UInt8Bits: TensorElement {
  var byte: UInt8
  static var elementType: ElementType { .bool }
}

private func wrapped(_ value: Double) -> Int {
  value.isNaN ? 0 : value >= 0x1p63 ? Int.max : value < -0x1p63 ? Int.min : Int(value)
}
