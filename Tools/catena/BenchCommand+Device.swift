import ArgumentParser
import Catena
import CatenaCPU
import CatenaOpenCL
import CatenaProblems
import Foundation

extension BenchCommand {
  /// An OpenCL device against its own limits.
  struct Device: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Measures an OpenCL device's kernels against its own limits, and says whether it can be relied on.",
      discussion: """
        With --qualify: what the device can do beyond OpenCL 1.2, every problem of the \
        tests' tables against the CPU back end with the percentiles of the errors, and \
        the rates. Ends with exit code 1 when a result is wrong.

        Example: catena bench --device opencl --qualify --out report.md
        """)

    @Option(help: "Which OpenCL device; auto is the best GPU.")
    var device: DeviceChoice = .automatic

    @Flag(help: "Check the results too, not only the speed.")
    var qualify = false

    @Flag(help: "Do not measure the speed.")
    var noSpeed = false

    @Option(help: ArgumentHelp("Write the report there, and beside it as .json.", valueName: "file"))
    var out: String?

    func validate() throws {
      if noSpeed, !qualify { throw ValidationError("--no-speed belongs to --qualify") }
    }

    func run() async throws {
      let command = self
      try await reportingFailures { try await command.examine() }
    }

    private func examine() async throws {
      let backend = try device.openCLBackend()
      let base = out.map { $0.hasSuffix(".md") ? String($0.dropLast(3)) : $0 }
      // Whether the report can be written is found out before the work, not after it.
      if let base { for end in [".md", ".json"] { _ = try AtomicFile(base + end) } }
      Output.note("\(backend.device.name), \(backend.device.instructionSet) (\(backend.reason))")
      let line = ProgressLine()
      let report = try await Qualification(
        of: backend, against: CPUBackend(), families: qualify ? ProblemFamily.allCases : [], measuresSpeed: !noSpeed
      ) { line.show("examining", detail: $0) }
      line.finish()
      if let base {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        try AtomicFile.write(Array(report.markdown.utf8), to: base + ".md")
        try AtomicFile.write(Array(try encoder.encode(report)), to: base + ".json")
        Output.note("\(base).md, \(base).json")
      } else {
        try Output.line(report.markdown)
      }
      if !report.isCorrect { throw ExitStatus.failed }
    }
  }
}
