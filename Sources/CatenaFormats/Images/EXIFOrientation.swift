/// How a camera held the picture that it stored (EXIF tag 0x0112).
public enum EXIFOrientation: Int, Sendable, Hashable, Codable {
  /// Stored as seen.
  case upright = 1
  /// Mirrored left to right.
  case mirrored
  /// Turned by 180 degrees.
  case upsideDown
  /// Mirrored top to bottom.
  case flipped
  /// Mirrored along the main diagonal.
  case transposed
  /// To be turned clockwise by 90 degrees.
  case turnedLeft
  /// Mirrored along the other diagonal.
  case transversed
  /// To be turned anticlockwise by 90 degrees.
  case turnedRight

  /// The orientation in an EXIF block (a TIFF structure); upright when there is none, or none that can be read: a damaged
  /// side note is no reason to refuse a picture.
  init(exif: some RandomAccessCollection<UInt8>) {
    let bytes = Array(exif)
    self = .upright
    let isLittleEndian: Bool
    switch bytes.prefix(2) {
    case [0x49, 0x49]: isLittleEndian = true
    case [0x4d, 0x4d]: isLittleEndian = false
    default: return
    }
    func number(at offset: Int, byteCount: Int) -> Int? {
      guard offset >= 0, offset <= bytes.count - byteCount else { return nil }
      let digits = bytes[offset..<offset + byteCount]
      return isLittleEndian
        ? digits.reversed().reduce(0) { $0 << 8 | Int($1) } : digits.reduce(0) { $0 << 8 | Int($1) }
    }
    guard number(at: 2, byteCount: 2) == 42, let directory = number(at: 4, byteCount: 4),
      let entryCount = number(at: directory, byteCount: 2)
    else { return }
    for index in 0..<entryCount {
      let entry = directory + 2 + 12 * index
      guard let tag = number(at: entry, byteCount: 2) else { return }
      // Type 3 is a 16-bit integer, stored in the entry itself.
      guard tag == 0x0112, number(at: entry + 2, byteCount: 2) == 3 else { continue }
      if let value = number(at: entry + 8, byteCount: 2) { self = EXIFOrientation(rawValue: value) ?? .upright }
      return
    }
  }

  /// Whether the upright picture's rows are the stored picture's columns.
  var swapsAxes: Bool { rawValue >= 5 }

  /// The stored pixel that stands at (`x`, `y`) in the upright picture, for a stored picture of `width` x `height`.
  fileprivate func source(x: Int, y: Int, width: Int, height: Int) -> (x: Int, y: Int) {
    switch self {
    case .upright: (x, y)
    case .mirrored: (width - 1 - x, y)
    case .upsideDown: (width - 1 - x, height - 1 - y)
    case .flipped: (x, height - 1 - y)
    case .transposed: (y, x)
    case .turnedLeft: (y, height - 1 - x)
    case .transversed: (width - 1 - y, height - 1 - x)
    case .turnedRight: (width - 1 - y, x)
    }
  }
}

extension Image {
  /// The upright picture of a stored one that is marked with `orientation`.
  func applying(_ orientation: EXIFOrientation) -> Image {
    guard orientation != .upright else { return self }
    let (newWidth, newHeight) = orientation.swapsAxes ? (height, width) : (width, height)
    let upright = [UInt8](unsafeUninitializedCapacity: pixels.count) { target, count in
      pixels.withUnsafeBufferPointer { source in
        for y in 0..<newHeight {
          for x in 0..<newWidth {
            let from = orientation.source(x: x, y: y, width: width, height: height)
            for channel in 0..<3 {
              target[(y * newWidth + x) * 3 + channel] = source[(from.y * width + from.x) * 3 + channel]
            }
          }
        }
      }
      count = pixels.count
    }
    return Image(width: newWidth, height: newHeight, pixels: upright, appliedOrientation: orientation)
  }
}
