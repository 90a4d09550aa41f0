/// An estimate with the interval in which it lies with a stated confidence.
///
/// An interval of which nothing is known, as that of one observation, reaches from minus to plus infinity; files say
/// `null` for such an end.
public struct Interval: Sendable, Hashable {
  /// The estimate.
  public var estimate: Double
  /// The lower end, minus infinity where it is not known.
  public var lower: Double
  /// The upper end, infinity where it is not known.
  public var upper: Double

  /// An interval.
  public init(estimate: Double, lower: Double, upper: Double) {
    self.estimate = estimate
    self.lower = lower
    self.upper = upper
  }

  /// An estimate whose interval is not known.
  public init(estimate: Double) { self.init(estimate: estimate, lower: -.infinity, upper: .infinity) }

  /// Whether both ends are known.
  public var isBounded: Bool { lower.isFinite && upper.isFinite }
}

extension Interval: Codable {
  private enum CodingKeys: String, CodingKey { case estimate, lower, upper }

  /// Writes the numbers; `null` for what is not finite.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    for (key, value) in [(CodingKeys.estimate, estimate), (.lower, lower), (.upper, upper)] {
      if value.isFinite { try container.encode(value, forKey: key) } else { try container.encodeNil(forKey: key) }
    }
  }

  /// Reads what `encode` writes.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    estimate = try container.decodeIfPresent(Double.self, forKey: .estimate) ?? .nan
    lower = try container.decodeIfPresent(Double.self, forKey: .lower) ?? -.infinity
    upper = try container.decodeIfPresent(Double.self, forKey: .upper) ?? .infinity
  }
}
