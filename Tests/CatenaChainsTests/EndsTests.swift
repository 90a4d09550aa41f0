import CatenaCPU
import CatenaChains
import CatenaCompute
import TestSupport
import Testing

@Suite("Ends of a search")
struct EndsTests {
  @Test("while a sample is missed a search settles again, and the best end is its path's")
  func several() async throws {
    // So few units that no chain finds every sample's class.
    let once = try await searched(keep: 0.03, ends: 1)
    try #require(once.fidelity.agreement < 1, "the region is too easy for this test")
    let often = try await searched(keep: 0.03, ends: 3)
    #expect(often.work.ends == 3)
    #expect(once.work.ends == 1)
    #expect(often.work.steps == once.work.steps + 2 * (once.work.steps - 40))
    // Noise leads elsewhere, if not each time; the first end is the same as alone.
    #expect(often.divergences.count == 3)
    #expect(Set(often.divergences).count > 1)
    #expect(often.divergences.first == once.divergences.first)
    #expect(!once.fidelity.isBetter(than: often.fidelity))
    #expect(often.steps == once.steps, "a path leads to one end")
  }

  @Test("after an end that misses samples the straight phase runs again from the best chain")
  func restarts() async throws {
    let once = try await searched(keep: 0.03, ends: 1)
    try #require(once.fidelity.agreement < 1, "the region is too easy for this test")
    let again = try await searched(keep: 0.03, ends: 1, restarts: 4)
    #expect(again.work.ends == 1)
    #expect(again.work.restarts == 4)
    #expect(again.work.steps == once.work.steps + 4 * 15)
    #expect(again.divergences.count == 5)
    #expect(Set(again.divergences).count > 1)
    #expect(again.divergences.first == once.divergences.first)
    #expect(again.fidelity.isBetter(than: once.fidelity))
    #expect(again.steps == once.steps, "a path has one straight phase")
    #expect(once.work.restarts == 0)
  }

  @Test("a chain that finds every sample's class ends the search")
  func agreeing() async throws {
    let easy = try await searched(keep: 0.6, ends: 3, restarts: 2)
    #expect(easy.fidelity.agreement == 1)
    #expect(easy.work.restarts == 0)
    #expect(easy.work.ends == 1)
  }

  @Test("without steps that are judged there is one end")
  func unjudged() async throws {
    let soft = try await searched(keep: 0.03, ends: 3, restarts: 2, straightPart: 0)
    #expect(soft.work.restarts == 0)
    #expect(soft.work.ends == 1)
  }

  @Test("without a phase to go back to the end of there is one end")
  func unbegun() async throws {
    let settled = try await searched(keep: 0.03, ends: 3, branchEnd: 0)
    #expect(settled.work.ends == 1)
  }

  /// A search for a part of ResNet-20's units in a hundred steps, branches settled on after 40: the fidelity of its last
  /// chain, the divergence at each end, and the steps of its snapshots.
  private func searched(
    keep: Double, ends: Int, restarts: Int = 0, straightPart: Double = 0.15, branchEnd: Double = 0.4
  ) async throws -> (fidelity: Fidelity, work: SearchWork, divergences: [Double], steps: [Int]) {
    let network = try ChainNetwork(model: ShippedNetwork.resnet20.model(), batch: 20)
    let region = try ShippedNetwork.resnet20.region(Array(0..<20))
    let evaluator = try await ChainEvaluator(network: network, backend: CPUBackend(), options: CompileOptions())
    let dense = try await evaluator.denseLogits(of: region)
    var settings = ChainSettings()
    settings.steps = 100
    settings.ends = ends
    settings.restarts = restarts
    settings.straightPart = straightPart
    settings.branchEnd = branchEnd
    settings.sizePart = 0
    let search = ChainSearch(network: network, backend: CPUBackend(), options: CompileOptions(), settings: settings)
    var divergences: [Double] = []
    let found = try await search.paths(of: [region], dense: [dense], variants: [], keep: [keep]) { progress in
      if progress.stage == .optimizing, progress.completed == progress.total, let divergence = progress.divergence {
        divergences.append(divergence)
      }
    }
    let selection = ChainSelector(sites: network.sites).hardChain(of: try #require(found.paths[0].last))
    let logits = try await evaluator.binaryLogits(of: region, selection)
    return (Fidelity(dense: dense, chain: logits), found.work, divergences, found.paths[0].map(\.step))
  }
}
