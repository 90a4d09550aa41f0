import CatenaGraph
import CatenaTensors

/// How the ONNX project's node tests ended.
package struct ONNXNodeTestReport: Sendable {
  /// One test.
  package struct Entry: Sendable {
    /// The test's name.
    package let name: String
    /// The operator under test; empty when the model could not be read.
    package let operatorType: String
    /// How it ended.
    package let outcome: ONNXNodeTest.Outcome
  }

  /// Every test, in the order of the names.
  package let entries: [Entry]

  /// Runs every test in `folder` whose name `isWanted`.
  package init(
    folder: String, where isWanted: (String) -> Bool = { _ in true },
    _ evaluate: (Graph, ValueMap<Tensor>) async throws -> [Tensor]
  ) async throws(FileError) {
    var entries: [Entry] = []
    for name in try folderEntries(folder) where isWanted(name) {
      do throws(ONNXNodeTest.Unreadable) {
        let test = try ONNXNodeTest(name, in: folder)
        entries.append(Entry(name: name, operatorType: test.operatorType, outcome: await test.run(evaluate)))
      } catch {
        entries.append(Entry(name: name, operatorType: "", outcome: .unclaimed(error.reason)))
      }
    }
    self.entries = entries
  }

  /// The names of the tests that passed.
  package var passed: [String] { entries.filter { if case .passed = $0.outcome { true } else { false } }.map(\.name) }

  /// The tests that are claimed and did not pass, with the reason.
  package var failures: [String] {
    entries.compactMap { if case .failed(let reason) = $0.outcome { "\($0.name): \(reason)" } else { nil } }
  }

  /// The tests outside the claims, with the reason.
  package var unclaimed: [(name: String, reason: String)] {
    entries.compactMap { if case .unclaimed(let reason) = $0.outcome { ($0.name, reason) } else { nil } }
  }

  /// The counts per operator as a table in Markdown.
  package func countsMarkdown() -> String {
    struct Counts { var passed = 0, failed = 0, unclaimed = 0 }
    func row(_ name: String, _ counts: Counts) -> String {
      "| \(name) | \(counts.passed) | \(counts.failed) | \(counts.unclaimed) |"
    }
    var counts: [String: Counts] = [:]
    for entry in entries {
      // An expanded function is counted with the elementary operators, whatever its last node is.
      let name = entry.name.contains("_expanded") ? "(expanded functions)" : entry.operatorType
      switch entry.outcome {
      case .passed: counts[name, default: Counts()].passed += 1
      case .failed: counts[name, default: Counts()].failed += 1
      case .unclaimed: counts[name, default: Counts()].unclaimed += 1
      }
    }
    let total = counts.values.reduce(into: Counts()) { sum, part in
      sum.passed += part.passed
      sum.failed += part.failed
      sum.unclaimed += part.unclaimed
    }
    let rows = counts.sorted { $0.key < $1.key }.map { row($0.key.isEmpty ? "(unreadable)" : $0.key, $0.value) }
    let head = ["| operator | passed | failed | not claimed |", "|---|---|---|---|"]
    return (head + rows + [row("all", total)]).joined(separator: "\n")
  }

  /// The tests outside the claims as lines, with the reasons.
  package func unclaimedLines() -> String { unclaimed.map { "\($0.name): \($0.reason)" }.joined(separator: "\n") }
}
