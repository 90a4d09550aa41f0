import CatenaChains
import Foundation
import Testing

@Suite("Fidelity")
struct FidelityTests {
  @Test("agreement, divergence and classes of two samples by hand")
  func byHand() {
    // p = (1/2, 1/2) against q = (1/4, 3/4), and p = (3/4, 1/4) against itself.
    let dense = [[Float(0), 0], [log(Float(3)), 0]]
    let chain = [[Float(0), log(Float(3))], [log(Float(3)) + 5, 5]]
    let fidelity = Fidelity(dense: dense, chain: chain)
    // The dense network's tie goes to class 0, the chain says 1.
    #expect(fidelity.agreement == 0.5)
    let divergence = 0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.75)
    #expect(abs(fidelity.divergence - divergence / 2) < 1e-7)
    #expect(fidelity.predictedClasses == 2)
  }

  @Test("a constant predictor gives one class and agrees by chance")
  func constantPredictor() {
    let dense = [[Float(3), 0, 1], [0, 3, 1], [0, 1, 3], [3, 1, 0]]
    let fidelity = Fidelity(dense: dense, chain: [[Float]](repeating: [1, 0, 0], count: 4))
    #expect(fidelity.agreement == 0.5)
    #expect(fidelity.predictedClasses == 1)
    #expect(fidelity.divergence > 0.5)
  }

  @Test("logits of any size neither overflow nor lose the divergence")
  func largeLogits() {
    let fidelity = Fidelity(dense: [[1000, 999]], chain: [[-2000, -2001]])
    #expect(fidelity.agreement == 1)
    #expect(fidelity.divergence < 1e-12)
    let far = Fidelity(dense: [[1e30, 0]], chain: [[0, 1000]])
    #expect(far.agreement == 0)
    #expect(abs(far.divergence - 1000) < 1e-6)
    let masked = Fidelity(dense: [[0, -.infinity]], chain: [[0, 0]])
    #expect(abs(masked.divergence - log(2)) < 1e-12)
  }

  @Test("outputs that are no numbers are never faithful", arguments: [Float.nan, .infinity])
  func notFinite(value: Float) {
    let fidelity = Fidelity(dense: [[1, 0], [0, 1]], chain: [[value, value], [0, 1]])
    #expect(fidelity.agreement == 0.5)
    #expect(fidelity.divergence == .infinity)
  }
}
