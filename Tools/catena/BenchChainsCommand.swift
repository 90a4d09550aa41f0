import ArgumentParser
import Catena
import Foundation

extension BenchCommand {
  struct Chains: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Times whole extractions of many regions in one run, curves included.",
      discussion: SampleOptions.explanation)

    @Argument(help: "An ONNX file.", completion: .file(extensions: ["onnx"]))
    var model: String

    @OptionGroup var samples: SampleOptions

    @Option(help: "Regions that the samples are shared out to, in order.")
    var regions = 1

    @Option(
      help: ArgumentHelp("Keep at most this part of all units, such as 10%.", valueName: "part"),
      transform: Fraction.init(parsing:))
    var keep: Fraction

    @Option(help: "Optimisation steps.")
    var steps: Int?

    @OptionGroup var device: DeviceOptions

    func validate() throws {
      try checkCount(regions, "--regions")
      try checkCount(steps, "--steps")
    }

    func run() async throws {
      let command = self
      try await reportingFailures(of: model) { try await command.measure() }
    }

    private func measure() async throws {
      let source = try ONNXModel(contentsOf: model)
      let all = try samples.region(named: samples.regionName, for: source)
      guard all.count.isMultiple(of: regions) else {
        throw ValidationError("\(all.count) samples do not divide into \(regions) regions")
      }
      let size = all.count / regions
      let parts = try (0..<regions).map { index in
        let range = (index * size)..<((index + 1) * size)
        return try Region(
          name: "region \(index)", samples: all.samples.rows(range, filledTo: size),
          sampleNames: Array(all.sampleNames[range]))
      }
      var settings = ChainSettings()
      if let steps { settings.steps = steps }
      let engine = try device.openEngine()
      let (start, processor) = (ContinuousClock.now, processorSeconds())
      let extractor = ChainExtractor(
        network: try ChainNetwork(model: source, batch: min(settings.batch, size)), backend: engine.backend,
        settings: settings, options: engine.compileOptions)
      let results = try await extractor.chains(for: parts, request: .keep(fraction: keep.value))
      try Output.json(
        Report(
          seconds: start.duration(to: .now) / .seconds(1), processorSeconds: processorSeconds() - processor,
          steps: results.map { $0.work.steps + $0.work.draws }.reduce(0, +) / max(results.count, 1),
          threads: engine.backend.device.threads,
          regions: results.map { result in
            Report.Region(
              kept: result.point.keptFraction, agreement: result.point.binary.agreement,
              divergence: result.point.binary.divergence)
          }))
    }

    private struct Report: Encodable {
      struct Region: Encodable {
        var kept: Double
        var agreement: Double
        var divergence: Double
      }
      var seconds: Double
      var processorSeconds: Double
      var steps: Int
      var threads: Int
      var regions: [Region]
    }
  }
}

/// The processor time of this process, all threads together.
private func processorSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
}
