import CatenaFormats
import CatenaTensors
import TestSupport
import Testing

@Suite("Preprocessing")
struct PreprocessingTests {
  /// The preprocessing of the golden jobs.
  private static let jobs: [String: Preprocessing] = [
    "short_side": Preprocessing(
      steps: [.resizeShortSide(size: 37, .bilinear), .centreCrop(size: 32)], mean: [0.485, 0.456, 0.406],
      std: [0.229, 0.224, 0.225]),
    "bgr": Preprocessing(
      steps: [.resize(width: 72, height: 72, .bicubic), .centreCrop(size: 31)], channels: .bgr, divisor: 1,
      mean: [104, 117, 123]),
    "crop_first": Preprocessing(
      steps: [.centreCrop(size: 29), .resize(width: 32, height: 32, .bilinear)], divisor: 1, mean: [128, 128, 128],
      std: [128, 128, 128]),
  ]

  @Test("Whole descriptions give Pillow's and numpy's numbers, bit for bit", arguments: Goldens.manifest.preprocessed)
  func pillow(golden: Goldens.Manifest.Preprocessed) throws {
    let job = try #require(Self.jobs[golden.job])
    let tensor = try job.tensor(of: [Image.read(Goldens.image(golden.file))]) { _ in golden.file }
    #expect(tensor.shape.dimensions == [1] + golden.shape)
    #expect(tensor.withUnsafeBytes { Array($0) } == (try Goldens.bytes(Goldens.image(golden.result))))
  }

  @Test("Several images stand one after the other, each as alone")
  func batch() throws {
    let images = try (0..<3).map { try Image.read(Goldens.image("preprocess\($0).png")) }
    let job = try #require(Self.jobs["short_side"])
    let together = try job.tensor(of: images) { "\($0)" }.floats
    let alone = try images.flatMap { try job.tensor(of: [$0]) { "\($0)" }.floats }
    #expect(together == alone)
  }

  @Test("A description survives JSON", arguments: Preprocessing.presets.map(\.name))
  func roundTrip(name: String) throws {
    let preset = try Preprocessing.named(name)
    #expect(try Preprocessing.decode(Array(preset.json.utf8), path: "x") == preset)
  }

  @Test("A file is read like a preset, and missing members have their defaults")
  func file() throws {
    let folder = try TemporaryFolder()
    let text = #"{"steps":[{"resize":[8,6],"resampling":"lanczos"},{"centreCropFraction":0.5}],"channels":"BGR"}"#
    let read = try Preprocessing.named(folder.write(text.utf8, to: "p.json"))
    #expect(
      read == Preprocessing(steps: [.resize(width: 8, height: 6, .lanczos), .centreCropFraction(0.5)], channels: .bgr))
  }

  @Test(
    "A wrong description is an error that names the member",
    arguments: [
      (#"{"men":[0,0,0]}"#, "men"), (#"{"mean":[0,0]}"#, "mean"), (#"{"std":[1,0,1]}"#, "std"),
      (#"{"std":[1,1e-60,1]}"#, "std"), (#"{"divisor":0}"#, "divisor"), (#"{"divisor":"a"}"#, "divisor"),
      (#"{"channels":"GBR"}"#, "channels"), (#"{"steps":[{"centreCrop":0}]}"#, "size"),
      (#"{"steps":[{"centreCrop":224,"resize":[2,2]}]}"#, "step"), (#"{"steps":[{}]}"#, "step"),
      (#"{"steps":[{"resize":[2]}]}"#, "width"),
      (#"{"steps":[{"resizeShortSide":2,"resampling":"cubic"}]}"#, "resampling"),
      (#"{"steps":[{"centreCrop":2,"resampling":"box"}]}"#, "crop"),
      (#"{"steps":[{"centreCropFraction":1.5}]}"#, "fraction"),
      (#"{"steps":[{"resize":[100000,100000]}]}"#, "size"), (#"{"mean":[0,0,0],"mean":[1,1,1]}"#, "mean"),
      ("[", "JSON"),
      ("", "JSON"), ("[]", "description"),
    ])
  func wrong(text: String, word: String) {
    let error = fileError { () throws(FileError) in try Preprocessing.decode(Array(text.utf8), path: "p.json") }
    #expect(error?.kind == .malformed)
    #expect(error?.reason.contains(word) == true, "\(String(describing: error))")
  }

  @Test("An unknown name lists the known ones")
  func unknown() {
    let error = fileError { () throws(FileError) in try Preprocessing.named("imagnet") }
    #expect(error?.kind == .badArgument)
    for preset in Preprocessing.presets { #expect(error?.reason.contains(preset.name) == true) }
    #expect(fileError { () throws(FileError) in try Preprocessing.named("none.json") }?.kind == .missing)
  }

  @Test("An image that is too small for the crop is an error with both sizes")
  func tooSmall() {
    let image = Image(width: 20, height: 40, pixels: [UInt8](repeating: 0, count: 2400))
    let job = Preprocessing(steps: [.centreCrop(size: 24)])
    let error = fileError { () throws(FileError) in try job.tensor(of: [image]) { _ in "a.png" } }
    #expect(
      error
        == FileError(
          .unsuitable, "a.png", "is 20 x 40 pixels where a centre of 24 x 24 is to be cut out"))
  }

  @Test("Different sizes are an error that names both files")
  func differentSizes() {
    let images = [3, 4].map { Image(width: $0, height: 2, pixels: [UInt8](repeating: 0, count: $0 * 6)) }
    let error = fileError { () throws(FileError) in try Preprocessing().tensor(of: images) { ["a.png", "b.png"][$0] } }
    #expect(error?.kind == .unsuitable)
    #expect(error?.path == "b.png")
    #expect(error?.reason.contains("a.png is 3 x 2") == true)
  }

  @Test("An absurdly long result is an error, not an allocation")
  func absurd() {
    let image = Image(width: 1, height: 100_000, pixels: [UInt8](repeating: 0, count: 300_000))
    let job = Preprocessing(steps: [.resizeShortSide(size: 16384, .box)])
    #expect(fileError { () throws(FileError) in try job.resized(image, name: "a") }?.kind == .tooLarge)
  }

  @Test("the centre of 87.5 % of 299 pixels is 262 pixels")
  func fraction() throws {
    let image = Image(width: 299, height: 1, pixels: (0..<299).flatMap { [UInt8($0 / 2), 0, 0] })
    let result = try Preprocessing(steps: [.centreCropFraction(0.875)]).resized(image, name: "a")
    #expect(result.width == 262)
    #expect(result.pixels[0] == 9)
  }
}
