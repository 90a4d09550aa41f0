import FoundationEssentials

extension Preprocessing {
  /// Decodes a description in JSON; `path` names it in errors.
  ///
  /// ```json
  /// { "steps": [ { "resizeShortSide": 256, "resampling": "bilinear" }, { "centreCrop": 224 } ],
  ///   "channels": "RGB", "divisor": 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225] }
  /// ```
  /// Other steps are `{ "resize": [width, height], "resampling": ... }` and `{ "centreCropFraction": 0.875 }`. Every
  /// member may be missing: no steps, RGB, 255, mean 0, std 1. Unknown members are errors.
  public static func decode(_ bytes: [UInt8], path: String) throws(FileError) -> Preprocessing {
    try checkJSON(bytes, path: path)
    do {
      return try JSONDecoder().decode(Preprocessing.self, from: Data(bytes))
    } catch let error as DecodingError {
      throw FileError(.malformed, path, "is no preprocessing description: \(reason(error))")
    } catch {
      throw FileError(.malformed, path, "is no preprocessing description: \(error)")
    }
  }

  /// The description in JSON, members in alphabetical order, with a line break at the end.
  public var json: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    do {
      return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
    } catch {
      preconditionFailure("finite numbers and names have a JSON form: \(error)")
    }
  }

  private static func reason(_ error: DecodingError) -> String {
    let (context, detail): (DecodingError.Context, String?) =
      switch error {
      case .typeMismatch(_, let context), .valueNotFound(_, let context): (context, nil)
      case .keyNotFound(let key, let context): (context, "\"\(key.stringValue)\" is missing")
      case .dataCorrupted(let context): (context, context.debugDescription)
      @unknown default: (.init(codingPath: [], debugDescription: ""), "\(error)")
      }
    let place = context.codingPath.map(\.stringValue).joined(separator: ".")
    return (place.isEmpty ? "" : "\(place): ") + (detail ?? context.debugDescription)
  }
}

extension Preprocessing: Codable {
  private enum Key: String, CodingKey, CaseIterable { case steps, channels, divisor, mean, std }

  /// Decodes a description; see ``decode(_:path:)``.
  public init(from decoder: any Decoder) throws {
    try refuseUnknownKeys(decoder, Key.self)
    let values = try decoder.container(keyedBy: Key.self)
    let steps = try values.decodeIfPresent([Step].self, forKey: .steps) ?? []
    let channels = try values.decodeIfPresent(ChannelOrder.self, forKey: .channels) ?? .rgb
    let divisor = try values.decodeIfPresent(Double.self, forKey: .divisor) ?? 255
    let mean = try values.decodeIfPresent([Double].self, forKey: .mean) ?? [0, 0, 0]
    let std = try values.decodeIfPresent([Double].self, forKey: .std) ?? [1, 1, 1]
    if let problem = Self.problem(steps: steps, divisor: divisor, mean: mean, std: std) {
      throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: problem))
    }
    self.init(steps: steps, channels: channels, divisor: divisor, mean: mean, std: std)
  }

  /// Encodes all members.
  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: Key.self)
    try values.encode(steps, forKey: .steps)
    try values.encode(channels, forKey: .channels)
    try values.encode(divisor, forKey: .divisor)
    try values.encode(mean, forKey: .mean)
    try values.encode(std, forKey: .std)
  }
}

extension Preprocessing.Step: Codable {
  private enum Key: String, CodingKey, CaseIterable {
    case resizeShortSide, resize, centreCrop, centreCropFraction, resampling
  }

  /// Decodes a step: an object with one of the four kinds and, to resize, a resampling (bilinear if missing).
  public init(from decoder: any Decoder) throws {
    try refuseUnknownKeys(decoder, Key.self)
    let values = try decoder.container(keyedBy: Key.self)
    func corrupted(_ reason: String) -> DecodingError {
      .dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: reason))
    }
    let kinds = values.allKeys.filter { $0 != .resampling }
    guard kinds.count == 1, let kind = kinds.first else {
      throw corrupted("a step needs one of resizeShortSide, resize, centreCrop, centreCropFraction")
    }
    let resampling = try values.decodeIfPresent(Resampling.self, forKey: .resampling)
    switch kind {
    case .resizeShortSide:
      self = .resizeShortSide(size: try values.decode(Int.self, forKey: kind), resampling ?? .bilinear)
      return
    case .resize:
      let extents = try values.decode([Int].self, forKey: kind)
      guard extents.count == 2 else { throw corrupted("resize needs [width, height]") }
      self = .resize(width: extents[0], height: extents[1], resampling ?? .bilinear)
      return
    case .centreCrop: self = .centreCrop(size: try values.decode(Int.self, forKey: kind))
    default: self = .centreCropFraction(try values.decode(Double.self, forKey: .centreCropFraction))
    }
    guard resampling == nil else { throw corrupted("a crop has no resampling") }
  }

  /// Encodes the step as `init(from:)` reads it.
  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: Key.self)
    switch self {
    case .resizeShortSide(let size, let resampling):
      try values.encode(size, forKey: .resizeShortSide)
      try values.encode(resampling, forKey: .resampling)
    case .resize(let width, let height, let resampling):
      try values.encode([width, height], forKey: .resize)
      try values.encode(resampling, forKey: .resampling)
    case .centreCrop(let size): try values.encode(size, forKey: .centreCrop)
    case .centreCropFraction(let fraction): try values.encode(fraction, forKey: .centreCropFraction)
    }
  }
}

/// A misspelt member must not be ignored: the numbers would be wrong in silence.
private func refuseUnknownKeys<Key: CodingKey & CaseIterable>(_ decoder: any Decoder, _ known: Key.Type) throws {
  let names = Key.allCases.map(\.stringValue)
  for key in try decoder.container(keyedBy: AnyKey.self).allKeys where !names.contains(key.stringValue) {
    throw DecodingError.dataCorrupted(
      .init(
        codingPath: decoder.codingPath,
        debugDescription: "\"\(key.stringValue)\" is unknown; known are \(names.joined(separator: ", "))"))
  }
}

/// Any member's name.
private struct AnyKey: CodingKey {
  let stringValue: String
  var intValue: Int? { nil }
  init?(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}
