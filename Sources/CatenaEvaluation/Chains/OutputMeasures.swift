import CatenaChains

/// How outputs under a mask compare with the dense network's on some samples.
public struct OutputMeasures: Sendable, Hashable {
  /// The number of samples.
  public var samples: Int
  /// The part of the samples with the dense network's top-1 class, over all classes.
  public var agreement: Double
  /// The mean of KL(dense || masked), in nats.
  public var divergence: Double
  /// The mean cosine of the angle between the two rows of logits; 0 where one of them is all zero or no number.
  public var cosine: Double
  /// Whether all samples get one class where the dense network gives several: that is no explanation of a region,
  /// whatever its agreement.
  public var isConstant: Bool

  /// Compares logits, one row per sample.
  public init(dense: [[Float]], masked: [[Float]]) {
    let fidelity = Fidelity(dense: dense, chain: masked)
    samples = dense.count
    agreement = fidelity.agreement
    divergence = fidelity.divergence
    cosine = mean(of: zip(dense, masked).map { cosineSimilarity($0, $1) })
    isConstant = fidelity.predictedClasses <= 1 && Set(dense.map(topClass)).count > 1
  }
}

/// The part of the samples whose largest logit is that of their label.
/// - Parameter classes: Only these classes compete; all of them unless given.
func accuracy(of logits: [[Float]], labels: [Int], among classes: [Int]? = nil) -> Double {
  let correct = zip(logits, labels).count { row, label in
    guard let classes else { return topClass(of: row) == label }
    return classes.max { row[$0] < row[$1] } == label
  }
  return Double(correct) / Double(logits.count)
}

/// a . b / (|a| |b|), in double.
private func cosineSimilarity(_ first: [Float], _ second: [Float]) -> Double {
  func product(_ a: [Float], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
  let scale = (product(first, first) * product(second, second)).squareRoot()
  let cosine = product(first, second) / scale
  return cosine.isFinite ? cosine : 0
}
