import CatenaEvaluation
import CatenaTensors
import Testing

@Suite("measures of maps")
struct PixelMeasureTests {
  private static func map(_ count: Int, seed: UInt64, levels: Double) -> (scores: [Float], mask: [Bool]) {
    var generator = SeededGenerator(seed: seed)
    let scores = (0..<count).map { _ in Float((generator.uniform() * levels).rounded()) }
    return (scores, (0..<count).map { $0 % 7 == 0 || generator.uniform() < 0.1 })
  }

  @Test("AUC is the share of pairs in the right order, ties half", arguments: [3, 1e6], [1, 2, 3] as [UInt64])
  func pairs(levels: Double, seed: UInt64) throws {
    let (scores, mask) = Self.map(150, seed: seed, levels: levels)
    var (won, pairs) = (0.0, 0.0)
    for (left, isMarked) in zip(scores, mask) where isMarked {
      for (right, isOther) in zip(scores, mask) where !isOther {
        pairs += 1
        won += left > right ? 1 : left == right ? 0.5 : 0
      }
    }
    let area = try #require(PixelMeasures.rocAUC(scores, mask: mask))
    #expect(abs(area - won / pairs) < 1e-12)
  }

  @Test("a constant map has an AUC of one half, wherever the mask is; no truth, no AUC")
  func constantMap() {
    let zeros = [Float](repeating: 0, count: 100)
    #expect(PixelMeasures.rocAUC(zeros, mask: zeros.indices.map { $0 < 9 }) == 0.5)
    #expect(PixelMeasures.rocAUC(zeros, mask: zeros.indices.map { $0 >= 91 }) == 0.5)
    #expect(PixelMeasures.rocAUC(zeros, mask: zeros.map { _ in true }) == nil)
  }

  @Test("a map that equals the mask is perfect, its opposite the worst")
  func perfectMap() {
    let mask = (0..<50).map { $0 % 5 == 0 }
    #expect(PixelMeasures.rocAUC(mask.map { $0 ? 1 : 0 }, mask: mask) == 1)
    #expect(PixelMeasures.rocAUC(mask.map { $0 ? -1 : 0 }, mask: mask) == 0)
  }

  @Test("the pointing game shares its point among equal highest pixels")
  func pointing() {
    #expect(PixelMeasures.pointing([0, 3, 1], mask: [false, true, false]) == 1)
    #expect(PixelMeasures.pointing([0, 3, 1], mask: [true, false, false]) == 0)
    #expect(PixelMeasures.pointing([3, 3, 1], mask: [true, false, false]) == 0.5)
  }

  /// The mean difference of all pairs over twice the mean is the Gini index.
  @Test func sparsity() {
    let (scores, _) = Self.map(80, seed: 4, levels: 1000)
    var sum = 0.0
    for left in scores { for right in scores { sum += Double(abs(left - right)) } }
    let mean = scores.reduce(0.0) { $0 + Double($1) } / 80
    #expect(abs(PixelMeasures.sparsity(scores) - sum / (2 * 80 * 80 * mean)) < 1e-9)
    #expect(PixelMeasures.sparsity([2, -2, 2]) == 0)
  }

  @Test func agreement() throws {
    let (scores, _) = Self.map(60, seed: 5, levels: 1e5)
    let grown = scores.map { $0 * $0 * $0 }
    #expect(abs(try #require(PixelMeasures.agreement(scores, grown)) - 1) < 1e-12)
    #expect(abs(try #require(PixelMeasures.agreement(scores, grown.map { -$0 })) + 1) < 1e-12)
    #expect(PixelMeasures.agreement(scores, scores.map { _ in 1 }) == nil)
  }
}
