import Foundation

/// How well a chain's outputs match the dense network's on some samples.
public struct Fidelity: Sendable, Hashable, Codable {
  /// The fraction of samples for which both give the same top-1 class, over all classes.
  public var agreement: Double
  /// Mean KL(p || q) in nats: p the dense network's, q the chain's; infinite where the chain's outputs are no numbers.
  public var divergence: Double
  /// The number of classes that the chain gives to the samples; 1 for a constant predictor.
  public var predictedClasses: Int

  /// Compares logits, one row per sample. A row with NaN or positive infinity predicts nothing.
  public init(dense: [[Float]], chain: [[Float]]) {
    precondition(dense.count == chain.count && !dense.isEmpty, "as many rows on both sides")
    var agreeing = 0
    var total = 0.0
    var classes: Set<Int> = []
    for (denseRow, chainRow) in zip(dense, chain) {
      guard chainRow.allSatisfy({ $0 < .infinity }) else {
        total = .infinity
        continue
      }
      let predicted = topClass(of: chainRow)
      classes.insert(predicted)
      if topClass(of: denseRow) == predicted { agreeing += 1 }
      total += klDivergence(from: denseRow, to: chainRow)
    }
    agreement = Double(agreeing) / Double(dense.count)
    divergence = total / Double(dense.count)
    predictedClasses = classes.count
  }

  /// Whether this is more faithful than `other`: higher agreement, then lower divergence.
  package func isBetter(than other: Fidelity) -> Bool {
    (agreement, -divergence) > (other.agreement, -other.divergence)
  }
}

/// The index of the largest logit, the first of equal ones.
public func topClass(of logits: [Float]) -> Int {
  var best = 0
  for index in logits.indices where logits[index] > logits[best] { best = index }
  return best
}

/// The logarithm of the softmax of `logits`, in double.
public func logProbabilities(_ logits: [Float]) -> [Double] {
  let largest = Double(logits.max() ?? 0)
  let shifted = logits.map { Double($0) - largest }
  let logSum = log(shifted.reduce(0) { $0 + exp($1) })
  return shifted.map { $0 - logSum }
}

private func klDivergence(from dense: [Float], to chain: [Float]) -> Double {
  let p = logProbabilities(dense)
  let q = logProbabilities(chain)
  // A class without probability adds nothing, whatever the chain gives it.
  return max(0, zip(p, q).reduce(0) { $1.0 == -.infinity ? $0 : $0 + exp($1.0) * ($1.0 - $1.1) })
}
