import CatenaExplain
import CatenaTensors
import Testing

@Suite("attributions")
struct AttributionTests {
  @Test("promise no completeness by themselves")
  func noDelta() {
    #expect(Attribution(relevance: Tensor([0, 0] as [Float], shape: [1, 2])).completenessDelta == nil)
  }
}
