import CatenaFormats
import CatenaGraph
import CatenaReference
import CatenaTensors
import TestSupport
import Testing

@Suite("ONNX node tests", .enabled(if: NodeTestFolder.availability.isPresent, "\(NodeTestFolder.availability.reason)"))
struct ONNXNodeTestsTests {
  @Test("every claimed test passes on the reference")
  func claimedTestsPass() async throws {
    let folder = try #require(NodeTestFolder.availability.url)
    let report = try await ONNXNodeTestReport(folder: folder.path) { graph, inputs in
      let results = try Reference.run(graph, inputs: inputs, precision: .declared)
      return try graph.outputs.map { try #require(results[$0]) }
    }
    print(report.countsMarkdown())
    print(report.unclaimedLines())
    for failure in report.failures { Issue.record("\(failure)") }
    #expect(report.passed.count >= 700, "claims were lost")
  }
}
