/// An estimate with the interval in which it lies with the given confidence.
public struct Interval: Sendable, Hashable, Codable {
  /// The estimate.
  public var estimate: Double
  /// The lower end.
  public var lower: Double
  /// The upper end.
  public var upper: Double

  /// An interval.
  public init(estimate: Double, lower: Double, upper: Double) {
    self.estimate = estimate
    self.lower = lower
    self.upper = upper
  }
}
