import CatenaExplain
import CatenaTensors
import Testing

@Suite("attributions")
struct AttributionTests {
  @Test("promise no completeness by themselves")
  func noDelta() {
    let values = Tensor([0, 0] as [Float], shape: [1, 2])
    #expect(Attribution(relevance: values, logits: values, targets: [0]).completenessDelta == nil)
  }
}
