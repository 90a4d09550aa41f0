import CatenaTensors

/// Numpy's array files (`.npy`, format versions 1 to 3).
public enum NPY {
  /// Reads the array at `path`; Fortran order is turned into row-major order, other byte orders into this machine's.
  public static func read(_ path: String) throws(FileError) -> Tensor { try decode(readFile(path), path: path) }

  /// Decodes the bytes of an array file; `path` names them in errors.
  public static func decode(_ bytes: [UInt8], path: String) throws(FileError) -> Tensor {
    var reader = ByteReader(bytes, path: path, subject: "the .npy header")
    guard try reader.take(6).elementsEqual([0x93] + Array("NUMPY".utf8)) else {
      throw FileError(.malformed, path, "is not a numpy array: the signature is missing")
    }
    let version = try reader.take(2)
    guard let major = version.first, (1...3).contains(major) else {
      throw FileError(.unsupported, path, "has a .npy format version that is not supported; 1 to 3 are")
    }
    let length = Int(try reader.littleEndian(byteCount: major == 1 ? 2 : 4))
    let header = try NPYHeader(reader.take(length), path: path)

    guard let (shape, byteCount) = checkedShape(header.dimensions, header.elementType) else {
      throw FileError(.tooLarge, path, "announces an array of \(header.dimensions), which nothing can hold")
    }
    guard reader.remaining >= byteCount else {
      throw FileError(
        .truncated, path,
        "ends early: \(shape) of \(header.elementType) needs \(byteCount) bytes, \(reader.remaining) follow")
    }
    guard reader.remaining == byteCount else {
      throw FileError(.malformed, path, "has \(reader.remaining - byteCount) bytes too many for \(shape)")
    }
    let stored = header.isFortranOrder ? Shape(shape.dimensions.reversed()) : shape
    let tensor = try Tensor(
      fileBytes: reader.take(byteCount), elementType: header.elementType, shape: stored,
      swapped: header.isBigEndian, path: path)
    return header.isFortranOrder ? tensor.axesReversed() : tensor
  }
}

/// The dictionary at the front of an array file.
private struct NPYHeader {
  var elementType = ElementType.float32
  var isBigEndian = false
  var isFortranOrder = false
  var dimensions: [Int] = []

  /// Reads a Python literal such as `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
  init(_ text: ArraySlice<UInt8>, path: String) throws(FileError) {
    var literal = PythonLiteral(text, path: path)
    var keys: Set<String> = []
    try literal.expect("{")
    while !literal.skip("}") {
      let key = try literal.string()
      guard keys.insert(key).inserted else { throw literal.malformed("the key \(key) stands there twice") }
      try literal.expect(":")
      switch key {
      case "descr": try readType(&literal, path)
      case "fortran_order": isFortranOrder = try literal.boolean()
      case "shape": dimensions = try literal.tuple()
      default: throw literal.malformed("the key \(key) is unknown")
      }
      if !literal.skip(",") {
        try literal.expect("}")
        break
      }
    }
    try literal.expectEnd()
    guard keys.count == 3 else { throw literal.malformed("descr, fortran_order and shape are needed") }
    guard dimensions.count <= 64 else { throw literal.malformed("\(dimensions.count) axes are too many") }
  }

  private mutating func readType(_ literal: inout PythonLiteral, _ path: String) throws(FileError) {
    guard literal.isAtString else {
      throw FileError(.unsupported, path, "is an array of records; arrays of numbers are supported")
    }
    let name = try literal.string()
    let types: [String: ElementType] = [
      "b1": .bool, "u1": .uint8, "i1": .int8, "u2": .uint16, "i2": .int16, "u4": .uint32, "i4": .int32,
      "u8": .uint64, "i8": .int64, "f2": .float16, "f4": .float32, "f8": .float64,
    ]
    guard let order = name.first, "<>|=".contains(order), let type = types[String(name.dropFirst())] else {
      let known = types.keys.sorted().joined(separator: " ")
      throw FileError(.unsupported, path, "has the numpy type \"\(name)\"; supported are \(known)")
    }
    elementType = type
    isBigEndian = order == ">"
  }
}

/// The little of Python's literals that array files use.
private struct PythonLiteral {
  private let text: [UInt8]
  private var offset = 0
  private let path: String

  init(_ text: ArraySlice<UInt8>, path: String) { (self.text, self.path) = (Array(text), path) }

  func malformed(_ reason: String) -> FileError {
    FileError(.malformed, path, "the .npy header is damaged at its byte \(offset): \(reason)")
  }

  private mutating func skipSpaces() {
    while offset < text.count, [0x20, 0x0a, 0x09, 0x0d].contains(text[offset]) { offset += 1 }
  }

  mutating func skip(_ character: Unicode.Scalar) -> Bool {
    skipSpaces()
    guard offset < text.count, text[offset] == UInt8(ascii: character) else { return false }
    offset += 1
    return true
  }

  mutating func expect(_ character: Unicode.Scalar) throws(FileError) {
    guard skip(character) else { throw malformed("\"\(character)\" is missing") }
  }

  mutating func expectEnd() throws(FileError) {
    skipSpaces()
    guard offset == text.count else { throw malformed("something follows the dictionary") }
  }

  var isAtString: Bool {
    mutating get {
      skipSpaces()
      return offset < text.count && (text[offset] == UInt8(ascii: "'") || text[offset] == UInt8(ascii: "\""))
    }
  }

  mutating func string() throws(FileError) -> String {
    guard isAtString else { throw malformed("a string is missing") }
    let quote = text[offset]
    guard let end = text[(offset + 1)...].firstIndex(of: quote) else { throw malformed("a string does not end") }
    defer { offset = end + 1 }
    return String(decoding: text[offset + 1..<end], as: UTF8.self)
  }

  private mutating func word() -> String {
    skipSpaces()
    let letters = text[offset...].prefix { $0 != 0x20 && !Array(",)}:".utf8).contains($0) }
    offset += letters.count
    return String(decoding: letters, as: UTF8.self)
  }

  mutating func boolean() throws(FileError) -> Bool {
    switch word() {
    case "True": return true
    case "False": return false
    default: throw malformed("True or False is missing")
    }
  }

  mutating func tuple() throws(FileError) -> [Int] {
    var numbers: [Int] = []
    try expect("(")
    while !skip(")") {
      // Python 2 wrote a trailing L.
      let digits = word().trimming(suffix: "L")
      guard let number = Int(digits), number >= 0 else { throw malformed("an extent of the shape is missing") }
      numbers.append(number)
      if !skip(",") {
        try expect(")")
        break
      }
    }
    return numbers
  }
}

extension String {
  fileprivate func trimming(suffix: Character) -> String { last == suffix ? String(dropLast()) : self }
}

extension Tensor {
  /// The tensor with its axes in the opposite order.
  fileprivate func axesReversed() -> Tensor {
    let target = Shape(shape.dimensions.reversed())
    let width = elementType.byteCount
    let sourceStrides = Array(shape.strides.reversed())
    return Tensor(elementType: elementType, shape: target) { output in
      withUnsafeBytes { input in
        var position = [Int](repeating: 0, count: target.rank)
        var source = 0
        for element in 0..<target.elementCount {
          for byte in 0..<width { output[element * width + byte] = input[source * width + byte] }
          var axis = target.rank - 1
          while axis >= 0 {
            position[axis] += 1
            source += sourceStrides[axis]
            if position[axis] < target[axis] { break }
            source -= sourceStrides[axis] * target[axis]
            position[axis] = 0
            axis -= 1
          }
        }
      }
    }
  }
}
