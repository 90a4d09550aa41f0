import CatenaTensors

/// A tensor with the name that a file gives it.
public struct NamedTensor: Sendable {
  /// The name, unique in its file.
  public var name: String
  /// The values.
  public var tensor: Tensor

  /// `tensor` under `name`.
  public init(name: String, tensor: Tensor) {
    self.name = name
    self.tensor = tensor
  }
}

/// The content of a safetensors file: named tensors and free text about them.
public struct Safetensors: Sendable {
  /// Text under text keys (`__metadata__` in the file).
  public var metadata: [String: String]
  /// The tensors; a file that was read has them in the order of their data.
  public var tensors: [NamedTensor]

  /// The longest header that is read, as in the format's reference implementation.
  public static let maximumHeaderByteCount = 100_000_000

  /// A file of these tensors.
  public init(tensors: [NamedTensor], metadata: [String: String] = [:]) {
    self.tensors = tensors
    self.metadata = metadata
  }

  /// The tensor called `name`, if there is one.
  public subscript(name: String) -> Tensor? { tensors.first { $0.name == name }?.tensor }

  /// Reads the file at `path`.
  public static func read(_ path: String) throws(FileError) -> Safetensors { try decode(readFile(path), path: path) }

  private static let types: [(name: String, type: ElementType)] = [
    ("BOOL", .bool), ("U8", .uint8), ("I8", .int8), ("U16", .uint16), ("I16", .int16), ("U32", .uint32),
    ("I32", .int32), ("U64", .uint64), ("I64", .int64), ("F16", .float16), ("BF16", .bfloat16), ("F32", .float32),
    ("F64", .float64),
  ]
}

// MARK: - Reading

extension Safetensors {
  /// Decodes the bytes of a file; `path` names them in errors.
  ///
  /// The tensors' data must fill the file without holes and overlaps, each with exactly the size of its shape.
  public static func decode(_ bytes: [UInt8], path: String) throws(FileError) -> Safetensors {
    var reader = ByteReader(bytes, path: path, subject: "the safetensors header")
    let length = try reader.littleEndian(byteCount: 8)
    guard length <= maximumHeaderByteCount else {
      throw FileError(
        .tooLarge, path, "announces a header of \(length) bytes; at most \(maximumHeaderByteCount) are read")
    }
    let header = try reader.take(Int(length))
    guard header.first == UInt8(ascii: "{") else { throw reader.malformed("it does not start with {") }
    let members: [JSONValue.Member]
    do throws(JSONError) {
      guard case .object(let found) = try JSONValue(header) else { throw JSONError(byte: 0, reason: "no object") }
      members = found
    } catch {
      throw reader.malformed("it is no valid JSON at its byte \(error.byte): \(error.reason)")
    }

    var result = Safetensors(tensors: [])
    var entries: [Entry] = []
    for member in members {
      if member.key == "__metadata__" {
        result.metadata = try metadata(member.value, reader)
      } else {
        entries.append(try Entry(member, reader))
      }
    }
    entries.sort { ($0.start, $0.end) < ($1.start, $1.end) }
    var expected = 0
    for entry in entries {
      guard entry.start == expected else {
        let what = entry.start > expected ? "a hole before" : "an overlap with the data of"
        throw reader.malformed("there is \(what) the tensor \(JSONValue.quoted(entry.name)) at byte \(expected)")
      }
      expected = entry.end
      let tensor = try Tensor(
        fileBytes: reader.take(entry.end - entry.start), elementType: entry.elementType, shape: entry.shape, path: path)
      result.tensors.append(NamedTensor(name: entry.name, tensor: tensor))
    }
    guard reader.remaining == 0 else { throw reader.malformed("\(reader.remaining) bytes belong to no tensor") }
    return result
  }

  private static func metadata(_ value: JSONValue, _ reader: ByteReader) throws(FileError) -> [String: String] {
    guard case .object(let members) = value else { throw reader.malformed("__metadata__ is no object") }
    var result: [String: String] = [:]
    for member in members {
      guard case .string(let text) = member.value else {
        throw reader.malformed("__metadata__ has a value that is no text under \(JSONValue.quoted(member.key))")
      }
      result[member.key] = text
    }
    return result
  }

  /// What the header says of one tensor.
  private struct Entry {
    let name: String
    let elementType: ElementType
    let shape: Shape
    let start: Int
    let end: Int

    init(_ member: JSONValue.Member, _ reader: ByteReader) throws(FileError) {
      name = member.key
      let subject = "the tensor \(JSONValue.quoted(name))"
      guard case .object(let fields) = member.value, Set(fields.map(\.key)) == ["dtype", "shape", "data_offsets"] else {
        throw reader.malformed("\(subject) needs dtype, shape and data_offsets and nothing else")
      }
      let values = Dictionary(uniqueKeysWithValues: fields.map { ($0.key, $0.value) })
      guard case .string(let typeName) = values["dtype"] else { throw reader.malformed("\(subject) has no dtype") }
      guard let type = types.first(where: { $0.name == typeName })?.type else {
        let known = types.map(\.name).joined(separator: " ")
        throw FileError(.unsupported, reader.path, "\(subject) has the type \(typeName); supported are \(known)")
      }
      guard let dimensions = naturals(values["shape"]), let offsets = naturals(values["data_offsets"]),
        offsets.count == 2, offsets[0] <= offsets[1]
      else { throw reader.malformed("\(subject) has a shape or offsets that are no whole numbers in order") }
      guard dimensions.count <= 64, let (shape, byteCount) = checkedShape(dimensions, type) else {
        throw FileError(.tooLarge, reader.path, "\(subject) has a shape that nothing can hold")
      }
      guard byteCount == offsets[1] - offsets[0] else {
        throw reader.malformed(
          "\(subject) has \(offsets[1] - offsets[0]) bytes, but \(shape) of \(typeName) needs \(byteCount)")
      }
      (elementType, self.shape, start, end) = (type, shape, offsets[0], offsets[1])
    }
  }
}

/// The elements of an array of whole numbers that are not negative, or `nil` for anything else.
private func naturals(_ value: JSONValue?) -> [Int]? {
  guard case .array(let elements) = value else { return nil }
  let numbers = elements.compactMap { element in
    if case .number(let digits) = element, let number = Int(digits), number >= 0 { number } else { Int?.none }
  }
  return numbers.count == elements.count ? numbers : nil
}

// MARK: - Writing

extension Safetensors {
  /// Writes the file `path`, complete or not at all. Equal content gives equal bytes.
  ///
  /// The data lie widest element type first and then by name, so that every tensor is aligned.
  /// - Precondition: the names are unique and none is `__metadata__`.
  public func write(to path: String) throws(FileError) {
    var file = try AtomicFile(path)
    let ordered = tensors.sorted { left, right in
      let (leftWidth, rightWidth) = (left.tensor.elementType.byteCount, right.tensor.elementType.byteCount)
      return leftWidth == rightWidth ? precedes(left.name, right.name) : leftWidth > rightWidth
    }
    try file.write(header(of: ordered))
    for named in ordered {
      try named.tensor.withUnsafeBytes { (bytes) throws(FileError) in try file.write(bytes) }
    }
    try file.commit()
  }

  private func header(of ordered: [NamedTensor]) -> [UInt8] {
    precondition(
      Set(ordered.map(\.name)).count == ordered.count && !ordered.contains { $0.name == "__metadata__" },
      "the names of tensors in a safetensors file are unique and not __metadata__")
    var members: [String] = []
    if !metadata.isEmpty {
      let texts = metadata.sorted { precedes($0.key, $1.key) }.map { key, value in
        JSONValue.quoted(key) + ":" + JSONValue.quoted(value)
      }
      members.append("\"__metadata__\":{" + texts.joined(separator: ",") + "}")
    }
    var offset = 0
    for named in ordered {
      let (tensor, end) = (named.tensor, offset + named.tensor.byteCount)
      guard let type = Self.types.first(where: { $0.type == tensor.elementType })?.name else {
        preconditionFailure("safetensors has no name for \(tensor.elementType)")
      }
      let extents = tensor.shape.dimensions.map(String.init).joined(separator: ",")
      members.append(
        JSONValue.quoted(named.name)
          + ":{\"dtype\":\"\(type)\",\"shape\":[\(extents)],\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    var header = Array(("{" + members.joined(separator: ",") + "}").utf8)
    // Spaces up to the next multiple of 8 keep the data aligned.
    header.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (8 - header.count % 8) % 8))
    return (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) } + header
  }
}

private func precedes(_ left: String, _ right: String) -> Bool { left.utf8.lexicographicallyPrecedes(right.utf8) }
