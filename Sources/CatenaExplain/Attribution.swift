import CatenaTensors

/// What a method says every input value contributed to a target.
public struct Attribution: Sendable {
  /// The relevance of every input value: the shape of the input, samples first.
  public var relevance: Tensor
  /// Target minus what the relevance adds up to, one per sample, for methods that promise completeness; else `nil`.
  public var completenessDelta: [Double]?

  /// An attribution.
  public init(relevance: Tensor, completenessDelta: [Double]? = nil) {
    self.relevance = relevance
    self.completenessDelta = completenessDelta
  }
}
