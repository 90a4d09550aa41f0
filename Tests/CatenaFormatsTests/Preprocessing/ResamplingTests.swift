import CatenaFormats
import Foundation
import TestSupport
import Testing

@Suite("Resampling")
struct ResamplingTests {
  @Test("Every filter gives Pillow's pixels, up and down", arguments: Goldens.manifest.resized)
  func pillow(golden: Goldens.Manifest.Resized) throws {
    let source = try Image.read(Goldens.image("source.png"))
    let result = source.resized(width: golden.width, height: golden.height, resampling: golden.resampling)
    #expect(result.width == golden.width && result.height == golden.height)
    #expect(result.pixels == (try Goldens.bytes(Goldens.image(golden.file))))
  }

  private struct Case: Decodable {
    let source: String
    let file: String
    let resampling: Resampling
    let width: Int
    let height: Int
  }

  /// The order of the passes alone moves values by up to 40 levels, so that equality is what tells it.
  @Test(
    "Every filter gives Pillow's pixels for 200 pairs of sizes, whatever the order of its passes",
    .enabled(if: Peer.availability.isPresent, "\(Peer.availability.reason)"))
  func anySize() async throws {
    let folder = try TemporaryFolder()
    try await Peer.run("resample.py", [folder.path, "200"])
    let cases = try JSONDecoder().decode([Case].self, from: Data(folder.bytes(of: "cases.json")))
    #expect(cases.count == 1000)
    for item in cases {
      let source = try Image.read(folder.file(item.source))
      let result = source.resized(width: item.width, height: item.height, resampling: item.resampling)
      let isEqual = result.pixels == (try folder.bytes(of: item.file))
      #expect(isEqual, "\(item.resampling) \(source.width)x\(source.height) -> \(item.width)x\(item.height)")
    }
  }

  @Test("The same size is the same image", arguments: Resampling.allCases)
  func identity(resampling: Resampling) throws {
    let source = try Image.read(Goldens.image("source.png"))
    #expect(source.resized(width: source.width, height: source.height, resampling: resampling) == source)
  }

  @Test("A constant image stays constant", arguments: Resampling.allCases)
  func constant(resampling: Resampling) {
    let source = Image(width: 9, height: 7, pixels: [UInt8](repeating: 201, count: 189))
    #expect(source.resized(width: 31, height: 3, resampling: resampling).pixels.allSatisfy { $0 == 201 })
  }
}
