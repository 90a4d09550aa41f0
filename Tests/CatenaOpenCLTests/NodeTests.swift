import CatenaCompute
import CatenaFormats
import CatenaOpenCL
import CatenaTensors
import TestSupport
import Testing

private var isEnabled: Bool { DeviceUnderTest.isAvailable && NodeTestFolder.availability.isPresent }

@Suite(
  "ONNX node tests on OpenCL",
  .enabled(if: isEnabled, Comment(rawValue: "\(DeviceUnderTest.problem ?? "") \(NodeTestFolder.availability.reason)")))
struct NodeTests {
  /// Reasons for which a claimed test may be refused: nothing is computed in f64, and u64 is not held.
  static let refusals = ["it is not done on float64", "uint64 is not held"]

  /// Claims that the ONNX project has no node test of; the shared problems have its kernel.
  static let withoutNodeTests = ["GlobalLpPool"]

  @Test("every claimed test passes or is refused for its element type")
  func claimedTestsPass() async throws {
    let folder = try #require(NodeTestFolder.availability.url)
    let backend = try DeviceUnderTest.backend
    var refused: [String] = []
    let report = try await ONNXNodeTestReport(folder: folder.path) { graph, inputs in
      let executable = try await backend.compile(Program(graph), options: CompileOptions())
      for (input, tensor) in inputs { try await executable.write(tensor, to: input) }
      try await executable.run(steps: 1)
      var results: [Tensor] = []
      for output in graph.outputs { results.append(try await executable.read(output)) }
      return results
    }
    for failure in report.failures {
      if Self.refusals.contains(where: failure.contains) { refused.append(failure) } else { Issue.record("\(failure)") }
    }
    Measured.report(
      "\(report.passed.count) node tests pass, \(refused.count) are refused, \(report.unclaimed.count) are not claimed")
    #expect(report.passed.count >= 680)
    let passing = Set(
      report.entries.filter { if case .passed = $0.outcome { true } else { false } }.map(\.operatorType))
    #expect(OperatorClaim.all.map(\.operatorType).filter { !passing.contains($0) } == Self.withoutNodeTests)
    // ReduceLogSumExp in f64 and what else of that type is computed.
    #expect(refused.count <= 19, "\(refused.joined(separator: "\n"))")
  }
}
