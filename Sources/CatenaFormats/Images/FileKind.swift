/// What the data in a file is, as far as its first bytes (and, without a signature, its name) tell.
enum FileKind: Hashable {
  case png, jpeg, npy, npz, safetensors, cifar
  /// Known by name only, for messages.
  case other(String)

  init(of bytes: [UInt8], path: String) {
    for (signature, kind) in Self.signatures where bytes.starts(with: signature) {
      self = kind
      return
    }
    let name = path.lowercased()
    if name.hasSuffix(".safetensors") {
      self = .safetensors
    } else if name.hasSuffix(".bin") {
      self = .cifar
    } else if bytes.isEmpty {
      self = .other("an empty file")
    } else {
      self = .other(Self.foreignName(bytes) ?? "a file of an unknown kind")
    }
  }

  /// A noun phrase for messages.
  var description: String {
    switch self {
    case .png: "a PNG image"
    case .jpeg: "a JPEG image"
    case .npy: "a numpy array"
    case .npz: "a zip archive (.npz)"
    case .safetensors: "a safetensors file"
    case .cifar: "a file of CIFAR records"
    case .other(let name): name
    }
  }

  private static let signatures: [([UInt8], FileKind)] = [
    ([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], .png),
    ([0xff, 0xd8, 0xff], .jpeg),
    ([0x93] + Array("NUMPY".utf8), .npy),
    (Array("PK\u{3}\u{4}".utf8), .npz),
    (Array("PK\u{5}\u{6}".utf8), .npz),
  ]

  /// Kinds that people offer by mistake and that can be told by their first bytes.
  private static func foreignName(_ bytes: [UInt8]) -> String? {
    let names: [(String, offset: Int, String)] = [
      ("GIF8", 0, "a GIF image; convert it to PNG"),
      ("BM", 0, "a BMP image; convert it to PNG"),
      ("II*\0", 0, "a TIFF image; convert it to PNG"),
      ("MM\0*", 0, "a TIFF image; convert it to PNG"),
      ("WEBP", 8, "a WebP image; convert it to PNG"),
      ("ftypavif", 4, "an AVIF image; convert it to PNG"),
      ("ftyphei", 4, "an HEIC image; convert it to PNG"),
      ("%PDF", 0, "a PDF document"),
    ]
    return names.first { text, offset, _ in bytes.dropFirst(offset).starts(with: text.utf8) }?.2
  }
}
