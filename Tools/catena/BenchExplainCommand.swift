import ArgumentParser
import Catena
import Foundation

extension BenchCommand {
  struct Explain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Times explanations of the same samples, method by method, with a network that is compiled already.")

    @Argument(help: "An ONNX file.", completion: .file(extensions: ["onnx"]))
    var model: String

    @Option(help: "Preprocessed samples (.npy, N first).")
    var samples: String

    @Option(help: "Methods joined by commas, or 'all'.", transform: MethodList.init(parsing:))
    var method = MethodList(methods: [.saliency])

    @Option(help: "The class to explain.")
    var target = 0

    @Option(help: "Timed runs, behind one that warms up.")
    var runs = 5

    @Option(help: "Threads; by default what the affinity mask and the control group allow.")
    var threads: Int?

    func validate() throws {
      try checkCount(runs, "--runs")
      try checkCount(threads, "--threads", most: 4096)
    }

    func run() async throws {
      let command = self
      try await reportingFailures(of: model) { try await command.measure() }
    }

    private func measure() async throws {
      let engine = try Engine(device: .cpu, threads: threads)
      let explainer = try Explainer(model: ONNXModel(contentsOf: model), backend: engine.backend)
      let tensor = try NPY.read(samples)
      let targets = [Int](repeating: target, count: tensor.shape[0])
      var seconds: [String: [Double]] = [:]
      for method in method.methods {
        for run in 0...runs {
          let start = ContinuousClock.now
          _ = try await explainer.attribution(of: tensor, method: method, targets: targets)
          let time = start.duration(to: .now) / .seconds(1)
          if run > 0 { seconds[method.rawValue, default: []].append(time) }
        }
      }
      try Output.json(seconds)
    }
  }
}
