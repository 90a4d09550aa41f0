import CatenaFormats
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
