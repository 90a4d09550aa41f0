import Foundation

/// Gauss-Legendre quadrature on [0, 1]: n points that integrate polynomials of degree 2 n - 1 exactly.
package struct GaussLegendre: Sendable {
  /// Where to evaluate, ascending.
  package let positions: [Double]
  /// The weights; they add up to 1.
  package let weights: [Double]

  /// The rule of `points` points: roots of the Legendre polynomial by Newton's method.
  package init(points: Int) {
    var found: [(position: Double, weight: Double)] = []
    for index in 0..<points {
      var root = cos(Double.pi * (Double(index) + 0.75) / (Double(points) + 0.5))
      var slope = 1.0
      // Newton's method from this start converges in a few steps to full precision.
      for _ in 0..<100 {
        let (value, derivative) = Self.polynomial(points, at: root)
        slope = derivative
        let step = value / derivative
        root -= step
        if abs(step) < 1e-15 { break }
      }
      slope = Self.polynomial(points, at: root).derivative
      found.append(((1 - root) / 2, 1 / ((1 - root * root) * slope * slope)))
    }
    positions = found.map(\.position)
    weights = found.map(\.weight)
  }

  private static func polynomial(_ degree: Int, at x: Double) -> (value: Double, derivative: Double) {
    var (previous, current) = (1.0, x)
    for index in stride(from: 2, through: degree, by: 1) {
      (previous, current) = (
        current, (Double(2 * index - 1) * x * current - Double(index - 1) * previous) / Double(index)
      )
    }
    return (current, Double(degree) * (x * current - previous) / (x * x - 1))
  }
}
