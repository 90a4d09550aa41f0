import CatenaFormats
import Foundation
import TestSupport
import Testing

@Suite("PNG and JPEG")
struct ImageDecodingTests {
  @Test("Every kind of file has Pillow's pixels", arguments: Goldens.manifest.decoded)
  func pillow(golden: Goldens.Manifest.Decoded) throws {
    let image = try Image.read(Goldens.image(golden.file))
    #expect(image.width == golden.width)
    #expect(image.height == golden.height)
    #expect(image.pixels == (try Goldens.bytes(Goldens.image(golden.file + ".rgb"))))
  }

  @Test("The applied orientation is reported", arguments: 1...8)
  func orientation(number: Int) throws {
    let image = try Image.read(Goldens.image("orientation\(number).jpg"))
    #expect(image.appliedOrientation.rawValue == number)
  }

  @Test("A grey image has three equal channels", arguments: ["grey8.png", "grey.jpg", "grey1.png"])
  func grey(file: String) throws {
    let pixels = try Image.read(Goldens.image(file)).pixels
    for pixel in stride(from: 0, to: pixels.count, by: 3) {
      #expect(pixels[pixel] == pixels[pixel + 1] && pixels[pixel] == pixels[pixel + 2])
    }
    #expect(Set(pixels).count > 1)
  }

  @Test(
    "Every proper prefix of a file is an error",
    arguments: ["rgb8.png", "interlaced.png", "rgb420.jpg", "progressive.jpg"])
  func truncated(file: String) throws {
    let bytes = try Goldens.bytes(Goldens.image(file))
    for count in stride(from: bytes.count - 1, through: 0, by: -7) {
      let prefix = Array(bytes[..<count])
      let error = fileError { () throws(FileError) in try Image.decode(prefix, path: "cut") }
      #expect(error != nil, "\(count) bytes of \(bytes.count)")
      if count > 100 { #expect(error?.kind == .truncated, "\(count) bytes: \(String(describing: error))") }
    }
  }

  @Test("A header that announces absurd sizes is refused before memory is taken")
  func absurdPNG() throws {
    var bytes = try Goldens.bytes(Goldens.image("rgb8.png"))
    // 1,000,000,000 x 1,000,000,000, and the checksum of that header.
    bytes.replaceSubrange(16..<24, with: [0x3b, 0x9a, 0xca, 0x00, 0x3b, 0x9a, 0xca, 0x00])
    bytes.replaceSubrange(29..<33, with: crc32(Array(bytes[12..<29])))
    #expect(fileError { () throws(FileError) in try Image.decode(bytes, path: "a.png") }?.kind == .tooLarge)
    // 13,000 x 13,000 is allowed, but cannot be in so few bytes.
    bytes.replaceSubrange(16..<24, with: [0, 0, 0x32, 0xc8, 0, 0, 0x32, 0xc8])
    bytes.replaceSubrange(29..<33, with: crc32(Array(bytes[12..<29])))
    #expect(fileError { () throws(FileError) in try Image.decode(bytes, path: "a.png") }?.kind == .truncated)
  }

  @Test("A JPEG header that announces more than the limit is refused")
  func absurdJPEG() throws {
    var bytes = try Goldens.bytes(Goldens.image("rgb444.jpg"))
    let frame = try #require(bytes.indices.first { bytes[$0] == 0xff && bytes[$0 + 1] == 0xc0 })
    bytes.replaceSubrange(frame + 5..<frame + 9, with: [0xff, 0xdc, 0xff, 0xdc])
    #expect(fileError { () throws(FileError) in try Image.decode(bytes, path: "a.jpg") }?.kind == .tooLarge)
  }

  @Test(
    "Other kinds of file are named",
    arguments: [("GIF89a.....", "GIF"), ("RIFF....WEBPVP8 ", "WebP"), ("", "empty"), ("hello", "unknown")])
  func foreign(content: String, word: String) {
    let error = fileError { () throws(FileError) in try Image.decode(Array(content.utf8), path: "x") }
    #expect(error?.kind == .unsuitable)
    #expect(error?.reason.contains(word) == true)
  }

  @Test("A missing file and a folder are told apart")
  func missing() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("none.png")
    #expect(
      fileError { () throws(FileError) in try Image.read(path) }
        == FileError(
          .missing, path, "there is no such file or folder"))
    #expect(fileError { () throws(FileError) in try Image.read(folder.path) }?.kind == .unsuitable)
    #expect(fileError { () throws(FileError) in try Image.read("/dev/zero") }?.kind == .unsuitable)
  }

  @Test("What is written is read back")
  func encode() throws {
    let image = try Image.read(Goldens.image("source.png"))
    #expect(try Image.decode(PNGEncoder.encode(image), path: "copy") == image)
    let levels = (0..<35).map { UInt8($0 * 7) }
    let grey = try Image.decode(PNGEncoder.encodeGrey(levels, width: 7, height: 5), path: "grey")
    #expect(grey == Image(width: 7, height: 5, pixels: levels.flatMap { [$0, $0, $0] }))
  }
}

/// The checksum of a PNG chunk, bit by bit.
func crc32(_ bytes: [UInt8]) -> [UInt8] {
  var sum = UInt32.max
  for byte in bytes {
    sum ^= UInt32(byte)
    for _ in 0..<8 { sum = sum & 1 == 1 ? 0xedb8_8320 ^ (sum >> 1) : sum >> 1 }
  }
  return (0..<4).map { UInt8(truncatingIfNeeded: ~sum >> (24 - 8 * UInt32($0))) }
}
