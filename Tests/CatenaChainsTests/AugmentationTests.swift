import CatenaChains
import CatenaTensors
import Testing

@Suite("Variants of a region's samples")
struct AugmentationTests {
  /// Images whose elements say where they are: 1000 sample + 300 channel + 20 row + column.
  private struct Images {
    let channels = 2
    let height = 9
    let width = 17
    let channelsLast: Bool

    func region() throws -> Region {
      var elements = [Float](repeating: 0, count: 2 * count)
      for sample in 0..<2 {
        for (channel, row, column) in positions {
          elements[sample * count + index(channel, row, column)] = value(sample, channel, row, column)
        }
      }
      let shape: Shape = channelsLast ? [2, height, width, channels] : [2, channels, height, width]
      return try Region(name: "positions", samples: Tensor(elements, shape: shape), sampleNames: ["a", "b"])
    }

    var count: Int { channels * height * width }

    var positions: [(Int, Int, Int)] {
      (0..<channels).flatMap { channel in
        (0..<height).flatMap { row in (0..<width).map { (channel, row, $0) } }
      }
    }

    func index(_ channel: Int, _ row: Int, _ column: Int) -> Int {
      channelsLast ? (row * width + column) * channels + channel : (channel * height + row) * width + column
    }

    func value(_ sample: Int, _ channel: Int, _ row: Int, _ column: Int) -> Float {
      Float(1000 * sample + 300 * channel + 20 * row + column)
    }

    /// Sample `sample` mirrored and shifted, its edge repeated.
    func moved(_ sample: Int, isMirrored: Bool, rows: Int, columns: Int) -> [Float] {
      var result = [Float](repeating: 0, count: count)
      for (channel, row, column) in positions {
        let source = isMirrored ? width - 1 - column : column
        let from = (min(max(row - rows, 0), height - 1), min(max(source - columns, 0), width - 1))
        result[index(channel, row, column)] = value(sample, channel, from.0, from.1)
      }
      return result
    }

    /// Everything that a sample may become without being blended: shifts of up to an eighth, rounded down.
    func all(of sample: Int) -> [[Float]] {
      [false, true].flatMap { mirrored in
        (-1...1).flatMap { rows in
          (-2...2).map { moved(sample, isMirrored: mirrored, rows: rows, columns: $0) }
        }
      }
    }
  }

  @Test("are mirrored and shifted by up to an eighth, channels first or last", arguments: [false, true])
  func movements(channelsLast: Bool) throws {
    let images = Images(channelsLast: channelsLast)
    var augmentation = try #require(RegionAugmentation(of: images.region(), blend: 0, seed: 1))
    let possible = (0..<2).map { images.all(of: $0) }
    var found: Set<Int> = []
    for _ in 0..<200 {
      let variants = augmentation.variants()
      for sample in 0..<2 {
        let own = Array(variants[sample * images.count..<(sample + 1) * images.count])
        let index = try #require(possible[sample].firstIndex(of: own))
        found.insert(index)
      }
    }
    // 400 draws from 30: none is left out.
    #expect(found.count == 30)
  }

  @Test("are blended with another sample, the sample itself the larger part")
  func blends() throws {
    let images = Images(channelsLast: false)
    var augmentation = try #require(RegionAugmentation(of: images.region(), blend: 1, seed: 2))
    var parts: [Float] = []
    for _ in 0..<100 {
      let variants = augmentation.variants()
      // Within a channel samples differ by 1000 and positions by less than 200: the mean says how much is of which.
      let mean = variants.prefix(images.width * images.height).reduce(0, +) / Float(images.width * images.height)
      parts.append(1 - (mean - 88) / 1000)
    }
    // Shifts move the mean by at most 22; half of the blends are with a variant of the sample itself.
    #expect(parts.allSatisfy { $0 > 0.47 && $0 < 1.03 })
    #expect(parts.contains { $0 < 0.6 } && parts.contains { $0 > 0.7 && $0 < 0.9 })
  }

  @Test("follow from the seed")
  func seeds() throws {
    let region = try Images(channelsLast: false).region()
    func variants(seed: UInt64) throws -> [[Float]] {
      var augmentation = try #require(RegionAugmentation(of: region, blend: 0.5, seed: seed))
      return [augmentation.variants(), augmentation.variants()]
    }
    let first = try variants(seed: 3)
    #expect(try variants(seed: 3) == first)
    #expect(try variants(seed: 4) != first)
    #expect(first[0] != first[1])
  }

  @Test("of what is no image are blends alone")
  func vectors() throws {
    let region = try Region(
      name: "vectors", samples: Tensor([Float]([1, 2, 3, 5, 7, 11]), shape: [2, 3]), sampleNames: ["a", "b"])
    var unblended = try #require(RegionAugmentation(of: region, blend: 0, seed: 5))
    #expect(unblended.variants() == region.samples.floats)
  }

  @Test("of samples that are not in f32 there are none")
  func otherTypes() throws {
    let region = try Region(
      name: "integers", samples: Tensor(zeros: [2, 3], elementType: .int64), sampleNames: ["a", "b"])
    let augmentation = RegionAugmentation(of: region, blend: 0, seed: 5)
    #expect(augmentation.map { _ in true } == nil)
  }
}
