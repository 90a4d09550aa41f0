/// A parsed JSON text (RFC 8259) that keeps what matters for hostile files: the order of members, numbers as they are
/// written, and no member twice.
indirect enum JSONValue: Hashable {
  case object([Member])
  case array([JSONValue])
  case string(String)
  /// The digits as written.
  case number(String)
  case bool(Bool)
  case null

  struct Member: Hashable {
    let key: String
    let value: JSONValue
  }

  /// Parses the whole of `bytes`; trailing white space is allowed.
  init(_ bytes: ArraySlice<UInt8>) throws(JSONError) {
    var parser = JSONParser(bytes)
    self = try parser.document()
  }

  /// `text` as a JSON string, with its quotes.
  static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}

/// Where a JSON text breaks the rules, and how.
struct JSONError: Error {
  /// The offset from the start of the text.
  let byte: Int
  let reason: String
}

/// Throws where `bytes` of the file at `path` break the rules or have a member twice, of which Foundation's decoder takes one
/// in silence.
package func checkJSON(_ bytes: [UInt8], path: String) throws(FileError) {
  do throws(JSONError) { _ = try JSONValue(bytes[...]) } catch {
    throw FileError(.malformed, path, "is no valid JSON at its byte \(error.byte): \(error.reason)")
  }
}

private struct JSONParser {
  private let bytes: [UInt8]
  private var offset = 0
  /// Nesting beyond this would exhaust the stack of a thread.
  private static let maximumDepth = 64

  init(_ bytes: ArraySlice<UInt8>) { self.bytes = Array(bytes) }

  mutating func document() throws(JSONError) -> JSONValue {
    let value = try value(depth: 0)
    skipSpaces()
    guard offset == bytes.count else { throw error("something follows the end") }
    return value
  }

  private func error(_ reason: String) -> JSONError { JSONError(byte: offset, reason: reason) }

  private mutating func skipSpaces() {
    while offset < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[offset]) { offset += 1 }
  }

  private mutating func skip(_ character: Unicode.Scalar) -> Bool {
    skipSpaces()
    guard offset < bytes.count, bytes[offset] == UInt8(ascii: character) else { return false }
    offset += 1
    return true
  }

  private mutating func expect(_ character: Unicode.Scalar) throws(JSONError) {
    guard skip(character) else { throw error("\"\(character)\" is missing") }
  }

  private mutating func value(depth: Int) throws(JSONError) -> JSONValue {
    guard depth < Self.maximumDepth else { throw error("nested too deeply") }
    skipSpaces()
    guard offset < bytes.count else { throw error("a value is missing") }
    switch bytes[offset] {
    case UInt8(ascii: "{"): return .object(try members(depth: depth))
    case UInt8(ascii: "["): return .array(try elements(depth: depth))
    case UInt8(ascii: "\""): return .string(try string())
    default: return try word()
    }
  }

  private mutating func members(depth: Int) throws(JSONError) -> [JSONValue.Member] {
    try expect("{")
    var members: [JSONValue.Member] = []
    var keys: Set<String> = []
    if skip("}") { return [] }
    repeat {
      skipSpaces()
      let key = try string()
      // Swift compares strings by meaning: two keys that only differ in how an accent is encoded are refused as well.
      guard keys.insert(key).inserted else { throw error("the key \(JSONValue.quoted(key)) stands there twice") }
      try expect(":")
      members.append(JSONValue.Member(key: key, value: try value(depth: depth + 1)))
    } while skip(",")
    try expect("}")
    return members
  }

  private mutating func elements(depth: Int) throws(JSONError) -> [JSONValue] {
    try expect("[")
    if skip("]") { return [] }
    var elements: [JSONValue] = []
    repeat { elements.append(try value(depth: depth + 1)) } while skip(",")
    try expect("]")
    return elements
  }

  private mutating func word() throws(JSONError) -> JSONValue {
    let ends = Array(" \t\r\n,:]}".utf8)
    let text = String(decoding: bytes[offset...].prefix { !ends.contains($0) }, as: UTF8.self)
    let value: JSONValue
    switch text {
    case "true": value = .bool(true)
    case "false": value = .bool(false)
    case "null": value = .null
    default:
      guard text.first.map({ $0 == "-" || $0.isNumber }) == true, Double(text) != nil else {
        throw error("a value is missing")
      }
      value = .number(text)
    }
    offset += text.utf8.count
    return value
  }

  private mutating func string() throws(JSONError) -> String {
    try expect("\"")
    var content: [UInt8] = []
    while true {
      guard offset < bytes.count else { throw error("a string does not end") }
      let byte = bytes[offset]
      offset += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let text = String(validating: content, as: UTF8.self) else { throw error("a string is not UTF-8") }
        return text
      case UInt8(ascii: "\\"): content.append(contentsOf: try escape())
      case 0..<0x20: throw error("a control character stands in a string")
      default: content.append(byte)
      }
    }
  }

  private mutating func escape() throws(JSONError) -> [UInt8] {
    guard offset < bytes.count else { throw error("a string does not end") }
    let letter = bytes[offset]
    offset += 1
    let simple: [UInt8: Unicode.Scalar] = [
      0x22: "\"", 0x5c: "\\", 0x2f: "/", 0x62: "\u{8}", 0x66: "\u{c}", 0x6e: "\n", 0x72: "\r", 0x74: "\t",
    ]
    if let scalar = simple[letter] { return Array(String(Character(scalar)).utf8) }
    guard letter == UInt8(ascii: "u") else { throw error("an escape is unknown") }
    var code = try fourDigits()
    if (0xd800..<0xdc00).contains(code) {
      guard skip("\\"), skip("u") else { throw error("half a surrogate pair stands in a string") }
      let low = try fourDigits()
      guard (0xdc00..<0xe000).contains(low) else { throw error("half a surrogate pair stands in a string") }
      code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
    }
    guard let scalar = Unicode.Scalar(code) else { throw error("half a surrogate pair stands in a string") }
    return Array(String(Character(scalar)).utf8)
  }

  private mutating func fourDigits() throws(JSONError) -> UInt32 {
    let digits = bytes[offset...].prefix(4)
    let text = String(decoding: digits, as: UTF8.self)
    guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
      let code = UInt32(text, radix: 16)
    else { throw error("four hexadecimal digits are missing") }
    offset += 4
    return code
  }
}
