import CatenaFormats
import CatenaGraph
import CatenaReference
import CatenaTensors
import Foundation
import TestSupport
import Testing

/// The ONNX project's own tests, as its Python package ships them.
enum NodeTestFolder {
  static let availability: Assets.Availability = {
    if let named = ProcessInfo.processInfo.environment["CATENA_ONNX_NODE_TESTS"] {
      let url = URL(filePath: named)
      if FileManager.default.fileExists(atPath: url.path) { return .present(url) }
      return .missing("CATENA_ONNX_NODE_TESTS names \(named), which does not exist")
    }
    let libraries = Assets.repository.appending(path: ".venv/lib")
    let entries = FileManager.default.enumerator(
      at: libraries, includingPropertiesForKeys: nil, options: .skipsSubdirectoryDescendants)
    for case let version as URL in entries ?? FileManager.DirectoryEnumerator()
    where version.lastPathComponent.hasPrefix("python3") {
      let folder = version.appending(path: "site-packages/onnx/backend/test/data/node")
      if FileManager.default.fileExists(atPath: folder.path) { return .present(folder) }
    }
    return .missing(
      "ONNX's node tests are not there: neither CATENA_ONNX_NODE_TESTS nor the package onnx==1.17.0 in .venv")
  }()
}

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
