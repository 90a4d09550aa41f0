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
    let found = try await objective.results(graph, samples, scores, blockScores, on: Run.processor())

    let folder = try PeerFolder()
    let gates = folder.file("gates.json")
    try JSONEncoder().encode(Description(sites, in: graph)).write(to: URL(filePath: gates))
    var arguments = [network.path, try folder.write(samples, "input"), gates, "--lambda", "0", "--exact"]
    arguments += ["--out", folder.file("step.npz"), "--scores", try folder.write(scores, "scores")]
    if let blockScores { arguments += ["--branch-scores", try folder.write(blockScores, "blocks")] }
    try await Peer.run("gated_step.py", arguments)
    let step = try NPZ.read(folder.file("step.npz"))
    func value(_ name: String) throws -> Tensor { try #require(step.first { $0.name == name }?.tensor, "\(name)") }
    for (name, tensor) in found.sorted(by: { $0.key < $1.key }) {
      let error = try tensor.relativeError(to: value("exact_\(name)"))
      // Where rounding carries activations over kinks, the gradient itself jumps, PyTorch's as well as ours: then ours
      // must be about as near to the double-precision one as PyTorch's is.
      let spread = try value("spread_\(name)").doubles[0]
      let peer = try value(name).relativeError(to: value("exact_\(name)"))
      Measured.report("\(network.name), \(name): relative error \(error), the peer's \(peer), spread \(spread)")
      #expect(error <= max(1e-4, min(spread, 3 * peer)), "\(name)")
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
