import CatenaFormats
import CatenaTensors
import TestSupport
import Testing

@Suite("Safetensors")
struct SafetensorsTests {
  /// A file of this header and `count` data bytes 0, 1, 2...
  private func file(_ header: String, data count: Int) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) } + Array(header.utf8)
      + (0..<count).map { UInt8(truncatingIfNeeded: $0) }
  }

  private func decode(_ bytes: [UInt8]) throws(FileError) -> Safetensors {
    try Safetensors.decode(bytes, path: "x.safetensors")
  }

  @Test("What is written is read back, bit for bit, and is the same file each time")
  func roundTrip() throws {
    let folder = try TemporaryFolder()
    let tensors = ElementType.allCases.enumerated().map { index, type in
      let count = type == .bool ? 2 : 6
      return NamedTensor(
        name: "t\"\\\u{1}é\(index)",
        tensor: Tensor(doubles: (0..<count).map { Double($0 % 2 + index) }, shape: [count], elementType: type))
    }
    let written = Safetensors(
      tensors: tensors + [NamedTensor(name: "empty", tensor: Tensor(zeros: [2, 0]))],
      metadata: ["b": "line\nbreak", "a": "{}"])
    try written.write(to: folder.file("a.safetensors"))
    var shuffled = written
    shuffled.tensors.reverse()
    try shuffled.write(to: folder.file("b.safetensors"))
    #expect(try folder.bytes(of: "a.safetensors") == folder.bytes(of: "b.safetensors"))

    let read = try Safetensors.read(folder.file("a.safetensors"))
    #expect(read.metadata == written.metadata)
    #expect(read.tensors.count == written.tensors.count)
    for named in written.tensors {
      let tensor = try #require(read[named.name])
      #expect(tensor.isBitIdentical(to: named.tensor), "\(named.name)")
    }
  }

  @Test("The written bytes are the reference implementation's")
  func layout() throws {
    let folder = try TemporaryFolder()
    let content = Safetensors(
      tensors: [
        NamedTensor(name: "b", tensor: Tensor([UInt8](1...3), shape: [3])),
        NamedTensor(name: "a", tensor: Tensor([Float(1)], shape: [1])),
      ], metadata: ["k": "v"])
    try content.write(to: folder.file("x"))
    let header =
      #"{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"#
      + #""b":{"dtype":"U8","shape":[3],"data_offsets":[4,7]}}"#
    let padded = header + String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
    #expect(try folder.bytes(of: "x") == Array(file(padded, data: 0)) + [0, 0, 0x80, 0x3f, 1, 2, 3])
  }

  @Test("A right file")
  func right() throws {
    let content = try decode(
      file(
        #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[],"data_offsets":[2,3]}}  "#,
        data: 3))
    #expect(content.tensors.map(\.name) == ["a", "b"])
    #expect(content["a"]?.integers == [0, 1])
    #expect(content["b"]?.shape == .scalar)
    #expect(content["c"] == nil)
  }

  @Test(
    "A wrong file is an error",
    arguments: [
      ("hole", #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, 2, FileError.Kind.malformed),
      (
        "overlap",
        #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
        3, .malformed
      ),
      ("rest", #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 2, .malformed),
      ("size", #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, .malformed),
      ("order", #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}"#, 1, .malformed),
      ("cut", #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 3, .truncated),
      ("negative", #"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#, 1, .malformed),
      ("fraction", #"{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}"#, 1, .malformed),
      (
        "overflow", #"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#, 0, .tooLarge
      ),
      ("type", #"{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#, 1, .unsupported),
      ("boolean", #"{"a":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}}"#, 3, .malformed),
      ("field", #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":0}}"#, 1, .malformed),
      (
        "twice",
        #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
        2,
        .malformed
      ),
      ("twice inside", #"{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1, .malformed),
      ("metadata", #"{"__metadata__":{"a":1}}"#, 0, .malformed),
      ("syntax", #"{"a":}"#, 0, .malformed),
      ("start", #" {}"#, 0, .malformed),
      ("end", #"{} x"#, 0, .malformed),
      ("deep", String(repeating: #"{"a":"#, count: 10000), 0, .malformed),
      ("surrogate", #"{"\ud800":{}}"#, 0, .malformed),
    ] as [(String, String, Int, FileError.Kind)])
  func wrong(name: String, header: String, data: Int, kind: FileError.Kind) {
    let bytes = file(header, data: data)
    let error = fileError { () throws(FileError) in try decode(bytes) }
    #expect(error?.kind == kind, "\(name): \(String(describing: error))")
  }

  @Test("A header longer than the cap or the file is an error")
  func headerLength() {
    let huge: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0x80, 0x7b]
    #expect(fileError { () throws(FileError) in try decode(huge) }?.kind == .tooLarge)
    let cut: [UInt8] = [9, 0, 0, 0, 0, 0, 0, 0, 0x7b]
    #expect(fileError { () throws(FileError) in try decode(cut) }?.kind == .truncated)
    #expect(fileError { () throws(FileError) in try decode([1, 2]) }?.kind == .truncated)
  }
}
