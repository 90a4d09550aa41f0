import CatenaTensors

/// What a method says every input value contributed to a target.
public struct Attribution: Sendable {
  /// The relevance of every input value: N x C x spatial, as the input. Methods that do not tell channels apart
  /// (Grad-CAM, Score-CAM, RISE) give one channel, N x 1 x spatial.
  public var relevance: Tensor
  /// The target logits before normalisation, N x K: what the network said of the samples.
  public var logits: Tensor
  /// The explained class of each sample.
  public var targets: [Int]
  /// For methods that promise completeness, one per sample: what the relevance adds up to less the change of the target
  /// between baseline and sample; else `nil`. Integrated gradients, gradient SHAP, DeepLIFT (Captum's sign).
  public var completenessDelta: [Double]?
  /// For relevance propagation, one per sample: the relevance that did not reach the input, namely what biases, units
  /// without positive input and epsilon took. Target logit = sum of relevance + leak.
  public var leak: [Double]?

  /// An attribution.
  public init(
    relevance: Tensor, logits: Tensor, targets: [Int], completenessDelta: [Double]? = nil, leak: [Double]? = nil
  ) {
    self.relevance = relevance
    self.logits = logits
    self.targets = targets
    self.completenessDelta = completenessDelta
    self.leak = leak
  }

  /// The number of samples.
  public var count: Int { targets.count }

  /// The extents of a map: height and width (a missing height is 1).
  public var mapSize: (height: Int, width: Int) {
    let spatial = relevance.shape.dimensions.dropFirst(2)
    return (spatial.dropLast().reduce(1, *), spatial.last ?? 1)
  }

  /// One number per pixel of one sample, row by row: the sum of the relevance over the channels, or its size.
  public func pixelScores(of sample: Int, as score: PixelScore = .signed) -> [Float] {
    let channels = relevance.shape[1]
    let pixels = relevance.shape.dimensions.dropFirst(2).reduce(1, *)
    var scores = [Float](repeating: 0, count: pixels)
    relevance.withElements(of: Float.self) { values in
      for channel in 0..<channels {
        let start = (sample * channels + channel) * pixels
        for pixel in 0..<pixels { scores[pixel] += values[start + pixel] }
      }
    }
    if score == .size { for pixel in scores.indices { scores[pixel] = abs(scores[pixel]) } }
    return scores
  }
}

/// How the channels of a map become one number per pixel.
public enum PixelScore: String, Sendable, Hashable, Codable, CaseIterable {
  /// Their sum: for and against the target.
  case signed
  /// The absolute value of their sum: how much hangs on the pixel, for or against.
  case size
}
