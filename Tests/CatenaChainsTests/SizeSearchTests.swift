import CatenaCPU
import CatenaChains
import CatenaCompute
import TestSupport
import Testing

@Suite("The smallest faithful chain")
struct SizeSearchTests {
  /// The sizes tried where searches find faithful chains from `least` on, and of just the size that they head for.
  private func tried(least: Double, first: Double = 0.1, smallest: Double = 0.02, searches: Int = 20) -> [Double] {
    var search = SizeSearch(first: first, smallest: smallest, searches: searches)
    var sizes: [Double] = []
    while let size = search.next {
      sizes.append(size)
      search.record(size >= least ? size : 1)
    }
    return sizes
  }

  @Test("is bracketed from both sides", arguments: [0.021, 0.05, 0.09, 0.11, 0.3, 0.8])
  func bracket(least: Double) throws {
    let sizes = tried(least: least)
    let answer = sizes.filter { $0 >= least }.min() ?? 1
    #expect(answer <= 1.2 * least)
    #expect(sizes.count <= 7)
    #expect(sizes.allSatisfy { $0 >= 0.02 && $0 < 1 })
  }

  @Test("is not looked for below the smallest size, nor with more searches than allowed")
  func limits() {
    #expect(tried(least: 0) == [0.1, 0.05, 0.025, 0.02])
    #expect(tried(least: 0, smallest: 0.2) == [0.2])
    #expect(tried(least: 0.3, searches: 2).count == 2)
    #expect(tried(least: 0.3, searches: 0).isEmpty)
  }

  @Test("may be one from the way of a search for another size")
  func onTheWay() {
    var search = SizeSearch(first: 0.1, smallest: 0.02, searches: 20)
    search.record(0.4)
    #expect(search.faithful == 0.4)
    #expect(search.next == 0.2)
    // Smaller than a size at which none was found.
    search.record(0.08)
    #expect(search.next == 0.04)
    search.record(1)
    #expect(search.faithful == 0.08)
    #expect(abs((search.next ?? 0) - 0.0566) < 1e-4)
  }

  @Test("of ResNet-20 has a small part of its units, and belongs to a curve of all searches")
  func realNetwork() async throws {
    let network = try ChainNetwork(model: ShippedNetwork.resnet20.model(), batch: 20)
    let region = try ShippedNetwork.resnet20.region(Array(0..<20))
    var settings = ChainSettings()
    settings.steps = 200
    (settings.ends, settings.restarts, settings.searches, settings.firstFraction) = (1, 0, 3, 0.3)
    let extractor = ChainExtractor(network: network, backend: CPUBackend(), settings: settings)
    let result = try await extractor.chains(for: [region], request: .agreement(fraction: 0.9))[0]
    #expect(result.isMet)
    #expect(result.point.binary.agreement >= 0.9)
    #expect(result.point.keptFraction <= 0.3)
    #expect(result.work.searches == 3)
    #expect(result.work.steps == 600)
    #expect(
      !result.curve.points.contains {
        $0.binary.agreement >= 0.9 && $0.selection.keptCount < result.point.selection.keptCount
      })
    #expect(result.curve.points.count { $0.step == nil } == 1)
    Measured.report("smallest faithful chain of ResNet-20: \(result.point.keptFraction), \(result.point.binary)")
  }
}
