import CatenaEvaluation
import Foundation
import Testing

/// Against `scipy.stats.bootstrap` with 400,000 resamples, method BCa.
@Suite("bootstrap intervals")
struct BootstrapTests {
  static let agreements = [0.95, 0.5, 0.85, 0.55, 1.0, 0.9, 0.75, 0.8, 0.95, 0.6]
  static let others = [0.1, 0.0, 0.5, 0.2, 0.35, 0.15, 0.1, 0.4, 0.05, 0.25]
  static let divergences = [0.01, 0.02, 0.015, 0.9, 0.03, 0.02, 0.01, 0.2, 0.05, 0.04, 0.01, 0.6]

  @Test("are SciPy's for a mean, skewed or not")
  func means() {
    let bootstrap = Bootstrap(resamples: 100_000)
    let even = bootstrap.interval(ofMean: Self.agreements)
    #expect(abs(even.estimate - 0.785) < 1e-12)
    #expect(abs(even.lower - 0.665) < 0.004 && abs(even.upper - 0.88) < 0.004, "\(even)")
    let skewed = bootstrap.interval(ofMean: Self.divergences)
    #expect(abs(skewed.lower - 0.04) < 0.003 && abs(skewed.upper - 0.3975) < 0.008, "\(skewed)")
  }

  @Test("are SciPy's for the mean of paired differences")
  func differences() {
    let interval = Bootstrap(confidence: 0.9, resamples: 100_000)
      .interval(ofMeanDifference: Self.agreements, Self.others)
    #expect(abs(interval.estimate - 0.575) < 1e-12)
    #expect(abs(interval.lower - 0.475) < 0.004 && abs(interval.upper - 0.685) < 0.004, "\(interval)")
  }

  @Test("of a ratio of means agree with those of the mean where all denominators are one, and scale")
  func ratios() {
    let bootstrap = Bootstrap(resamples: 100_000)
    let ones = Self.agreements.map { _ in 1.0 }
    let mean = bootstrap.interval(ofMean: Self.divergences)
    let ratio = bootstrap.interval(ofRatio: Self.divergences, Self.divergences.map { _ in 1.0 })
    #expect(abs(ratio.estimate - mean.estimate) < 1e-12)
    #expect(abs(ratio.lower - mean.lower) < 0.002 && abs(ratio.upper - mean.upper) < 0.004, "\(ratio) \(mean)")
    let halves = bootstrap.interval(ofRatio: Self.agreements, ones.map { $0 * 2 })
    let whole = bootstrap.interval(ofRatio: Self.agreements, ones)
    #expect(abs(halves.lower * 2 - whole.lower) < 1e-12 && abs(halves.upper * 2 - whole.upper) < 1e-12)
    // Numerators in proportion leave no spread.
    let fixed = bootstrap.interval(ofRatio: Self.agreements.map { $0 * 3 }, Self.agreements)
    #expect(abs(fixed.lower - 3) < 1e-9 && abs(fixed.upper - 3) < 1e-9)
    #expect(!bootstrap.interval(ofRatio: [1, 2], [0, 0]).isBounded)
  }

  @Test("are the same for the same seed, and others for another")
  func seeds() {
    let first = Bootstrap(resamples: 500, seed: 1).interval(ofMean: Self.divergences)
    #expect(first == Bootstrap(resamples: 500, seed: 1).interval(ofMean: Self.divergences))
    #expect(first != Bootstrap(resamples: 500, seed: 2).interval(ofMean: Self.divergences))
  }

  @Test("without spread are one value; of one observation, or without bound, nothing is known")
  func limits() {
    let same = Bootstrap().interval(ofMean: [0.5, 0.5, 0.5])
    #expect(same == Interval(estimate: 0.5, lower: 0.5, upper: 0.5))
    #expect(Bootstrap().interval(ofMean: [0.5]) == Interval(estimate: 0.5))
    let unbounded = Bootstrap().interval(ofMean: [0.5, .infinity])
    #expect(unbounded.estimate == .infinity && !unbounded.isBounded)
  }

  @Test("hold the true mean about as often as they say")
  func coverage() {
    // Exponential observations, 20 at a time: skewed as divergences are. BCa's own coverage there is 0.92 to 0.93.
    let bootstrap = Bootstrap(resamples: 400)
    var held = 0
    var state = SystemFreeGenerator()
    for _ in 0..<400 {
      let interval = bootstrap.interval(ofMean: (0..<20).map { _ in -log(1 - Double.random(in: 0..<1, using: &state)) })
      if interval.lower <= 1, 1 <= interval.upper { held += 1 }
    }
    #expect((355...390).contains(held), "\(held) of 400")
  }
}

/// A repeatable generator that owes nothing to the library's (Knuth's MMIX multiplier, high bits mixed down).
struct SystemFreeGenerator: RandomNumberGenerator {
  private var state: UInt64 = 12345
  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    let mixed = (state ^ (state >> 33)) &* 0xff51_afd7_ed55_8ccd
    return mixed ^ (mixed >> 33)
  }
}
