import CatenaExplain
import CatenaTensors
import Foundation

/// Insertion and deletion (RISE; Petsiuk and others, 2018): how fast the dense network finds, or loses, a class when
/// pixels come or go in the order of a map.
public struct Faithfulness: Sendable, Hashable, Codable {
  /// The area under the class's probability while pixels are put into the blurred picture, most important first.
  public var insertion: Double
  /// The same while pixels are set to zero, most important first; low is good.
  public var deletion: Double

  /// Measures one map.
  /// - Parameters:
  ///   - scores: One number per pixel.
  ///   - sample: float32, 1 x C x height x width.
  ///   - target: The class whose probability is followed.
  ///   - network: The dense network, which alone scores.
  ///   - steps: Parts in which the pixels come and go; each has as equal a share of them as can be.
  /// - Throws: `ExplanationError`.
  public static func measured(
    _ scores: [Float], of sample: Tensor, target: Int, by network: Explainer, steps: Int = 32
  ) async throws(ExplanationError) -> Faithfulness {
    let blurred = blurred(sample)
    let zeros = Tensor(zeros: sample.shape)
    let order = descendingOrder(scores)
    let insertion = try await area(order, from: blurred, to: sample, target, network, steps)
    let deletion = try await area(order, from: sample, to: zeros, target, network, steps)
    return Faithfulness(insertion: insertion, deletion: deletion)
  }

  /// Pixels from the highest score to the lowest; equal ones in an order that has nothing to do with their place.
  static func descendingOrder(_ scores: [Float]) -> [Int] {
    var generator = SeededGenerator(seed: 0)
    let draws = scores.map { _ in generator.next() }
    return scores.indices.sorted { scores[$0] == scores[$1] ? draws[$0] < draws[$1] : scores[$0] > scores[$1] }
  }

  /// The mean probability over the steps, trapezoidal.
  private static func area(
    _ order: [Int], from start: Tensor, to end: Tensor, _ target: Int, _ network: Explainer, _ steps: Int
  ) async throws(ExplanationError) -> Double {
    let plane = order.count
    let channels = start.elementCount / plane
    let goal = end.elements(of: Float.self)
    var current = start.elements(of: Float.self)
    var rows = current
    var done = 0
    for step in 1...steps {
      let next = step * plane / steps
      for pixel in order[done..<next] {
        for channel in 0..<channels { current[channel * plane + pixel] = goal[channel * plane + pixel] }
      }
      done = next
      rows += current
    }
    var shape = start.shape
    shape[0] = steps + 1
    let logits = try await network.logits(of: Tensor(rows, shape: shape))
    let classes = logits.shape[1]
    let values = logits.elements(of: Float.self)
    let probabilities = (0...steps).map { step -> Double in
      let row: [Double] = values[step * classes..<(step + 1) * classes].map(Double.init)
      let top = row.max() ?? 0
      return exp(row[target] - top) / row.reduce(0) { $0 + exp($1 - top) }
    }
    let inner = probabilities.reduce(0, +) - (probabilities[0] + probabilities[steps]) / 2
    return inner / Double(steps)
  }

  /// A Gaussian blur of RISE's proportions: a kernel of 11 pixels and standard deviation 5 at 224 pixels, scaled with the
  /// width but never below 3 pixels; zeros outside.
  static func blurred(_ sample: Tensor) -> Tensor {
    let (height, width) = (sample.shape[-2], sample.shape[-1])
    let radius = max(1, Int((5 * Double(width) / 224).rounded()))
    let deviation = Double(radius)
    let weights = (-radius...radius).map { exp(-Double($0 * $0) / (2 * deviation * deviation)) }
    let total = weights.reduce(0, +)
    let kernel = weights.map { Float($0 / total) }
    var values = sample.elements(of: Float.self)
    for plane in 0..<values.count / (height * width) {
      let start = plane * height * width
      for (count, length, along, across) in [(height, width, 1, width), (width, height, width, 1)] {
        for line in 0..<count {
          let old = (0..<length).map { values[start + line * across + $0 * along] }
          for index in 0..<length {
            var sum: Float = 0
            for (tap, weight) in kernel.enumerated() where old.indices.contains(index + tap - radius) {
              sum += weight * old[index + tap - radius]
            }
            values[start + line * across + index * along] = sum
          }
        }
      }
    }
    return Tensor(values, shape: sample.shape)
  }
}
