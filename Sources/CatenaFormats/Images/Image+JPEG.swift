import CTurboJPEG

extension Image {
  /// Decodes a JPEG file.
  static func decodeJPEG(_ bytes: [UInt8], path: String) throws(FileError) -> Image {
    let markers = JPEGMarkers(bytes)
    guard markers.isComplete else {
      throw FileError(.truncated, path, "the JPEG data ends before the image is complete")
    }
    guard let decoder = tjInitDecompress() else {
      throw FileError(.tooLarge, path, "there is no memory to read this JPEG image")
    }
    defer { tjDestroy(decoder) }

    var (width, height, subsampling, colors): (Int32, Int32, Int32, Int32) = (-1, -1, -1, -1)
    tjDecompressHeader3(decoder, bytes, UInt(bytes.count), &width, &height, &subsampling, &colors)
    // The call also fails for a subsampling that it has no name for, and decodes such images all the same.
    guard width > 0, height > 0 else { throw failure(decoder, path) }
    guard colors >= 0 else { throw FileError(.unsupported, path, "has a JPEG colour space that is not supported") }
    try checkSize(width: Int(width), height: Int(height), path: path)

    let isFourChannel = colors == Int32(TJCS_CMYK.rawValue) || colors == Int32(TJCS_YCCK.rawValue)
    let format = isFourChannel ? TJPF_CMYK : TJPF_RGB
    let byteCount = Int(width) * Int(height) * (isFourChannel ? 4 : 3)
    var status: Int32 = 0
    let decoded = [UInt8](unsafeUninitializedCapacity: byteCount) { target, count in
      target.initialize(repeating: 0)
      // The slow, exact transform and smooth upsampling are libjpeg's defaults, and Pillow's.
      let flags = TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS
      status = tjDecompress2(
        decoder, bytes, UInt(bytes.count), target.baseAddress, width, 0, height, Int32(format.rawValue), flags)
      count = byteCount
    }
    // A warning tells of damage that the decoder bridged, as in many files from cameras; Pillow accepts those too.
    if status != 0, tjGetErrorCode(decoder) == Int32(TJERR_FATAL.rawValue) { throw failure(decoder, path) }
    let pixels = isFourChannel ? rgb(invertedCMYK: decoded) : decoded
    return Image(width: Int(width), height: Int(height), pixels: pixels).applying(markers.orientation)
  }

  private static func failure(_ decoder: tjhandle, _ path: String) -> FileError {
    let message = tjGetErrorStr2(decoder).map { String(cString: $0) } ?? "no reason given"
    return FileError(.malformed, path, "the JPEG data is damaged: \(message)")
  }

  /// Four-channel JPEG stores 255 minus the ink, by Adobe's convention, which Pillow takes for granted. Pillow's formula
  /// for RGB: the share of white that black leaves, less the ink's share of it.
  private static func rgb(invertedCMYK: [UInt8]) -> [UInt8] {
    let pixelCount = invertedCMYK.count / 4
    return [UInt8](unsafeUninitializedCapacity: pixelCount * 3) { target, count in
      invertedCMYK.withUnsafeBufferPointer { source in
        for pixel in 0..<pixelCount {
          let white = Int(source[4 * pixel + 3])
          for channel in 0..<3 {
            let product = (255 - Int(source[4 * pixel + channel])) * white + 128
            let shade = ((product >> 8) + product) >> 8
            target[3 * pixel + channel] = UInt8(max(0, white - shade))
          }
        }
      }
      count = pixelCount * 3
    }
  }
}

/// What the markers of a JPEG file tell besides the picture.
struct JPEGMarkers {
  /// Whether the file reaches its end-of-image marker.
  private(set) var isComplete = false
  /// The orientation of the EXIF block.
  private(set) var orientation = EXIFOrientation.upright

  /// Walks over the markers of `bytes`.
  init(_ bytes: [UInt8]) {
    var offset = 2
    var isInsideScan = false
    bytes.withUnsafeBufferPointer { bytes in
      while offset + 1 < bytes.count {
        let marker = bytes[offset + 1]
        // Entropy-coded data, stuffed zeros, restart markers, fill bytes and stray bytes between segments.
        guard bytes[offset] == 0xff, marker != 0x00, marker != 0xff, marker & 0xf8 != 0xd0 else {
          offset += 1
          continue
        }
        switch marker {
        case 0xd9:
          isComplete = true
          return
        case 0x01, 0xd8:
          offset += 2
        default:
          guard offset + 3 < bytes.count else { return }
          let length = max(2, Int(bytes[offset + 2]) << 8 | Int(bytes[offset + 3]))
          if marker == 0xe1, !isInsideScan {
            readEXIF(bytes[min(offset + 4, bytes.count)..<min(offset + 2 + length, bytes.count)])
          }
          isInsideScan = isInsideScan || marker == 0xda
          offset += 2 + length
        }
      }
    }
  }

  private mutating func readEXIF(_ segment: Slice<UnsafeBufferPointer<UInt8>>) {
    let signature = Array("Exif\0\0".utf8)
    guard segment.starts(with: signature), orientation == .upright else { return }
    orientation = EXIFOrientation(exif: segment.dropFirst(signature.count))
  }
}
