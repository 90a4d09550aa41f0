import CatenaTensors
import Foundation

/// LIME's random perturbations: every superpixel stays with probability 1/2.
package struct LIMEPerturbations: Sendable {
  private let kept: [[Bool]]

  package init(_ settings: AttributionSettings, segments: Int) {
    var generator = SeededGenerator(seed: settings.seed)
    kept = (0..<settings.limeSamples).map { _ in (0..<segments).map { _ in generator.uniform() < 0.5 } }
  }

  /// Which superpixels a perturbation leaves.
  package subscript(row: Int) -> [Bool] { kept[row] }

  /// exp(-d^2 / (2 width^2)) with d = 1 - cosine of the angle between the two inputs.
  static func similarity(_ left: [Float], _ right: [Float], width: Double) -> Double {
    var (product, leftSquare, rightSquare) = (0.0, 0.0, 0.0)
    for index in left.indices {
      product += Double(left[index]) * Double(right[index])
      leftSquare += Double(left[index]) * Double(left[index])
      rightSquare += Double(right[index]) * Double(right[index])
    }
    let norm = max(leftSquare.squareRoot(), 1e-8) * max(rightSquare.squareRoot(), 1e-8)
    let distance = 1 - product / norm
    return exp(-distance * distance / (2 * width * width))
  }
}

/// Linear regression with a penalty on the coefficients' absolute values.
package enum Lasso {
  /// The coefficients (not the intercept) that minimise
  /// 1 / (2 n) * sum of w (y - a - x b)^2 + regularization * sum of |b|, the weights scaled to add up to n: scikit-learn's
  /// `Lasso`. Coordinate descent until no coefficient moves by more than a millionth of the largest.
  package static func coefficients(
    features: [[Double]], targets: [Double], weights: [Double], regularization: Double
  ) -> [Double] {
    let count = Double(targets.count)
    let total = weights.reduce(0, +)
    guard total > 0, let columns = features.first?.count else { return [] }
    let weights = weights.map { $0 * count / total }
    func mean(_ values: [Double]) -> Double { zip(weights, values).reduce(0) { $0 + $1.0 * $1.1 } / count }
    let centred = (0..<columns).map { column in
      let values = features.map { $0[column] }
      let centre = mean(values)
      return values.map { $0 - centre }
    }
    let centre = mean(targets)
    var residual = targets.map { $0 - centre }
    let norms = centred.map { column in zip(weights, column).reduce(0) { $0 + $1.0 * $1.1 * $1.1 } / count }
    var coefficients = [Double](repeating: 0, count: columns)
    for _ in 0..<10_000 {
      var (largestStep, largest) = (0.0, 0.0)
      for column in 0..<columns where norms[column] > 0 {
        let values = centred[column]
        var slope = norms[column] * coefficients[column]
        for row in residual.indices { slope += weights[row] * values[row] * residual[row] / count }
        let size = max(abs(slope) - regularization, 0) / norms[column]
        let updated = slope < 0 ? -size : size
        let step = updated - coefficients[column]
        if step != 0 {
          for row in residual.indices { residual[row] -= step * values[row] }
          coefficients[column] = updated
        }
        largestStep = max(largestStep, abs(step))
        largest = max(largest, abs(updated))
      }
      if largestStep <= 1e-6 * largest { break }
    }
    return coefficients
  }
}
