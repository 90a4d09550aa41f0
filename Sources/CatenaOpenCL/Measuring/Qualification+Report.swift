import Foundation

extension Qualification {
  /// The report for people.
  package var markdown: String {
    ([title, featureTable] + (tensorCores.isEmpty ? [] : [tensorTable]) + [correctness]
      + (limits == nil ? [] : [speed]))
      .joined(separator: "\n\n") + "\n"
  }

  private var title: String {
    var lines = [
      "# \(device.name)", "",
      isCorrect
        ? "Every problem's results are right."
        : "**\(families.reduce(0) { $0 + $1.failures.count }) results are wrong**, listed below.",
      "", "- driver: \(device.instructionSet)", "- units: \(device.threads)",
      "- memory: \(device.memory ?? 0) bytes, local \(localMemory) bytes",
      "- instruction set: \(architecture.isEmpty ? "not told" : architecture)",
      "- compared with: \(comparedWith.backend), \(comparedWith.name)",
    ]
    lines += tuned.sorted { $0.key < $1.key }.map { "- tuned \($0.key): `\($0.value)`" }
    lines += remarks.map { "- note: \($0)" }
    return lines.joined(separator: "\n")
  }

  private var featureTable: String {
    Self.table(
      "Features", ["feature", "works", "why not"],
      features.map { [$0.feature.rawValue, $0.works.map { $0 ? "yes" : "**no**" } ?? "-", $0.reason] })
  }

  private var tensorTable: String {
    Self.table(
      "Tensor cores", ["build", "can", "should", "error", "times faster", "why not"],
      tensorCores.map { verdict in
        [
          verdict.family, verdict.can ? "yes" : "**no**", verdict.should ? "yes" : "no",
          verdict.error.map { String(format: "%.1e", $0) } ?? "",
          verdict.speedup.map { String(format: "%.2f", $0) } ?? "",
          verdict.reason,
        ]
      })
  }

  private var correctness: String {
    let rows = families.map { family in
      [family.family, "\(family.problems)", "\(family.numbers)"]
        + [family.percentile50, family.percentile99, family.percentile999, family.largest]
        .map { String(format: "%.1e", $0) } + ["\(family.failures.count)"]
    }
    let failures = families.flatMap(\.failures).map { "- \($0)" }
    let notRun = kernelsNotRun.isEmpty ? "none" : kernelsNotRun.joined(separator: ", ")
    return
      ([
        Self.table(
          "Correctness", ["family", "problems", "numbers", "50 %", "99 %", "99.9 %", "largest", "wrong"], rows), "",
        "Errors are relative to the largest magnitude of the same output. Kernels that no problem ran: \(notRun).",
      ] + (failures.isEmpty ? [] : [""] + failures)).joined(separator: "\n")
  }

  private var speed: String {
    let rows = rates.map { result in
      [
        result.rate.problem, result.precision.rawValue, result.rate.kernel.name,
        String(format: "%.3f", result.rate.seconds * 1e3), String(format: "%.1f", result.rate.gigaflops),
        String(format: "%.1f", result.rate.gigabytes), String(format: "%.2f", result.shareOfLimit),
      ]
    }
    let limit = limits.map {
      String(
        format:
          "The device's own limits in this run: %.1f GFLOP/s of f32 multiply-adds on registers, %.1f GB/s copied.",
        $0.gigaflopsPerSecond, $0.gigabytesPerSecond)
    }
    return Self.table(
      "Speed", ["problem", "precision", "slowest kernel", "ms", "GFLOP/s", "GB/s", "share of the limit"], rows)
      + "\n\n" + (limit ?? "")
  }

  private static func table(_ title: String, _ headings: [String], _ rows: [[String]]) -> String {
    let lines = [headings, headings.map { _ in "---" }] + rows
    return "## \(title)\n\n" + lines.map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
  }
}
