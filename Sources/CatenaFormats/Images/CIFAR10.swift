/// One labelled picture of a CIFAR-10 file.
public struct CIFAR10Record: Sendable, Hashable {
  /// The class, 0 to 9.
  public let label: Int
  /// The picture, 32 by 32.
  public let image: Image
}

/// The binary files of the CIFAR-10 data set: records of one label byte and 32 x 32 red, then green, then blue bytes.
public struct CIFAR10File: Sendable {
  /// Pixels along each side of a picture.
  public static let side = 32
  /// Bytes per record.
  public static let recordByteCount = 1 + 3 * side * side

  private let bytes: [UInt8]
  private let path: String

  /// Reads the file at `path`.
  public init(_ path: String) throws(FileError) { try self.init(readFile(path), path: path) }

  /// Takes the bytes of a file; `path` names them in errors.
  public init(_ bytes: [UInt8], path: String) throws(FileError) {
    guard !bytes.isEmpty else { throw FileError(.truncated, path, "is empty; CIFAR-10 records are needed") }
    guard bytes.count % Self.recordByteCount == 0 else {
      throw FileError(
        .malformed, path,
        "has \(bytes.count) bytes, which is no multiple of the \(Self.recordByteCount) bytes of a CIFAR-10 record")
    }
    for start in stride(from: 0, to: bytes.count, by: Self.recordByteCount) where bytes[start] > 9 {
      throw FileError(
        .malformed, path,
        "record \(start / Self.recordByteCount) has the label \(bytes[start]); CIFAR-10 has the labels 0 to 9")
    }
    (self.bytes, self.path) = (bytes, path)
  }

  /// The number of records.
  public var count: Int { bytes.count / Self.recordByteCount }

  /// The record `index`, counted from 0.
  /// - Precondition: `index` is below `count`.
  public subscript(index: Int) -> CIFAR10Record {
    precondition((0..<count).contains(index), "\(path) has no record \(index)")
    let start = index * Self.recordByteCount
    let plane = Self.side * Self.side
    let pixels = (0..<plane * 3).map { bytes[start + 1 + $0 % 3 * plane + $0 / 3] }
    return CIFAR10Record(
      label: Int(bytes[start]), image: Image(width: Self.side, height: Self.side, pixels: pixels))
  }
}
