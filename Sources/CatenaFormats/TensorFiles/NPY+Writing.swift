import CatenaTensors

extension NPY {
  /// The bytes of a .npy file (version 1.0) of `tensor`, little-endian, in row-major order.
  ///
  /// Brain floats, which numpy lacks, are stored as float32.
  public static func encode(_ tensor: Tensor) -> [UInt8] {
    let stored = tensor.elementType == .bfloat16 ? Tensor(tensor.floats, shape: tensor.shape) : tensor
    let extents = stored.shape.dimensions.map { "\($0)," }.joined(separator: " ")
    var header = "{'descr': '\(typeName(of: stored.elementType))', 'fortran_order': False, 'shape': (\(extents)), }"
    // The format aligns the numbers to 64 bytes and ends the header with a line break.
    header += String(repeating: " ", count: 63 - (10 + header.utf8.count) % 64) + "\n"
    var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0]
    bytes += [UInt8(truncatingIfNeeded: header.utf8.count), UInt8(truncatingIfNeeded: header.utf8.count >> 8)]
    bytes += Array(header.utf8)
    stored.withUnsafeBytes { bytes.append(contentsOf: $0) }
    return bytes
  }

  /// Writes `tensor` to `path`, complete or not at all.
  public static func write(_ tensor: Tensor, to path: String) throws(FileError) {
    try AtomicFile.write(encode(tensor), to: path)
  }

  private static func typeName(of type: ElementType) -> String {
    switch type {
    case .bool: "|b1"
    case .uint8: "|u1"
    case .int8: "|i1"
    case .uint16: "<u2"
    case .int16: "<i2"
    case .uint32: "<u4"
    case .int32: "<i4"
    case .uint64: "<u8"
    case .int64: "<i8"
    case .float16: "<f2"
    case .float32, .bfloat16: "<f4"
    case .float64: "<f8"
    }
  }
}
