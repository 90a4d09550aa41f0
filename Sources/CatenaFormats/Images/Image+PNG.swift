import CPNG
import Glibc

extension Image {
  /// Decodes a PNG file.
  static func decodePNG(_ bytes: [UInt8], path: String) throws(FileError) -> Image {
    try bytes.withUnsafeBufferPointer { (buffer) throws(FileError) in try decodePNG(buffer, path: path) }
  }

  private static func decodePNG(_ bytes: UnsafeBufferPointer<UInt8>, path: String) throws(FileError) -> Image {
    guard let reader = catena_png_reader_create(bytes.baseAddress, bytes.count) else {
      throw FileError(.tooLarge, path, "there is no memory to read this PNG image")
    }
    defer { catena_png_reader_free(reader) }
    var info = catena_png_info()
    try check(catena_png_read_header(reader, &info), info, path)
    let (width, height) = (Int(info.width), Int(info.height))
    try checkSize(width: width, height: height, path: path)

    let sampleByteCount = info.bit_depth == 16 ? 2 : 1
    let rowsByteCount = width * height * Int(info.channels) * sampleByteCount
    // Deflate cannot compress better than this, so a small file that announces much is cut short; say so before the
    // memory is taken.
    let storedByteCount = width * height / 8 * Int(info.channels) * Int(info.bit_depth)
    guard storedByteCount / 1032 <= bytes.count else {
      throw FileError(.truncated, path, "ends before the \(width) x \(height) pixels that it announces")
    }
    var status: Int32 = 0
    let rows = [UInt8](unsafeUninitializedCapacity: rowsByteCount) { target, count in
      target.initialize(repeating: 0)
      status = catena_png_read_pixels(reader, &info, target.baseAddress)
      count = rowsByteCount
    }
    try check(status, info, path)
    let image = Image(width: width, height: height, pixels: rgb(rows, info))
    var exifByteCount = 0
    guard let exif = catena_png_exif(reader, &exifByteCount) else { return image }
    return image.applying(EXIFOrientation(exif: UnsafeBufferPointer(start: exif, count: exifByteCount)))
  }

  private static func check(_ status: Int32, _ info: catena_png_info, _ path: String) throws(FileError) {
    var info = info
    let message = withUnsafeBytes(of: &info.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    switch Int(status) {
    case CATENA_PNG_OK: return
    case CATENA_PNG_TRUNCATED: throw FileError(.truncated, path, "the PNG data ends before the image is complete")
    // libpng's words for a stream of pixels that stops before the last row.
    case _ where message.lowercased().contains("not enough"):
      throw FileError(.truncated, path, "the PNG data ends before the image is complete (\(message))")
    default: throw FileError(.malformed, path, "the PNG data is damaged: \(message)")
    }
  }

  /// The rows as Pillow's RGB.
  private static func rgb(_ rows: [UInt8], _ info: catena_png_info) -> [UInt8] {
    let pixelCount = Int(info.width) * Int(info.height)
    let channels = Int(info.channels)
    let table = levels(info)
    return [UInt8](unsafeUninitializedCapacity: pixelCount * 3) { target, count in
      rows.withUnsafeBufferPointer { rows in
        for pixel in 0..<pixelCount {
          for channel in 0..<3 {
            let index = pixel * channels + (channels >= 3 ? channel : 0)
            let level: UInt8 =
              if info.bit_depth < 16 {
                table[3 * Int(rows[index]) + channel]
              } else if info.color_type == 0 {
                rows[2 * index] == 0 ? rows[2 * index + 1] : 255
              } else {
                rows[2 * index]
              }
            target[pixel * 3 + channel] = level
          }
        }
      }
      count = pixelCount * 3
    }
  }

  /// Red, green and blue of each sample value of at most 8 bits, one after the other.
  private static func levels(_ info: catena_png_info) -> [UInt8] {
    var info = info
    let isPalette = info.color_type == 3
    let highest = (1 << Int(min(info.bit_depth, 8))) - 1
    // Grey of fewer bits spans black to white; an index without a palette entry is black in Pillow.
    var table = (0..<256 * 3).map { isPalette ? 0 : UInt8(min(255, $0 / 3 * 255 / highest)) }
    guard isPalette else { return table }
    let count = Int(info.palette_count)
    withUnsafeBytes(of: &info.palette) { palette in
      for index in 0..<count * 3 { table[index] = palette[index] }
    }
    return table
  }
}

/// Writes PNG files with 8 bits per channel.
public enum PNGEncoder {
  /// The bytes of a PNG file of `image`.
  public static func encode(_ image: Image) -> [UInt8] {
    encode(image.pixels, width: image.width, height: image.height, channels: 3)
  }

  /// The bytes of a PNG file of grey levels: `height` rows of `width`.
  /// - Precondition: `levels.count` is `width * height`, at least 1.
  public static func encodeGrey(_ levels: [UInt8], width: Int, height: Int) -> [UInt8] {
    encode(levels, width: width, height: height, channels: 1)
  }

  private static func encode(_ pixels: [UInt8], width: Int, height: Int, channels: Int) -> [UInt8] {
    precondition(
      width > 0 && height > 0 && pixels.count == width * height * channels,
      "\(pixels.count) bytes are not \(width) x \(height) pixels of \(channels) channels")
    var count = 0
    let encoded = catena_png_encode(pixels, UInt32(width), UInt32(height), Int32(channels), &count)
    // Swift's own arrays stop the program too when there is no memory.
    guard let encoded else { preconditionFailure("no memory for a PNG image of \(width) x \(height) pixels") }
    defer { free(encoded) }
    return Array(UnsafeBufferPointer(start: encoded, count: count))
  }
}
