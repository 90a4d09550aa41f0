import CatenaExplain
import CatenaFormats
import CatenaTensors
import Foundation
import TestSupport
import Testing

@Suite("parts of the methods")
struct PartsTests {
  @Test("Gauss-Legendre integrates polynomials of degree 2 n - 1", arguments: [1, 2, 5, 50])
  func quadrature(points: Int) {
    let rule = GaussLegendre(points: points)
    for degree in 0..<2 * points {
      let sum = zip(rule.positions, rule.weights).reduce(0) { $0 + $1.1 * pow($1.0, Double(degree)) }
      #expect(abs(sum - 1 / Double(degree + 1)) < 1e-12, "degree \(degree)")
    }
    #expect(rule.positions == rule.positions.sorted())
  }

  /// At the minimum the slope of the squares is within the penalty where a coefficient is 0, and balances it elsewhere.
  @Test("LIME's linear model is at the lasso's minimum", arguments: [1, 2, 3] as [UInt64])
  func lasso(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let (rows, columns, penalty) = (40, 12, 0.05)
    let features = (0..<rows).map { _ in (0..<columns).map { _ in generator.uniform() < 0.5 ? 1.0 : 0 } }
    let weights = (0..<rows).map { _ in generator.uniform() + 0.1 }
    let targets = features.map { 2 * $0[0] - $0[3] + 0.5 * $0[5] + generator.uniform() }
    let found = Lasso.coefficients(features: features, targets: targets, weights: weights, regularization: penalty)
    let total = weights.reduce(0, +)
    let intercept =
      zip(weights, zip(features, targets)).reduce(0) { sum, entry in
        sum + entry.0 * (entry.1.1 - zip(entry.1.0, found).reduce(0) { $0 + $1.0 * $1.1 })
      } / total
    for column in 0..<columns {
      var slope = 0.0
      for row in 0..<rows {
        let residual = targets[row] - intercept - zip(features[row], found).reduce(0) { $0 + $1.0 * $1.1 }
        slope += weights[row] / total * features[row][column] * residual
      }
      if found[column] == 0 {
        #expect(abs(slope) <= penalty + 1e-6)
      } else {
        #expect(abs(slope - (found[column] > 0 ? penalty : -penalty)) < 1e-5)
      }
    }
    #expect(found.contains(0) && found[0] > 1)
  }

  @Test("superpixels cover the picture, are connected and follow edges")
  func superpixels() {
    let (height, width) = (40, 48)
    // Two halves of different colour: no superpixel may lie in both.
    let plane = (0..<height * width).map { Float($0 % width < 24 ? 0 : 1) }
    let labels = Superpixels.labels(plane + plane + plane, channels: 3, height: height, width: width, count: 30)
    let count = (labels.max() ?? 0) + 1
    #expect(Set(labels) == Set(0..<count))
    #expect((15...60).contains(count))
    for label in 0..<count {
      let pixels = labels.indices.filter { labels[$0] == label }
      #expect(Set(pixels.map { plane[$0] }).count == 1)
      var reached: Set<Int> = [pixels[0]]
      var open = [pixels[0]]
      while let pixel = open.popLast() {
        for next in [pixel - width, pixel + width, pixel - 1, pixel + 1]
        where labels.indices.contains(next) && labels[next] == label && abs(next % width - pixel % width) <= 1 {
          if reached.insert(next).inserted { open.append(next) }
        }
      }
      #expect(reached.count == pixels.count)
    }
  }

  @Test("colour maps grow evenly in lightness, and the middle of a signed one is the lightest")
  func colours() {
    func lightness(_ map: ColourMap, _ value: Float) -> Double {
      let colour = map.colour(value)
      return 0.2126 * Double(colour.red) + 0.7152 * Double(colour.green) + 0.0722 * Double(colour.blue)
    }
    let steps = (0...20).map { lightness(.sequential, Float($0) / 20) }
    #expect(zip(steps, steps.dropFirst()).allSatisfy { $0 < $1 })
    #expect((-10...10).allSatisfy { lightness(.diverging, Float($0) / 10) <= lightness(.diverging, 0) })
    #expect(ColourMap.diverging.colour(1).red > ColourMap.diverging.colour(1).blue)
  }

  @Test("pictures have the sizes that they promise")
  func pictures() {
    let image = Image(width: 20, height: 10, pixels: [UInt8](repeating: 128, count: 600))
    let scores = (0..<200).map { Float($0) - 100 }
    let overlay = RelevancePicture.overlay(scores: scores, isSigned: true, on: image, side: 35)
    #expect((overlay.width, overlay.height) == (80, 40))
    let grid = RelevancePicture.grid(columns: ["image", "dense"], rows: [("saliency", [overlay, overlay])])
    #expect(grid.width > 160 && grid.height > 40)
    let constant = RelevancePicture.overlay(scores: scores.map { _ in 0 }, isSigned: true, on: image)
    #expect(Set(constant.pixels).count <= 3)
  }
}
