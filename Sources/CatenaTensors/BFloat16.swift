/// The upper half of an IEEE binary32 number; a storage type, converted before arithmetic.
public struct BFloat16: Sendable, Hashable, BitwiseCopyable {
  /// The sixteen bits: sign, 8 exponent bits, 7 fraction bits.
  public var bitPattern: UInt16

  /// The number with these bits.
  public init(bitPattern: UInt16) { self.bitPattern = bitPattern }

  /// The nearest representable number, ties to even; a NaN stays a (quiet) NaN.
  public init(_ value: Float) {
    let bits = value.bitPattern
    if value.isNaN {
      bitPattern = UInt16(truncatingIfNeeded: bits >> 16) | 0x0040
    } else {
      bitPattern = UInt16(truncatingIfNeeded: (bits &+ 0x7fff &+ ((bits >> 16) & 1)) >> 16)
    }
  }

  /// The nearest representable number, ties to even, rounded once.
  public init(rounding value: Double) {
    var nearest = Float(value)
    if nearest.isFinite, Double(nearest) != value {
      // Cut off instead, and keep in the last bit that something was lost: no false tie can arise in the second rounding.
      if abs(Double(nearest)) > abs(value) { nearest = Float(bitPattern: nearest.bitPattern - 1) }
      nearest = Float(bitPattern: nearest.bitPattern | 1)
    }
    self.init(nearest)
  }

  /// The same number as a `Float`, exactly.
  public var float: Float { Float(bitPattern: UInt32(bitPattern) << 16) }
}
