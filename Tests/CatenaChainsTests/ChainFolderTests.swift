import CatenaChains
import CatenaFormats
import CatenaGraph
import CatenaTensors
import Foundation
import TestSupport
import Testing

@Suite("A chain on disk")
struct ChainFolderTests {
  @Test("is written and verified for every network that ships", arguments: ShippedNetwork.allCases)
  func shipped(network: ShippedNetwork) async throws {
    let indices = network == .squeezeNet ? [0, 4] : [0, 1, 2, 3, 4, 5]
    let steps = network == .squeezeNet ? 20 : 40
    let chain = try await ChainFolder(
      network.model(), network.region(indices), request: .keep(fraction: 0.4), settings: .short(steps: steps))
    try await check(chain)
    #expect(chain.manifest.met)
    #expect(chain.manifest.size.units.kept * 10 <= chain.manifest.size.units.total * 4)
    #expect(chain.manifest.size.parameters.kept < chain.manifest.size.parameters.total)
    #expect(chain.manifest.size.multiplyAdds.kept < chain.manifest.size.multiplyAdds.total)
    let reasons = Set(chain.manifest.uncut.map(\.reason))
    #expect(reasons.isSubset(of: KeepReason.allCases.map(\.rawValue)))
    switch network {
    case .resnet20, .resnet8:
      // Dead channels stay where other writers of a residual sum are live; nothing else in these networks holds any.
      #expect(reasons.isSubset(of: [KeepReason.otherWriter.rawValue, KeepReason.otherReader.rawValue]), "\(reasons)")
    case .tinyVGG, .squeezeNet: #expect(reasons.isEmpty, "\(reasons)")
    }
  }

  @Test(
    "is written and verified for other structures",
    arguments: [GoldenNetwork.paddedShortcut, .squeezeExcite, .denseNet, .mobileNet])
  func golden(network: GoldenNetwork) async throws {
    let chain = try await ChainFolder(
      network.model(), network.region(5), request: .agreement(fraction: 0.8), settings: .short(batch: 2))
    try await check(chain)
  }

  private func check(_ chain: ChainFolder) async throws {
    #expect(
      try chain.files == [
        "SHA256SUMS", "chain.onnx", "chain.soft.onnx", "curve.csv", "curve.svg", "manifest.json", "region.safetensors",
        "scores.safetensors",
      ])
    let verification = try await chain.verify()
    #expect(verification.samples == chain.result.region.count)
    #expect(verification.largestDifference <= ChainVerifier.tolerance)

    let written = try ONNXModel(contentsOf: "\(chain.path)/\(ChainFile.network)")
    let floats = written.initializers.filter { $0.value.elementType.isFloatingPoint }
    #expect(verification.constants == floats.count)
    #expect(verification.elements == floats.values.map(\.elementCount).reduce(0, +))
    let listed = Set(chain.manifest.constants.map(\.name)).union(chain.manifest.factors.map(\.name))
    #expect(listed.isSuperset(of: floats.keys), "every float constant is listed")

    let manifest = try ChainManifest.decoded(from: chain.bytes(of: ChainFile.manifest))
    #expect(manifest == chain.manifest, "what was written is what was returned")
    try checkCounts(chain, written)
    checkCurve(chain)
    try checkScores(chain)
  }

  /// Counts made from the file's own graph, not from what made it.
  private func checkCounts(_ chain: ChainFolder, _ written: ONNXModel) throws {
    let size = chain.manifest.size
    let selection = chain.result.point.selection
    #expect(size.units.kept == selection.units.count { $0 })
    #expect(size.units.kept == chain.manifest.layers.map(\.kept.count).reduce(0, +))
    #expect(size.units.total == chain.manifest.layers.map(\.count).reduce(0, +))
    #expect(size.blocks.kept == chain.manifest.blocks.count { $0.kept })
    let graph = try written.graph(batch: written.fixedBatch ?? 1)
    #expect(size.multiplyAdds.kept == multiplyAdds(graph) / (written.fixedBatch ?? 1))
    for layer in chain.manifest.layers where !layer.kept.isEmpty {
      let node = try #require(graph.nodes.first { graph[$0.outputs[0]].name == layer.name }, "\(layer.name) is gone")
      // What stays uncut comes on top.
      #expect(graph.shape(node.outputs[0])[layer.axis] >= layer.kept.count)
      #expect(layer.kept == layer.kept.sorted())
    }
  }

  private func multiplyAdds(_ graph: Graph) -> Int {
    graph.nodes.map { node -> Int in
      switch node.operation {
      case .convolution:
        graph.shape(node.outputs[0]).elementCount * graph.shape(node.inputs[1]).dimensions[1...].reduce(1, *)
      case .gemm(let gemm):
        graph.shape(node.outputs[0]).elementCount * graph.shape(node.inputs[0])[gemm.transposeA ? 0 : 1]
      case .matmul: graph.shape(node.outputs[0]).elementCount * graph.shape(node.inputs[0])[-1]
      default: 0
      }
    }.reduce(0, +)
  }

  private func checkCurve(_ chain: ChainFolder) {
    let curve = chain.manifest.curve
    let smallest = ChainSelector(sites: chain.network.sites).smallestCount
    #expect(Set(curve.map(\.keptUnits)).count >= 10, "sizes: \(curve.map(\.keptUnits))")
    #expect(curve.first?.keptFraction == 1)
    #expect(curve.first?.fidelity.binary.agreement == 1)
    #expect(curve.first?.fidelity.binary.divergence == 0)
    #expect(curve.last?.keptUnits == smallest)
    #expect(curve.map(\.keptUnits) == curve.map(\.keptUnits).sorted(by: >))
    #expect(curve.contains { $0.fidelity == chain.manifest.fidelity && $0.keptUnits == chain.manifest.size.units.kept })
  }

  /// The factors of the soft mode.
  private func checkScores(_ chain: ChainFolder) throws {
    let scores = try Safetensors.read("\(chain.path)/\(ChainFile.scores)")
    for layer in chain.manifest.layers {
      let factors = try #require(scores["units/\(layer.name)"], "\(layer.name)").floats
      #expect(factors.count == layer.count)
      #expect(factors.indices.filter { factors[$0] != 0 } == layer.kept)
      #expect(factors.allSatisfy { $0 >= 0 && $0 <= 1 })
    }
    #expect((scores["blocks"]?.floats ?? []).map { $0 != 0 } == chain.manifest.blocks.map(\.kept))
    #expect(scores.metadata["model"] == chain.model.sha256)
  }

  @Test("keeps each chain's request, met or not")
  func requests() async throws {
    let network = ShippedNetwork.resnet8
    let region = try network.region([0, 5, 10, 15])
    let chain = try await ChainFolder(
      network.model(), region, request: .agreement(fraction: 1), settings: .short(steps: 30))
    #expect(chain.manifest.met)
    #expect(chain.manifest.fidelity.binary.agreement == 1)
    #expect(chain.manifest.request == .agreement(fraction: 1))
    #expect(chain.manifest.region.samples == region.sampleNames)
    _ = try await chain.verify()
  }

  @Test("a budget below the smallest connected chain is refused, naming it", arguments: [0.001, 0, -1, 1.5, .nan])
  func unreachable(fraction: Double) async throws {
    let network = ShippedNetwork.tinyVGG
    let error = await #expect(throws: ChainError.self) {
      _ = try await extractor(network.model(), settings: .short())
        .chains(for: [network.region([0])], request: .keep(fraction: fraction))
    }
    let smallest = try ChainSelector(sites: ChainNetwork(model: network.model(), batch: 1).sites).smallestCount
    if fraction == 0.001 {
      let text = try #require(error).description
      #expect(text.contains("smallest connected chain of this network has \(smallest) "), "\(text)")
    }
  }
}
