import CatenaFormats
import CatenaTensors
import Foundation
import TestSupport
import Testing

@Suite("Samples from arguments")
struct SampleSourceTests {
  let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
    let record = { (label: UInt8) in [label] + [UInt8](repeating: label &* 20, count: 3072) }
    try folder.write((0..<10).flatMap { record(UInt8($0)) }, to: "r.bin")
    for (name, level) in [("b.png", 2), ("a.PNG", 1), ("c#1.png", 3)] {
      let image = Image(width: 2, height: 2, pixels: [UInt8](repeating: UInt8(level), count: 12))
      try folder.write(PNGEncoder.encode(image), to: name)
    }
    try folder.write("name\n".utf8, to: "labels.txt")
    let tensors: [(String, Tensor)] = [
      ("single", Tensor((0..<12).map(Float.init), shape: [3, 2, 2])),
      ("batch", Tensor((0..<24).map(Double.init), shape: [2, 3, 2, 2])),
      ("picture", Tensor([UInt8](0..<12), shape: [2, 2, 3])),
      ("pictures", Tensor([UInt8](0..<24), shape: [2, 2, 2, 3])),
      ("grey", Tensor([UInt8](0..<6), shape: [2, 3])),
      ("integers", Tensor([Int32](0..<12), shape: [3, 2, 2])),
      ("empty", Tensor(zeros: [0, 3, 2, 2])),
      ("nan", Tensor((0..<12).map { $0 == 7 ? Float.nan : 1 }, shape: [3, 2, 2])),
      ("infinite", Tensor((0..<12).map { $0 == 0 ? -Double.infinity : 1 }, shape: [3, 2, 2])),
    ]
    for (name, tensor) in tensors {
      try Safetensors(tensors: [NamedTensor(name: "x", tensor: tensor)]).write(to: folder.file("\(name).safetensors"))
    }
  }

  private func samples(_ names: String..., shape: Shape? = nil) throws(FileError) -> [Sample] {
    try SampleSource.samples(names.map(folder.file), inputShape: shape)
  }

  private func error(_ name: String, shape: Shape? = nil) -> FileError? {
    fileError { () throws(FileError) in try samples(name, shape: shape) }
  }

  @Test(
    "Numbers that are none are refused, with their place", arguments: [("nan", "element 7"), ("infinite", "element 0")])
  func notFinite(_ name: String, _ place: String) {
    let error = error("\(name).safetensors")
    #expect(error?.kind == .unsuitable && error?.description.contains(place) == true)
  }

  @Test("Files keep the order of the arguments")
  func files() throws {
    let found = try samples("b.png", "r.bin#3", "a.PNG")
    #expect(found.map(\.name) == ["b.png", "r.bin#3", "a.PNG"].map(folder.file))
    #expect(found.map(\.label) == [nil, 3, nil])
  }

  @Test("A folder's images come in the order of their names, and nothing else of it")
  func folderOfImages() throws {
    let found = try SampleSource.samples([folder.path])
    #expect(found.map(\.name) == ["a.PNG", "b.png", "c#1.png"].map(folder.file))
    let first = try #require(found.first)
    guard case .image(let image) = first.content else { throw CocoaError(.featureUnsupported) }
    #expect(image.pixels[0] == 1)
  }

  @Test(
    "Selections of records",
    arguments: [("", Array(0..<10)), ("#4", [4]), ("#7,2,2", [7, 2, 2]), ("#1-3,9", [1, 2, 3, 9]), ("#5-5", [5])])
  func selection(text: String, labels: [Int]) throws {
    #expect(try samples("r.bin\(text)").map(\.label) == labels)
  }

  @Test("A selection may be longer than a file's name")
  func longSelection() throws {
    let list = Array(repeating: "7", count: 3000)
    #expect(try samples("r.bin#\(list.joined(separator: ","))").map(\.label) == Array(repeating: 7, count: 3000))
  }

  @Test(
    "Wrong selections", arguments: ["", "x", "-1", "1-", "3-1", "10", "1,,2", "1-2-3", "+1", "99999999999999999999"])
  func wrongSelection(text: String) {
    #expect(error("r.bin#\(text)")?.kind == .badArgument)
  }

  @Test("A name with # is a file's name when there is such a file")
  func nameWithMark() throws {
    #expect(try samples("c#1.png").count == 1)
    #expect(error("b.png#1")?.kind == .badArgument)
    #expect(fileError { () throws(FileError) in try SampleSource.samples([folder.path + "#1"]) }?.kind == .badArgument)
  }

  @Test("Arrays of floating-point numbers are ready inputs")
  func tensors() throws {
    let found = try samples("single.safetensors", "batch.safetensors#x")
    #expect(
      found.map(\.name)
        == ["single.safetensors#x", "batch.safetensors#x[0]", "batch.safetensors#x[1]"].map(folder.file))
    let batch = try Preprocessing().tensor(of: found)
    #expect(batch.shape == [3, 3, 2, 2])
    #expect(batch.floats == (Array(0..<12) + Array(0..<24)).map(Float.init))
  }

  @Test("Arrays of bytes are pictures")
  func pictures() throws {
    let found = try samples("picture.safetensors", "pictures.safetensors")
    let batch = try Preprocessing(divisor: 1).tensor(of: found)
    #expect(batch.shape == [3, 3, 2, 2])
    #expect(batch.floats.prefix(12) == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11])
    #expect(batch.floats.suffix(4) == [14, 17, 20, 23])
    let grey = try Preprocessing(divisor: 1).tensor(of: samples("grey.safetensors"))
    #expect(grey.shape == [1, 3, 2, 3])
    #expect(grey.floats == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5])
  }

  @Test("Numpy's files work the same way, with selections of samples")
  func numpy() throws {
    #expect(try SampleSource.samples([Goldens.tensor("c_f4.npy")]).count == 1)
    #expect(
      try SampleSource.samples([Goldens.tensor("c_f4.npy") + "#1"], inputShape: [3, 4]).map(\.name)
        == [Goldens.tensor("c_f4.npy") + "#1"])
    #expect(try SampleSource.samples([Goldens.tensor("stored.npz") + "#first"]).count == 1)
    let error = fileError { () throws(FileError) in try SampleSource.samples([Goldens.tensor("stored.npz") + "#third"])
    }
    #expect(error?.kind == .badArgument)
    #expect(error?.reason.contains("first, second") == true)
  }

  @Test("The network's shape decides when it is known")
  func inputShape() throws {
    #expect(try samples("batch.safetensors", shape: [3, 2, 2]).count == 2)
    #expect(try samples("batch.safetensors", shape: [2, 3, 2, 2]).count == 1)
    let error = error("batch.safetensors", shape: [3, 4, 4])
    #expect(error?.kind == .unsuitable)
    #expect(error?.reason.contains("3x4x4") == true)
    #expect(error?.reason.contains("2x3x2x2") == true)
  }

  @Test("What is no use is named")
  func wrongKinds() throws {
    #expect(error("none.png")?.kind == .missing)
    #expect(error("none.bin#3")?.kind == .missing)
    #expect(error("labels.txt")?.kind == .unsuitable)
    #expect(error("integers.safetensors")?.reason.contains("int32") == true)
    #expect(error("empty.safetensors")?.kind == .unsuitable)
    #expect(fileError { () throws(FileError) in try SampleSource.samples([]) }?.kind == .badArgument)
    try FileManager.default.createDirectory(atPath: folder.file("sub"), withIntermediateDirectories: false)
    #expect(error("sub")?.reason.contains("it is empty") == true)
    try folder.write([1], to: "sub/x.txt")
    #expect(error("sub")?.reason.contains("x.txt") == true)
  }

  @Test("Samples of different shapes are an error that names both")
  func differentShapes() throws {
    let found = try samples("b.png", "r.bin#1")
    let error = fileError { () throws(FileError) in try Preprocessing().tensor(of: found) }
    #expect(error?.path == folder.file("r.bin#1"))
    #expect(error?.reason.contains("b.png") == true)
  }

  @Test("Class names, one per line")
  func labels() throws {
    #expect(try Labels.read(folder.write("cat\r\n\r\nsea lion \n\n".utf8, to: "l")) == ["cat", "", "sea lion"])
    let empty = try folder.write([10, 10], to: "e")
    #expect(fileError { () throws(FileError) in try Labels.read(empty) }?.kind == .unsuitable)
    let binary = try folder.write([0xff, 0xfe, 0x41], to: "b")
    #expect(fileError { () throws(FileError) in try Labels.read(binary) }?.kind == .malformed)
  }
}
