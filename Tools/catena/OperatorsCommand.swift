import ArgumentParser
import Catena

struct OperatorsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "operators",
    abstract: "Lists the ONNX operators that are supported, with element types and operator sets.",
    discussion: """
      With --node-tests it also runs the ONNX project's own node tests and prints \
      per operator how many pass; those outside the list are named with the reason. \
      The tests ship in the Python package onnx 1.17.0, under backend/test/data/node.

      Examples:
        catena operators
        catena operators --node-tests FOLDER
      """)

  @Option(
    help: ArgumentHelp("Run the node tests in this folder.", valueName: "folder"), completion: .directory)
  var nodeTests: String?

  @Option(help: "Where the node tests run.")
  var device: DeviceChoice = .reference

  @Flag(help: "Print JSON.")
  var json = false

  func run() async throws {
    let command = self
    try await reportingFailures { try await command.list() }
  }

  private func list() async throws {
    var tests: ONNXNodeTestReport?
    if let nodeTests { tests = try await report(on: nodeTests) }
    if json {
      try Output.json(OperatorsReport(tests))
    } else {
      try Output.line(OperatorClaim.markdown())
      if let tests {
        try Output.line("\n" + tests.countsMarkdown())
        try Output.line("\nNot claimed:\n" + tests.unclaimedLines())
      }
    }
    guard let failures = tests?.failures, !failures.isEmpty else { return }
    Output.note("error: \(failures.count) claimed node test(s) failed:\n  " + failures.joined(separator: "\n  "))
    throw ExitStatus.failed
  }

  private func report(on folder: String) async throws -> ONNXNodeTestReport {
    let engine = try Engine(device: device)
    let report = try await ONNXNodeTestReport(folder: folder) { graph, inputs in
      let executable = try await engine.backend.compile(Program(graph), options: engine.compileOptions)
      for (input, tensor) in inputs { try await executable.write(tensor, to: input) }
      try await executable.run(steps: 1)
      var results: [Tensor] = []
      for output in graph.outputs { results.append(try await executable.read(output)) }
      return results
    }
    guard !report.passed.isEmpty || !report.failures.isEmpty else {
      throw FileError(
        .unsuitable, folder,
        "holds no node test; give the folder onnx/backend/test/data/node of the package onnx 1.17.0")
    }
    return report
  }
}

/// What `operators --json` says.
private struct OperatorsReport: Encodable {
  struct Claim: Encodable {
    var operatorType: String
    var firstOpset: Int
    var lastOpset: Int
    var elementTypes: [String]
    var note: String
  }
  struct NodeTests: Encodable {
    struct Unclaimed: Encodable {
      var name: String
      var reason: String
    }
    var passed: [String]
    var failures: [String]
    var unclaimed: [Unclaimed]
  }
  var operators: [Claim]
  var nodeTests: NodeTests?

  init(_ tests: ONNXNodeTestReport?) {
    operators = OperatorClaim.all.map { claim in
      Claim(
        operatorType: claim.operatorType, firstOpset: claim.opsets.lowerBound, lastOpset: claim.opsets.upperBound,
        elementTypes: claim.elementTypes.map(\.rawValue).sorted(), note: claim.note)
    }
    nodeTests = tests.map { tests in
      NodeTests(
        passed: tests.passed, failures: tests.failures,
        unclaimed: tests.unclaimed.map { .init(name: $0.name, reason: $0.reason) })
    }
  }
}
