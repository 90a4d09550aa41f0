import CatenaFormats
import CatenaGraph
import CatenaTensors
import Foundation
import TestSupport
import Testing

@Suite("Hostile ONNX files")
struct ONNXHostileTests {
  /// Two nodes that the changes below break.
  static func small() -> ModelBuilder {
    var builder = ModelBuilder(opset: 13)
    builder.input("x", [-1, 4])
    builder.output("y", [-1, 2])
    builder.constant("w", randomTensor([4, 2], seed: 1))
    builder.node("MatMul", ["x", "w"], ["h"])
    builder.node("Relu", ["h"], ["y"])
    return builder
  }

  static let breakages: [(name: String, message: String, change: @Sendable (inout ModelBuilder) -> Void)] = [
    (
      "cycle", "wait for each other in a cycle: node 0 'h' (MatMul), node 1 'y' (Relu)",
      { $0.proto.graph.node[0].input[0] = "y" }
    ),
    ("self cycle", "cycle", { $0.proto.graph.node[0].input[0] = "h" }),
    (
      "missing value", "node 1 'y' (Relu) reads 'nowhere', which nothing makes",
      { $0.proto.graph.node[1].input = ["nowhere"] }
    ),
    ("missing output", "nothing makes the network's output 'z'", { $0.proto.graph.output[0].name = "z" }),
    ("value made twice", "'h' is made twice", { $0.proto.graph.node[1].output = ["h", "y"] }),
    ("initialiser made again", "'w' is made twice", { $0.proto.graph.node[0].output = ["w"] }),
    ("two initialisers", "two initialisers are called 'w'", { $0.constant("w", randomTensor([4, 2], seed: 2)) }),
    ("two inputs", "two inputs are called 'x'", { $0.input("x", [4]) }),
    ("no graph", "it has no graph", { $0.proto.clearGraph() }),
    (
      "short data", "tensor 'w': 28 bytes are stored; float32 4x2 needs 32",
      { $0.proto.graph.initializer[0].rawData.removeLast(4) }
    ),
    ("negative extent", "tensor 'w': the extent -4 is negative", { $0.proto.graph.initializer[0].dims[0] = -4 }),
    (
      "overflow", "tensor 'w': the extent 9223372036854775807 is larger",
      { $0.proto.graph.initializer[0].dims = [.max, .max] }
    ),
    (
      "overflowing product", "more than 1099511627776 elements",
      { $0.proto.graph.initializer[0].dims = [1 << 30, 1 << 30, 1 << 30] }
    ),
    (
      "empty overflow", "more than 1099511627776 elements",
      { $0.proto.graph.initializer[0].dims = [0, 1 << 30, 1 << 30, 1 << 30] }
    ),
    (
      "claimed size", "32 bytes are stored; float32 100000x100000 needs 40000000000",
      { $0.proto.graph.initializer[0].dims = [100_000, 100_000] }
    ),
    (
      "wrong rank", "node 0 'h' (MatMul, opset 13): the inner extents 4 and 2 differ",
      { $0.proto.graph.initializer[0].dims = [2, 4] }
    ),
    (
      "absurd input", "input 'x': the extent 9223372036854775807 is larger",
      { $0.proto.graph.input[0].type.tensorType.shape.dim[1].dimValue = .max }
    ),
    (
      "unknown shape", "does not say the shape of the input 'x'",
      { $0.proto.graph.input[0].type.tensorType.clearShape() }
    ),
    (
      "open extent", "the extent 'width' (axis 1) of the input 'x' is open",
      { $0.proto.graph.input[0].type.tensorType.shape.dim[1].dimParam = "width" }
    ),
    ("new operator set", "uses operator set 23; up to 22", { $0.proto.opsetImport[0].version = 23 }),
    ("old operator set", "supported in the operator sets 7 to 22 only", { $0.proto.opsetImport[0].version = 6 }),
    (
      "unknown operators", "2 node(s) of the ONNX model are not supported:\n  node 0 'h' (Bad, opset 13)",
      { builder in
        builder.proto.graph.node[0].opType = "Bad"
        builder.proto.graph.node[1].domain = "elsewhere"
      }
    ),
    (
      "wrong attribute", "the attribute 'axis' is not an integer",
      { builder in
        builder.proto.graph.node[1].opType = "Softmax"
        builder.proto.graph.node[1].attribute = [.float("axis", 1)]
      }
    ),
    (
      "absurd axis", "axis -9223372036854775808 is out of range",
      { builder in
        builder.proto.graph.node[1].opType = "Softmax"
        builder.proto.graph.node[1].attribute = [.int("axis", .min)]
      }
    ),
    (
      "absurd target", "is larger than",
      { builder in
        builder.proto.graph.node[1].opType = "Reshape"
        builder.proto.graph.node[1].input = ["h", "target"]
        builder.integers("target", [.max, -1])
      }
    ),
    (
      "unknown parameter", "input 1 (shape, 'x') is computed from the network's inputs",
      { builder in
        builder.proto.graph.node[1].opType = "Reshape"
        builder.proto.graph.node[1].input = ["h", "x"]
      }
    ),
  ]

  @Test("is refused with a clear message", arguments: breakages.indices)
  func refused(index: Int) throws {
    let breakage = Self.breakages[index]
    var builder = Self.small()
    breakage.change(&builder)
    let error = try #require(throws: ONNXError.self) { try builder.model().graph(batch: 3) }
    #expect(error.description.contains(breakage.message), "\(breakage.name): \(error)")
  }

  @Test("unsorted nodes are sorted, sorted ones stay")
  func unsorted() throws {
    var builder = Self.small()
    builder.proto.graph.node.reverse()
    let graph = try builder.model().graph(batch: 3)
    #expect(graph.nodes.map(\.source) == [1, 0])
    try graph.checkInvariants()
  }

  @Test("every prefix of a file is refused or harmless")
  func truncated() throws {
    let bytes: [UInt8] = try Self.small().proto.serializedBytes()
    var refused = 0
    for count in 0..<bytes.count {
      do throws(ONNXError) { _ = try ONNXModel(data: Array(bytes[..<count])).graph(batch: 1) } catch { refused += 1 }
    }
    #expect(refused > bytes.count / 2)
  }

  @Test("tensors outside the model's folder are refused")
  func externalData() throws {
    let folder = FileManager.default.temporaryDirectory.appending(
      path: "onnx-external-\(UInt64.random(in: 0 ... .max))")
    let inner = folder.appending(path: "model")
    try FileManager.default.createDirectory(at: inner, withIntermediateDirectories: true)
    defer { do { try FileManager.default.removeItem(at: folder) } catch { Issue.record(error) } }
    let tensor = randomTensor([4, 2], seed: 1)
    let padded = Data(repeating: 7, count: 16) + tensor.withUnsafeBytes { Data($0) }
    try padded.write(to: folder.appending(path: "weights.bin"))
    try padded.write(to: inner.appending(path: "weights.bin"))
    try FileManager.default.createSymbolicLink(
      at: inner.appending(path: "link.bin"), withDestinationURL: folder.appending(path: "weights.bin"))
    func read(_ entries: [String: String]) throws -> ONNXModel {
      var builder = Self.small()
      builder.proto.graph.initializer[0].clearRawData()
      builder.proto.graph.initializer[0].dataLocation = .external
      builder.proto.graph.initializer[0].externalData = entries.sorted(by: { $0.key < $1.key }).map { key, value in
        var entry = Onnx_StringStringEntryProto()
        entry.key = key
        entry.value = value
        return entry
      }
      let path = inner.appending(path: "model.onnx")
      try Data(builder.proto.serializedBytes() as [UInt8]).write(to: path)
      return try ONNXModel(contentsOf: path.path)
    }
    let model = try read(["location": "weights.bin", "offset": "16", "length": "32"])
    #expect(model.initializers["w"]?.isBitIdentical(to: tensor) == true)
    // A network is another one with other weights, wherever they lie.
    try (padded.dropLast() + [padded.last! ^ 1]).write(to: inner.appending(path: "weights.bin"))
    #expect(try read(["location": "weights.bin", "offset": "16", "length": "32"]).sha256 != model.sha256)
    try padded.write(to: inner.appending(path: "weights.bin"))
    #expect(try read(["location": "weights.bin", "offset": "16", "length": "32"]).sha256 == model.sha256)
    // What is written has the tensor inside.
    let written = try ONNXModel(data: model.serialized())
    #expect(written.initializers["w"]?.isBitIdentical(to: tensor) == true)
    let refused: [([String: String], String)] = [
      (["location": "../weights.bin", "offset": "16"], "lies outside the model's folder"),
      (["location": folder.appending(path: "weights.bin").path], "lies outside the model's folder"),
      (["location": "link.bin", "offset": "16"], "lies outside the model's folder"),
      (["location": "weights.bin", "offset": "20"], "behind the file's end"),
      (["location": "weights.bin", "offset": "9223372036854775807"], "behind the file's end"),
      (["location": "weights.bin", "offset": "-1"], "no count of bytes"),
      (["location": "weights.bin", "length": "31"], "has 31 bytes; its shape and element type need 32"),
      (["location": "none.bin"], "cannot be found"),
      (["offset": "0"], "has no location"),
    ]
    for (entries, message) in refused {
      #expect { try read(entries) } throws: { "\($0)".contains(message) }
    }
  }

  @Test("a batch that the file fixes is the only one")
  func fixedBatch() throws {
    var builder = ModelBuilder()
    builder.input("x", [4, 4])
    builder.output("y", [4, 4])
    builder.node("Relu", ["x"], ["y"])
    let model = try builder.model()
    #expect(model.fixedBatch == 4)
    #expect(try model.graph(batch: 4).shape(model.graph(batch: 4).outputs[0]) == [4, 4])
    #expect { try model.graph(batch: 8) } throws: { "\($0)".contains("fixed at 4; run 8 samples in parts of 4") }
    #expect { try model.graph(batch: 0) } throws: { "\($0)".contains("must be 1 or more") }
  }
}
