import CatenaAutodiff
import CatenaGraph
import CatenaTensors
import Testing

/// What leaks is told apart by samples, or not at all.
struct RelevanceLeakTests {
  @Test func leaksOfPartsOfSamplesAreRefused() throws {
    var graph = Graph()
    let fitting = graph.addInput("samples", TensorType(.float32, [3, 2, 4]))
    let other = graph.addInput("windows", TensorType(.float32, [6, 4]))
    let leaks = RelevanceLeaks()
    leaks.record(fitting)
    let total = try leaks.total(batch: 3, in: &graph)
    #expect(graph.shape(total) == [3])
    leaks.record(other)
    let error = #expect(throws: GraphError.self) { try leaks.total(batch: 3, in: &graph) }
    #expect(error?.description.contains("windows") == true)
  }
}
