import CatenaChains
import CatenaCompute
import CatenaReference
import CatenaTensors
import TestSupport
import Testing

@Suite("The network of the soft mode")
struct SoftNetworkTests {
  /// A unit that is kept only so that its branch has one in every layer may have the score 0, and be the only one.
  @Test("gives what the gated network gives, where a layer's only factor is 0 too", arguments: [0, 0.25, 1] as [Float])
  func onlyFactor(_ factor: Float) async throws {
    let network = try ChainNetwork(model: NetworkBuilder.residual(batch: 2), batch: 2)
    let sites = network.sites
    let index = try #require(sites.layers.firstIndex { network.graph[$0.value].name.contains("first") })
    let layer = sites.unitOffsets[index]..<sites.unitOffsets[index] + sites.layers[index].count
    let units = (0..<sites.unitCount).map { !layer.contains($0) || $0 == layer.lowerBound }
    let factors = (0..<sites.unitCount).map { units[$0] ? layer.contains($0) ? factor : Float(0.5) : 0 }
    let blocks = [Float](repeating: 0.75, count: sites.blocks.count)
    let soft = try SoftNetwork(
      network: network, sliced: network.sliced(keeping: units, blocks: blocks.map { _ in true }),
      unitFactors: factors, blockFactors: blocks)
    let region = try noise(2, sample: [2, 5, 5], seed: 3)
    let found = try Reference.run(
      soft.graph, inputs: [soft.graph.inputs[0]: region.samples], precision: .declared)[soft.graph.outputs[0]]
    let evaluator = try await ChainEvaluator(
      network: network, backend: ReferenceBackend(), options: CompileOptions())
    let expected = try await evaluator.logits(of: region, unitGates: factors, blockGates: blocks)
    let difference = zip(try #require(found).floats, expected.joined()).map { abs($0 - $1) }.max()
    #expect(try #require(difference) <= 1e-5)
  }
}
