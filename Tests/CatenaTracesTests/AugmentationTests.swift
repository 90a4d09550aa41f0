import CatenaFormats
import CatenaTensors
import CatenaTraces
import TestSupport
import Testing

@Suite("Augmentations")
struct AugmentationTests {
  /// A picture of every kind of colour: smooth, noisy, grey and saturated parts.
  static let picture: Image = {
    var generator = SeededGenerator(seed: 5)
    let (width, height) = (61, 47)
    var pixels: [UInt8] = []
    for y in 0..<height {
      for x in 0..<width {
        let noise = UInt8(generator.next() >> 56)
        switch (x / 16 + y / 16) % 4 {
        case 0: pixels += [UInt8(x * 4), UInt8(y * 5), UInt8(255 - x * 4)]
        case 1: pixels += [noise, UInt8(generator.next() >> 56), UInt8(generator.next() >> 56)]
        case 2: pixels += [noise, noise, noise]
        default: pixels += [255, 0, noise]
        }
      }
    }
    return Image(width: width, height: height, pixels: pixels)
  }()

  @Test(
    "are Pillow's, bit for bit",
    .enabled(if: Peer.availability.isPresent, "\(Peer.availability.reason)"))
  func likePillow() async throws {
    let (folder, picture, augmentation) = (try TemporaryFolder(), Self.picture, Augmentation())
    let levels = picture.pixels.map(Float.init)
    let source = try folder.write(Tensor(levels, shape: [picture.height, picture.width, 3]), "picture")
    let draws = (0..<24).map { augmentation.draw($0, seed: 9, width: picture.width, height: picture.height) }
    let numbers = draws.flatMap { draw -> [String] in
      let crop = [draw.left, draw.top, draw.width, draw.height].map(String.init)
      return crop + [draw.isFlipped ? "1" : "0", "\(draw.brightness)", "\(draw.hue)", draw.turnsHueFirst ? "1" : "0"]
    }
    try await Peer.run("augmented_view.py", [folder.file("views.npy"), source, "32"] + numbers)
    let expected = try folder.read("views").floats
    let views = draws.map { augmentation.view(of: picture, $0, width: 32, height: 32) }
    let found = views.flatMap { $0.pixels.map(Float.init) }
    #expect(found.count == expected.count)
    #expect(zip(found, expected).filter { $0 != $1 }.isEmpty)
  }

  @Test("draw what torchvision draws: areas, proportions, places and factors in their ranges, flips in half")
  func draws() {
    let augmentation = Augmentation()
    let draws = (0..<2000).map { augmentation.draw($0, seed: 1, width: 300, height: 200) }
    for draw in draws {
      #expect(draw.left >= 0 && draw.top >= 0 && draw.left + draw.width <= 300 && draw.top + draw.height <= 200)
      let area = Double(draw.width * draw.height) / 60000
      #expect(area > 0.195 && area <= 1.01)
      let proportion = Double(draw.width) / Double(draw.height)
      #expect(proportion > 0.74 && proportion < 1.35)
      #expect((0.5...1.5).contains(draw.brightness) && (-0.3...0.3).contains(draw.hue))
    }
    #expect(abs(draws.filter(\.isFlipped).count - 1000) < 120)
    #expect(abs(draws.filter(\.turnsHueFirst).count - 1000) < 120)
    #expect(Set(draws).count == draws.count)
  }

  @Test("take the centre of a picture that no crop fits")
  func narrow() {
    let draw = Augmentation().draw(0, seed: 0, width: 400, height: 20)
    #expect((draw.width, draw.height, draw.left, draw.top) == (27, 20, 186, 0))
  }

  @Test("are the same for every number of threads and in every part")
  func threads() async throws {
    let preprocessing = Preprocessing(mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.4])
    func inputs(_ range: Range<Int>, _ threads: Int) async throws -> Tensor {
      try await Augmentation().inputs(
        of: Self.picture, range, seed: 3, width: 20, height: 16, preprocessing: preprocessing, threads: threads)
    }
    let all = try await inputs(0..<7, 1)
    #expect(all.shape == [7, 3, 16, 20])
    #expect(all.isBitIdentical(to: try await inputs(0..<7, 3)))
    #expect(Array(all.floats.suffix(2 * 3 * 16 * 20)) == (try await inputs(5..<7, 2)).floats)
  }
}
