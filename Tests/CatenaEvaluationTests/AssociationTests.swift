import CatenaEvaluation
import Testing

@Suite("rank correlation and overlap")
struct AssociationTests {
  /// Against `scipy.stats.spearmanr`.
  @Test(
    "Spearman's correlation is SciPy's, with ties",
    arguments: [
      ([1, 2, 2, 3, 5, 5, 5, 8], [2.5, 1, 3, 3, 4, 2, 7, 7], 0.639862645418174),
      ([1, 2, 3, 4], [1, 1, 2, 2], 0.8944271909999159),
      ([3, 1, 2], [1, 3, 2], -1),
    ] as [([Double], [Double], Double)])
  func spearman(first: [Double], second: [Double], expected: Double) throws {
    #expect(abs(try #require(spearmanCorrelation(first, second)) - expected) < 1e-12)
    #expect(abs(try #require(spearmanCorrelation(second, first)) - expected) < 1e-12)
  }

  @Test("there is none without spread")
  func undefined() {
    #expect(spearmanCorrelation([1, 1, 1], [1, 2, 3]) == nil)
    #expect(spearmanCorrelation([1], [2]) == nil)
    #expect(spearmanCorrelation([], []) == nil)
  }

  @Test("ranks are of all numbers, the infinite among them")
  func infinite() {
    #expect(spearmanCorrelation([1, 2, .infinity], [0, 5, 6]) == 1)
  }

  @Test("Jaccard's overlap is the common part of what either has")
  func jaccard() {
    #expect(jaccardOverlap([true, true, false, false], [true, false, true, false]) == 1.0 / 3)
    #expect(jaccardOverlap([true, false], [false, true]) == 0)
    #expect(jaccardOverlap([false, false], [false, false]) == 1)
  }
}
