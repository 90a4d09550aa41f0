import CatenaTensors
import Foundation

/// Confidence intervals of a mean from resampling the observations with replacement, repeatable for a seed.
///
/// Bias-corrected and accelerated (BCa; Efron, *Better Bootstrap Confidence Intervals*, JASA 1987): the ends are
/// percentiles of the resampled means, moved by the bias of the resampled median and by the acceleration, which the
/// jackknife estimates. Few observations (regions, samples) are what this is used on; percentile intervals are too
/// narrow there when the observations are skewed, as agreements near 1 and divergences near 0 are.
public struct Bootstrap: Sendable, Hashable {
  /// The probability with which an interval holds the true mean.
  public var confidence: Double
  /// How often the observations are resampled.
  public var resamples: Int
  /// Seed of the resampling.
  public var seed: UInt64

  /// A way of resampling.
  /// - Precondition: `confidence` lies between 0 and 1, exclusively; there is at least one resample.
  public init(confidence: Double = 0.95, resamples: Int = 10_000, seed: UInt64 = 0) {
    precondition(confidence > 0 && confidence < 1 && resamples > 0, "a confidence in (0, 1) and at least one resample")
    self.confidence = confidence
    self.resamples = resamples
    self.seed = seed
  }

  /// The mean of the observations with its interval.
  ///
  /// Without spread the interval is that one value; of one observation, or when one is not finite, nothing is known.
  /// - Precondition: there is at least one observation.
  public func interval(ofMean values: [Double]) -> Interval {
    let estimate = mean(of: values)
    guard values.count > 1, values.allSatisfy(\.isFinite) else { return Interval(estimate: estimate) }
    guard let smallest = values.min(), let largest = values.max(), smallest < largest else {
      return Interval(estimate: estimate, lower: estimate, upper: estimate)
    }
    return interval(estimate, resampled: resampledMeans(of: values), acceleration: jackknifeAcceleration(of: values))
  }

  /// The ratio of two means, sum of `numerators` over sum of `denominators`, of observations made in pairs, with its
  /// interval.
  ///
  /// Pairs are resampled together. Of one pair, or where a resample's denominators do not add up to more than 0, nothing
  /// is known.
  /// - Precondition: as many on both sides, and at least one.
  public func interval(ofRatio numerators: [Double], _ denominators: [Double]) -> Interval {
    precondition(numerators.count == denominators.count && !numerators.isEmpty, "observations come in pairs")
    let (top, bottom) = (numerators.reduce(0, +), denominators.reduce(0, +))
    let estimate = top / bottom
    var generator = SeededGenerator(seed: seed)
    var ratios: [Double] = []
    for _ in 0..<resamples {
      var (top, bottom) = (0.0, 0.0)
      for _ in numerators.indices {
        let index = Int.random(in: numerators.indices, using: &generator)
        top += numerators[index]
        bottom += denominators[index]
      }
      guard bottom > 0 else { return Interval(estimate: estimate) }
      ratios.append(top / bottom)
    }
    guard numerators.count > 1, ratios.allSatisfy(\.isFinite) else { return Interval(estimate: estimate) }
    let without = zip(numerators, denominators).map { (top - $0) / (bottom - $1) }
    guard without.allSatisfy(\.isFinite) else { return Interval(estimate: estimate) }
    // The jackknife's distances have the opposite sign of those of a mean's observations.
    let center = mean(of: without)
    return interval(estimate, resampled: ratios, acceleration: acceleration(ofDistances: without.map { center - $0 }))
  }

  private func interval(_ estimate: Double, resampled: [Double], acceleration: Double) -> Interval {
    let values = resampled.sorted()
    let below = values.count { $0 < estimate }
    let equal = values.count { $0 == estimate }
    let share = (Double(below) + Double(equal) / 2) / Double(values.count)
    // All resamples on one side leave no bias to correct by; the bound is what one resample can tell.
    let bias = normalQuantile(min(max(share, 0.5 / Double(resamples)), 1 - 0.5 / Double(resamples)))
    func end(_ probability: Double) -> Double {
      let shifted = bias + normalQuantile(probability)
      return quantile(normalProbability(bias + shifted / (1 - acceleration * shifted)), ofSorted: values)
    }
    let tail = (1 - confidence) / 2
    return Interval(estimate: estimate, lower: end(tail), upper: end(1 - tail))
  }

  /// The mean of the differences `first[i] - second[i]` of observations made in pairs, with its interval.
  /// - Precondition: as many on both sides, and at least one.
  public func interval(ofMeanDifference first: [Double], _ second: [Double]) -> Interval {
    precondition(first.count == second.count, "observations come in pairs")
    return interval(ofMean: zip(first, second).map(-))
  }

  private func resampledMeans(of values: [Double]) -> [Double] {
    var generator = SeededGenerator(seed: seed)
    return (0..<resamples).map { _ in
      var sum = 0.0
      for _ in values.indices { sum += values[Int.random(in: values.indices, using: &generator)] }
      return sum / Double(values.count)
    }
  }

  /// For a mean, sum of d^3 / (6 (sum of d^2)^1.5) with d the distances of the observations from it.
  private func jackknifeAcceleration(of values: [Double]) -> Double {
    let center = mean(of: values)
    return acceleration(ofDistances: values.map { $0 - center })
  }

  /// Without any distance there is nothing to accelerate.
  private func acceleration(ofDistances distances: [Double]) -> Double {
    let squares = distances.reduce(0) { $0 + $1 * $1 }
    let cubes = distances.reduce(0) { $0 + $1 * $1 * $1 }
    return squares > 0 ? cubes / (6 * pow(squares, 1.5)) : 0
  }
}

/// The arithmetic mean.
/// - Precondition: there is at least one value.
public func mean(of values: [Double]) -> Double {
  precondition(!values.isEmpty, "no values have no mean")
  return values.reduce(0, +) / Double(values.count)
}

/// The value below which the part `probability` of sorted values lies, linear between neighbours (Hyndman and Fan's
/// type 7).
func quantile(_ probability: Double, ofSorted values: [Double]) -> Double {
  let position = min(max(probability, 0), 1) * Double(values.count - 1)
  let index = min(Int(position), values.count - 1)
  let next = min(index + 1, values.count - 1)
  return values[index] + (values[next] - values[index]) * (position - Double(index))
}

/// The probability that a standard normal variable is below `x`.
func normalProbability(_ x: Double) -> Double { erfc(-x / 2.squareRoot()) / 2 }

/// The inverse of `normalProbability`, by bisection.
func normalQuantile(_ probability: Double) -> Double {
  var (low, high) = (-40.0, 40.0)
  while true {
    let middle = (low + high) / 2
    guard middle > low, middle < high else { return middle }
    if normalProbability(middle) < probability { low = middle } else { high = middle }
  }
}
