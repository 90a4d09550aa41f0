import Catena
import Foundation
import TestSupport
import Testing

@Suite(
  "Gradients of real networks and PyTorch", .serialized,
  .enabled(if: AssetNetwork.availability.isPresent, "\(AssetNetwork.availability.reason)"),
  .enabled(if: Peer.availability.isPresent, "\(Peer.availability.reason)"))
struct NetworkGradientTests {
  /// What the peer is to gate; the names are those of the ONNX file.
  private struct Description: Encodable {
    struct Gate: Encodable {
      let value: String
      let axis: Int
      var offset = 0
      let count: Int
      let branch: Int?
    }
    struct Branch: Encodable { let value: String }
    let gates: [Gate]
    let branches: [Branch]

    init(_ sites: GateSites, in graph: Graph) {
      gates = sites.layers.map {
        Gate(value: graph[$0.value].name, axis: $0.axis, count: $0.count, branch: $0.block)
      }
      branches = sites.blocks.map { Branch(value: graph[$0.branch].name) }
    }
  }

  /// On which side of its kinks a run of ours lay.
  private struct Side: Encodable {
    let value: String
    let tensor: String
    let minimum: Float?
    let maximum: Float?

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: Key.self)
      try container.encode(value, forKey: .value)
      try container.encode(tensor, forKey: .tensor)
      guard let minimum else { return }
      try container.encode(minimum, forKey: .minimum)
      // An activation without an upper bound says so.
      try container.encode(maximum, forKey: .maximum)
    }

    private enum Key: CodingKey { case value, tensor, minimum, maximum }
  }

  @Test(
    "gate and input gradients agree",
    arguments: AssetNetwork.named([
      "cifar10_resnet20", "cifar10_vgg6bn", "nad_wrn16_1_clean", "mlperf_tiny_resnet8", "squeezenet_v1.0_dc",
      "mobilenet_v2_1.0_224_dequant",
    ]))
  func gradients(of network: AssetNetwork) async throws {
    let samples = try network.input(limit: network.images == .imageNet ? 2 : 8).tensor
    let graph = try network.model().graph(batch: samples.shape[0])
    let objective = try GatedObjective(graph)
    let sites = objective.sites
    let scores = Self.scores(count: sites.unitCount, seed: 5)
    let blockScores = sites.blocks.isEmpty ? nil : Self.scores(count: sites.blocks.count, seed: 6)
    let found = try await objective.results(graph, samples, scores, blockScores, on: Run.processor()).results
    let (again, sides) = try await objective.results(
      graph, samples, scores, blockScores, withSides: true, on: Run.processor())
    for (name, tensor) in found { #expect(again[name]?.floats == tensor.floats, "reading the sides changes \(name)") }

    let folder = try TemporaryFolder()
    let gates = folder.file("gates.json")
    try JSONEncoder().encode(Description(sites, in: graph)).write(to: URL(filePath: gates))
    var arguments = [network.path, try folder.write(samples, "input"), gates, "--lambda", "0", "--exact"]
    arguments += ["--out", folder.file("step.npz"), "--scores", try folder.write(scores, "scores")]
    let piece = folder.file("piece.json")
    let entries = try zip(objective.kinks, sides).enumerated().map { index, kink in
      Side(
        value: kink.0.name, tensor: try folder.write(kink.1, "side\(index)"), minimum: kink.0.bounds?.minimum,
        maximum: kink.0.bounds?.maximum)
    }
    try JSONEncoder().encode(entries).write(to: URL(filePath: piece))
    arguments += ["--piece", piece]
    if let blockScores { arguments += ["--branch-scores", try folder.write(blockScores, "blocks")] }
    try await Peer.run("gated_step.py", arguments)
    let step = try NPZ.read(folder.file("step.npz"))
    func value(_ name: String) throws -> Tensor { try #require(step.first { $0.name == name }?.tensor, "\(name)") }
    // Single precision carries activations over kinks, where the gradient jumps, PyTorch's as well as ours. On the side
    // on which ours lie PyTorch's gradients are ours, and the network's own values are no further from it than rounding.
    let distance = try value("piece_distance").doubles[0]
    Measured.report("\(network.name): \(objective.kinks.count) layers with kinks, other sides within \(distance)")
    #expect(distance <= 1e-5)
    for (name, tensor) in found.sorted(by: { $0.key < $1.key }) {
      let error = try tensor.relativeError(to: value("piece_\(name)"))
      let jumping = try tensor.relativeError(to: value("exact_\(name)"))
      let spread = try value("spread_\(name)").doubles[0]
      let peer = try value(name).relativeError(to: value("exact_\(name)"))
      Measured.report(
        "\(network.name), \(name): relative error \(error); jumps included \(jumping), the peer's \(peer), spread \(spread)"
      )
      #expect(error <= 1e-4, "\(name)")
      // With the jumps ours must be about as near to the double-precision gradients as PyTorch's are.
      #expect(jumping <= max(1e-4, min(spread, 3 * peer)), "\(name), jumps included")
    }
    // In double precision no activation is carried over a kink, and every network's gradients agree.
    let exact = try objective.exactResults(samples, scores, blockScores, target: value("target"))
    for (name, tensor) in exact.sorted(by: { $0.key < $1.key }) {
      let error = try tensor.relativeError(to: value("exact_\(name)"))
      Measured.report("\(network.name), \(name) in double precision: relative error \(error)")
      #expect(error <= 1e-6, "\(name) in double precision")
    }
  }

  /// Scores of gates from about a quarter to nearly 1.
  private static func scores(count: Int, seed: UInt64) -> Tensor {
    var generator = SeededGenerator(seed: seed)
    return Tensor((0..<count).map { _ in Float(5 * generator.uniform() - 1) }, shape: [1, count])
  }
}
