/// An RGB picture with 8 bits per channel.
public struct Image: Sendable, Hashable {
  /// Pixels per row.
  public let width: Int
  /// Rows.
  public let height: Int
  /// `height` rows of `width` pixels of red, green, blue, without gaps.
  public let pixels: [UInt8]
  /// The orientation that the file asked for and that the pixels already have.
  public let appliedOrientation: EXIFOrientation

  /// A picture of these pixels.
  /// - Precondition: `pixels.count` is `width * height * 3`.
  public init(width: Int, height: Int, pixels: [UInt8], appliedOrientation: EXIFOrientation = .upright) {
    precondition(
      width > 0 && height > 0 && pixels.count == width * height * 3,
      "\(pixels.count) bytes are not \(width) x \(height) RGB pixels")
    self.width = width
    self.height = height
    self.pixels = pixels
    self.appliedOrientation = appliedOrientation
  }

  /// The most pixels that a file may announce: Pillow's limit, beyond which it suspects an attack.
  public static let maximumPixelCount = 2 * (1024 * 1024 * 1024 / 4 / 3)

  /// Reads the PNG or JPEG file at `path`, recognised by its first bytes.
  ///
  /// The pixels are those of Pillow's `ImageOps.exif_transpose(Image.open(path)).convert("RGB")`, which is what networks
  /// were trained on: grey becomes three equal channels, palettes are looked up, alpha is dropped (not blended), CMYK is
  /// converted without a colour profile, gamma and profiles are ignored. Of 16-bit colour the high byte counts, while
  /// 16-bit *grey* is cut off at 255, because that is what Pillow does.
  public static func read(_ path: String) throws(FileError) -> Image {
    try decode(readFile(path), path: path)
  }

  /// Decodes the bytes of a PNG or JPEG file; `path` names them in errors.
  public static func decode(_ bytes: [UInt8], path: String) throws(FileError) -> Image {
    switch FileKind(of: bytes, path: path) {
    case .png: try decodePNG(bytes, path: path)
    case .jpeg: try decodeJPEG(bytes, path: path)
    case let kind: throw FileError(.unsuitable, path, "a PNG or JPEG image is needed; this is \(kind.description)")
    }
  }

  /// Throws when a file announces more pixels than anyone should allocate.
  static func checkSize(width: Int, height: Int, path: String) throws(FileError) {
    guard width > 0, height > 0 else {
      throw FileError(.malformed, path, "announces an image of \(width) x \(height) pixels")
    }
    let (count, overflow) = width.multipliedReportingOverflow(by: height)
    guard !overflow, count <= maximumPixelCount else {
      throw FileError(
        .tooLarge, path, "announces \(width) x \(height) pixels; at most \(maximumPixelCount) are read")
    }
  }
}
