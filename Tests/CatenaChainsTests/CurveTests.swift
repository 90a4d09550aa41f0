import CatenaChains
import Testing

@Suite("The curve's answers")
struct CurveTests {
  /// The first `kept` of 100 units, with the fidelity that was found for them.
  private func point(_ kept: Int, agreement: Double, divergence: Double = 0.5, step: Int = 1) -> ChainPoint {
    var fidelity = Fidelity(dense: [[0]], chain: [[0]])
    fidelity.agreement = agreement
    fidelity.divergence = divergence
    let units = (0..<100).map { $0 < kept }
    return ChainPoint(
      selection: ChainSelection(units: units, blocks: [], unitFactors: units.map { $0 ? 1 : 0 }, blockFactors: []),
      binary: fidelity, soft: fidelity, step: step)
  }

  private var curve: ChainCurve {
    ChainCurve(points: [
      point(10, agreement: 0.4), point(100, agreement: 1, divergence: 0), point(30, agreement: 0.9, divergence: 0.2),
      point(30, agreement: 0.9, divergence: 0.1, step: 2), point(50, agreement: 0.8), point(20, agreement: 0.7),
      point(5, agreement: 0.5),
    ])
  }

  @Test("points are ordered by size, the best of equal size last")
  func order() {
    #expect(curve.points.map(\.selection.keptCount) == [100, 50, 30, 30, 20, 10, 5])
    #expect(curve.points[3].step == 2)
  }

  @Test(
    "a budget is answered by the most faithful chain within it",
    arguments: [(1, 100), (0.99, 30), (0.5, 30), (0.3, 30), (0.299, 20), (0.1, 5), (0.09, 5), (0.05, 5)])
  func budget(fraction: Double, kept: Int) {
    let answer = curve.answer(to: .keep(fraction: fraction))
    #expect(answer.met)
    #expect(answer.point.selection.keptCount == kept)
    if kept == 30 { #expect(answer.point.step == 2, "of two chains with equal agreement the one of less divergence") }
  }

  @Test("a budget below every chain is not met, and answered by the smallest")
  func budgetNotMet() {
    let answer = curve.answer(to: .keep(fraction: 0.049))
    #expect(!answer.met)
    #expect(answer.point.selection.keptCount == 5)
  }

  @Test(
    "an agreement is answered by the smallest chain that has it",
    arguments: [(1, 100), (0.95, 100), (0.9, 30), (0.75, 30), (0.7, 20), (0.5, 5), (0.1, 5)])
  func agreement(fraction: Double, kept: Int) {
    let answer = curve.answer(to: .agreement(fraction: fraction))
    #expect(answer.met)
    #expect(answer.point.selection.keptCount == kept)
    if kept == 30 { #expect(answer.point.step == 2) }
  }

  @Test("an agreement that no chain has is not met, and answered by the most faithful")
  func agreementNotMet() {
    let curve = ChainCurve(points: [
      point(100, agreement: 0.9), point(60, agreement: 0.95), point(40, agreement: 0.95, divergence: 0.4),
      point(20, agreement: 0.2),
    ])
    let answer = curve.answer(to: .agreement(fraction: 0.99))
    #expect(!answer.met)
    #expect(answer.point.selection.keptCount == 40)
  }
}
