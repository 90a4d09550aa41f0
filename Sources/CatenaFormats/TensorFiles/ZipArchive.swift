import CZlib
import CatenaTensors

/// The directory of a zip archive, as far as numpy's archives need it: no encryption, no parts, below 4 GiB.
struct ZipArchive {
  private(set) var entries: [ZipEntry] = []

  /// Reads the directory at the end of `bytes`.
  init(_ bytes: [UInt8], path: String) throws(FileError) {
    let end = try Self.endRecord(bytes, path)
    var reader = ByteReader(bytes, at: end + 8, path: path, subject: "the zip directory")
    _ = try reader.take(2)
    let count = Int(try reader.littleEndian(byteCount: 2))
    let byteCount = Int(try reader.littleEndian(byteCount: 4))
    let start = Int(try reader.littleEndian(byteCount: 4))
    guard count != 0xffff, start != 0xffff_ffff else {
      throw FileError(.unsupported, path, "is a zip archive with 64-bit offsets; save the arrays as .npy files")
    }
    guard start + byteCount <= end else { throw reader.malformed("it reaches beyond its place") }
    reader = ByteReader(bytes, at: start, path: path, subject: "the zip directory")
    for _ in 0..<count { entries.append(try ZipEntry(&reader)) }
    try refuseOverlaps(path)
  }

  /// The position of the end-of-directory record, which only a comment may follow.
  private static func endRecord(_ bytes: [UInt8], _ path: String) throws(FileError) -> Int {
    let byteCount = 22
    let latest = bytes.count - byteCount
    if latest >= 0 {
      let signature = Array("PK\u{5}\u{6}".utf8)
      for position in stride(from: latest, through: max(0, latest - 0xffff), by: -1)
      where bytes[position..<position + 4].elementsEqual(signature) {
        return position
      }
    }
    throw FileError(.truncated, path, "is cut short: the directory at the end of the zip archive is missing")
  }

  /// Entries that share their data are how a small archive unpacks to a huge one.
  private func refuseOverlaps(_ path: String) throws(FileError) {
    let ordered = entries.sorted { $0.headerOffset < $1.headerOffset }
    for (entry, next) in zip(ordered, ordered.dropFirst())
    where entry.headerOffset + entry.compressedByteCount > next.headerOffset {
      throw FileError(.malformed, path, "the zip entries \(entry.name) and \(next.name) overlap")
    }
  }
}

/// One file of a zip archive.
struct ZipEntry {
  let name: String
  let headerOffset: Int
  let compressedByteCount: Int
  private let byteCount: Int
  private let method: Int
  private let flags: Int
  private let checksum: UInt32

  /// Reads the next entry of the directory.
  fileprivate init(_ reader: inout ByteReader) throws(FileError) {
    guard try reader.take(4).elementsEqual("PK\u{1}\u{2}".utf8) else { throw reader.malformed("an entry is missing") }
    _ = try reader.take(4)
    flags = Int(try reader.littleEndian(byteCount: 2))
    method = Int(try reader.littleEndian(byteCount: 2))
    _ = try reader.take(4)
    checksum = UInt32(try reader.littleEndian(byteCount: 4))
    compressedByteCount = Int(try reader.littleEndian(byteCount: 4))
    byteCount = Int(try reader.littleEndian(byteCount: 4))
    let nameByteCount = Int(try reader.littleEndian(byteCount: 2))
    let extraByteCount = Int(try reader.littleEndian(byteCount: 2))
    let commentByteCount = Int(try reader.littleEndian(byteCount: 2))
    _ = try reader.take(8)
    headerOffset = Int(try reader.littleEndian(byteCount: 4))
    guard let text = String(validating: try reader.take(nameByteCount), as: UTF8.self) else {
      throw reader.malformed("the name of an entry is not UTF-8")
    }
    name = text
    _ = try reader.take(extraByteCount + commentByteCount)
  }

  /// The unpacked content, with its checksum verified.
  func content(of bytes: [UInt8], path: String) throws(FileError) -> [UInt8] {
    guard flags & 1 == 0 else { throw FileError(.unsupported, path, "is encrypted") }
    guard byteCount != 0xffff_ffff, compressedByteCount != 0xffff_ffff else {
      throw FileError(.unsupported, path, "has a 64-bit size; save the array as an .npy file")
    }
    var reader = ByteReader(bytes, at: headerOffset, path: path, subject: "the zip entry")
    guard headerOffset < bytes.count, try reader.take(4).elementsEqual("PK\u{3}\u{4}".utf8) else {
      throw reader.malformed("it has no header")
    }
    _ = try reader.take(22)
    let nameByteCount = Int(try reader.littleEndian(byteCount: 2))
    let extraByteCount = Int(try reader.littleEndian(byteCount: 2))
    _ = try reader.take(nameByteCount + extraByteCount)
    let packed = try reader.take(compressedByteCount)
    let content: [UInt8]
    switch method {
    case 0:
      guard byteCount == compressedByteCount else { throw reader.malformed("its two sizes differ though it is stored") }
      content = Array(packed)
    case 8: content = try inflated(packed, reader)
    default: throw FileError(.unsupported, path, "is packed by zip method \(method); stored and deflated are supported")
    }
    guard crc32(0, content, UInt32(content.count)) == UInt(checksum) else {
      throw reader.malformed("its checksum is wrong")
    }
    return content
  }

  private func inflated(_ packed: ArraySlice<UInt8>, _ reader: ByteReader) throws(FileError) -> [UInt8] {
    // Deflate cannot compress better than this; a larger claim is a lie, found before the memory is taken.
    guard byteCount / 1032 <= packed.count else { throw reader.malformed("it announces \(byteCount) bytes, too many") }
    var input = Array(packed)
    var status = Z_OK
    let content = [UInt8](unsafeUninitializedCapacity: byteCount) { output, count in
      input.withUnsafeMutableBufferPointer { input in
        var stream = z_stream()
        // Minus: no zlib header around the data.
        status = inflateInit2_(
          &stream, -MAX_WBITS, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard status == Z_OK else { return }
        (stream.next_in, stream.avail_in) = (input.baseAddress, UInt32(input.count))
        (stream.next_out, stream.avail_out) = (output.baseAddress, UInt32(output.count))
        status = inflate(&stream, Z_FINISH)
        count = output.count - Int(stream.avail_out)
        inflateEnd(&stream)
      }
    }
    guard status == Z_STREAM_END, content.count == byteCount else {
      throw reader.malformed("its packed data is damaged")
    }
    return content
  }
}
