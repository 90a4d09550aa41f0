import CatenaChains
import Testing

@Suite("The sizes at which the smallest faithful chain is looked for")
struct SizeSearchTests {
  /// The sizes tried where chains are faithful from `least` on.
  private func tried(least: Double, first: Double = 0.1, smallest: Double = 0.02, ratio: Double = 1.5) -> [Double] {
    var search = SizeSearch(first: first, smallest: smallest, ratio: ratio)
    var sizes: [Double] = []
    while let size = search.next {
      sizes.append(size)
      search.record(isFaithful: size >= least)
    }
    #expect(sizes.count <= 1 + SizeSearch.most(first: first, smallest: smallest, ratio: ratio))
    #expect(search.faithful == sizes.filter { $0 >= least }.min() ?? 1)
    return sizes
  }

  @Test("come within a tenth of it from both sides", arguments: [0.021, 0.05, 0.09, 0.11, 0.3, 0.8, 0.95])
  func bracket(least: Double) throws {
    let sizes = tried(least: least)
    let answer = sizes.filter { $0 >= least }.min() ?? 1
    #expect(answer <= 1.1 * least)
    #expect(sizes.allSatisfy { $0 >= 0.02 && $0 < 1 })
    // Neighbours are close enough for one to begin with the units of the other.
    for (one, other) in zip(sizes, sizes.dropFirst()) { #expect(max(one / other, other / one) <= 1.5001) }
  }

  @Test("are not below the smallest one")
  func limits() {
    let sizes = tried(least: 0)
    #expect(sizes.first == 0.1)
    #expect(sizes.last == 0.02)
    #expect(tried(least: 0, smallest: 0.2) == [0.2])
  }

  @Test("end where nothing but the network itself is faithful")
  func nothing() {
    let sizes = tried(least: 1.5)
    #expect(sizes.max() ?? 0 < 1)
    #expect((sizes.max() ?? 0) * 1.1 >= 1)
  }
}
