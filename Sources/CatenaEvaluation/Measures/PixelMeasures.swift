/// Measures of one map of pixel scores.
public enum PixelMeasures {
  /// The area under the ROC curve of the scores as a detector of the marked pixels: the probability that a marked pixel
  /// scores higher than another, ties counting half. A constant map has 0.5. `nil` where all pixels are marked or none.
  ///
  /// Ties get their average rank (the Mann-Whitney statistic), so that no map wins by the order of its pixels.
  /// - Parameters:
  ///   - scores: One number per pixel; NaN ranks below all.
  ///   - mask: Whether a pixel belongs to the truth.
  public static func rocAUC(_ scores: [Float], mask: [Bool]) -> Double? {
    precondition(scores.count == mask.count, "a mask has as many pixels as its map")
    let marked = mask.count(where: { $0 })
    guard marked > 0, marked < mask.count else { return nil }
    let ranks = ranks(of: scores.map { $0.isNaN ? -.infinity : Double($0) })
    let sum = zip(ranks, mask).reduce(0.0) { $1.1 ? $0 + $1.0 : $0 }
    let smallest = Double(marked) * Double(marked + 1) / 2
    return (sum - smallest) / (Double(marked) * Double(mask.count - marked))
  }

  /// The pointing game: the part of the map's highest pixels that lie in the mask, which is 1 or 0 unless several pixels
  /// share the highest score (Zhang and others, 2018; ties are ours).
  public static func pointing(_ scores: [Float], mask: [Bool]) -> Double {
    precondition(scores.count == mask.count, "a mask has as many pixels as its map")
    let highest = scores.reduce(-Float.infinity) { max($0, $1) }
    var (hits, count) = (0.0, 0.0)
    for (score, isMarked) in zip(scores, mask) where score == highest {
      count += 1
      if isMarked { hits += 1 }
    }
    return count == 0 ? 0 : hits / count
  }

  /// How few pixels carry the map: the Gini index of the scores' sizes, 0 for a constant map, near 1 for a single pixel
  /// (Chalasani and others, 2020). An all-zero map has 0.
  public static func sparsity(_ scores: [Float]) -> Double {
    let sizes = scores.map { Double(abs($0)) }.sorted()
    let total = sizes.reduce(0, +)
    guard total > 0 else { return 0 }
    let count = Double(sizes.count)
    let weighted = sizes.enumerated().reduce(0.0) { $0 + Double($1.offset + 1) * $1.element }
    return (2 * weighted / total - count - 1) / count
  }

  /// How alike two maps order their pixels: Spearman's rank correlation, ties at their average rank; `nil` where a map is
  /// constant. NaN ranks below all.
  public static func agreement(_ left: [Float], _ right: [Float]) -> Double? {
    precondition(left.count == right.count, "maps of one size are compared")
    func numbers(_ map: [Float]) -> [Double] { map.map { $0.isNaN ? -.infinity : Double($0) } }
    return spearmanCorrelation(numbers(left), numbers(right))
  }
}
