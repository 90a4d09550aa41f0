import CatenaGraph
import CatenaTensors
import Testing

/// Laws of the index arithmetic, on random maps.
@Suite struct ChannelMapTests {
  private static func map(_ random: inout SeededGenerator, extent: Int, of sourceExtent: Int) -> ChannelMap {
    ChannelMap(
      sources: (0..<extent).map { _ in
        let source = Int(random.uniform() * Double(sourceExtent + 1))
        return source == sourceExtent ? nil : source
      }, sourceExtent: sourceExtent)
  }

  private static func subset(_ random: inout SeededGenerator, of extent: Int) -> [Int] {
    (0..<extent).filter { _ in random.uniform() < 0.6 }
  }

  @Test(arguments: 0..<50) func compositionIsAssociativeWithIdentity(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed))
    let a = Self.map(&random, extent: 6, of: 4)
    let b = Self.map(&random, extent: 7, of: 6)
    let c = Self.map(&random, extent: 5, of: 7)
    #expect(a.followed(by: b).followed(by: c) == a.followed(by: b.followed(by: c)))
    #expect(ChannelMap.identity(4).followed(by: a) == a)
    #expect(a.followed(by: .identity(6)) == a)
  }

  @Test(arguments: 0..<50) func inverseUndoesASelection(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let kept = Self.subset(&random, of: 9).shuffled(using: &random)
    let selection = ChannelMap.selection(kept, of: 9)
    let inverse = try #require(selection.inverse)
    #expect(selection.followed(by: inverse).sources == (0..<9).map { kept.contains($0) ? $0 : nil })
    #expect(inverse.followed(by: selection) == .identity(kept.count))
    #expect(inverse.inverse == selection)
  }

  @Test func aRepeatedSourceHasNoInverse() {
    #expect(ChannelMap.selection([2, 0, 2], of: 3).inverse == nil)
  }

  @Test(arguments: 0..<50) func windowsAddTheirOffsets(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed))
    let (first, second) = (Int(random.uniform() * 4), Int(random.uniform() * 4))
    let outer = ChannelMap.window(8, offset: first, of: 12)
    let inner = ChannelMap.window(4, offset: second, of: 8)
    #expect(outer.followed(by: inner) == .window(4, offset: first + second, of: 12))
  }

  @Test(arguments: 0..<50) func fibersAreThePreimages(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed))
    let map = Self.map(&random, extent: 8, of: 5)
    for (source, fiber) in map.fibers.enumerated() {
      #expect(fiber == (0..<8).filter { map.sources[$0] == source })
    }
  }

  /// Renumbering after a cut commutes with looking up the kept sources.
  @Test(arguments: 0..<50) func restrictionRenumbers(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed))
    let map = Self.map(&random, extent: 8, of: 6)
    let (kept, sources) = (Self.subset(&random, of: 8), Self.subset(&random, of: 6))
    let restricted = map.restricted(to: kept, sources: sources)
    for (position, index) in kept.enumerated() {
      let source = map.sources[index].flatMap { sources.contains($0) ? $0 : nil }
      #expect(restricted.sources[position].map { sources[$0] } == source)
    }
  }
}
