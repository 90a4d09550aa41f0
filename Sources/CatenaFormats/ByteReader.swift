import CatenaTensors

/// Reads numbers and runs of bytes from the front of a file's data, with bounds checked.
struct ByteReader {
  /// The file, for errors.
  let path: String
  /// What the data is, for errors: "the .npy header".
  let subject: String
  let bytes: [UInt8]
  private(set) var offset: Int

  init(_ bytes: [UInt8], at offset: Int = 0, path: String, subject: String) {
    (self.bytes, self.offset, self.path, self.subject) = (bytes, offset, path, subject)
  }

  /// The bytes that are left.
  var remaining: Int { bytes.count - offset }

  /// The next `count` bytes.
  mutating func take(_ count: Int) throws(FileError) -> ArraySlice<UInt8> {
    guard count >= 0, count <= remaining else {
      throw FileError(
        .truncated, path, "\(subject) ends early: \(count) bytes are needed at byte \(offset), \(remaining) are left")
    }
    defer { offset += count }
    return bytes[offset..<offset + count]
  }

  /// The next `byteCount` bytes as an unsigned number, the lowest byte first.
  mutating func littleEndian(byteCount: Int) throws(FileError) -> UInt64 {
    try take(byteCount).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// An error of the data at the current position.
  func malformed(_ reason: String) -> FileError { FileError(.malformed, path, "\(subject): \(reason)") }
}

extension Tensor {
  /// A tensor of the file's little-endian (or, with `swapped`, big-endian) elements.
  ///
  /// `bytes` has the shape's size, which the caller has checked; a boolean other than 0 and 1 is an error.
  init(
    fileBytes bytes: ArraySlice<UInt8>, elementType: ElementType, shape: Shape, swapped: Bool = false,
    path: String
  ) throws(FileError) {
    if elementType == .bool, let wrong = bytes.first(where: { $0 > 1 }) {
      throw FileError(.malformed, path, "holds the byte \(wrong) where a boolean is 0 or 1")
    }
    self.init(elementType: elementType, shape: shape) { target in
      bytes.withUnsafeBytes { target.copyMemory(from: $0) }
      let width = elementType.byteCount
      guard swapped, width > 1 else { return }
      for start in stride(from: 0, to: target.count, by: width) {
        for index in 0..<width / 2 { target.swapAt(start + index, start + width - 1 - index) }
      }
    }
  }
}

/// The shape of these extents and its size in bytes, or `nil` when that size is beyond what can be addressed.
func checkedShape(_ dimensions: [Int], _ elementType: ElementType) -> (shape: Shape, byteCount: Int)? {
  // Extents of zero do not excuse absurd others: strides and later products would overflow.
  var nonZeroCount = elementType.byteCount
  for dimension in dimensions {
    guard dimension >= 0 else { return nil }
    let (product, overflow) = nonZeroCount.multipliedReportingOverflow(by: max(dimension, 1))
    guard !overflow else { return nil }
    nonZeroCount = product
  }
  let shape = Shape(dimensions)
  return (shape, shape.elementCount * elementType.byteCount)
}
