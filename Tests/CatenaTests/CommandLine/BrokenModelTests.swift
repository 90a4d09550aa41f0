import Catena
import Foundation
import TestSupport
import Testing

/// The program, driven as a user drives it. One test at a time: each runs programs that use all cores.
@Suite("command line", .serialized, .enabled(if: CatenaProgram.absence.isEmpty, "\(CatenaProgram.absence)"))
enum CommandLineTests {}

/// A file that is no network, or no good one.
struct BrokenModel: Sendable, CustomTestStringConvertible {
  var testDescription: String
  /// What the message must say besides the file's name.
  var says: [String]
  var bytes: @Sendable () throws -> [UInt8]

  static let all: [BrokenModel] = [
    BrokenModel(testDescription: "truncated", says: ["truncated, damaged or no ONNX model"]) {
      let whole = try [UInt8](Data(contentsOf: URL(filePath: Shipped.network)))
      return Array(whole.prefix(whole.count / 2))
    },
    BrokenModel(testDescription: "empty", says: ["no graph", "damaged or no ONNX model"]) { [] },
    BrokenModel(testDescription: "text", says: ["truncated, damaged or no ONNX model"]) { Array("no network\n".utf8) },
    BrokenModel(testDescription: "image", says: ["damaged or no ONNX model"]) {
      try [UInt8](Data(contentsOf: Assets.goldens.appending(path: "Images/rgb16.png")))
    },
    BrokenModel(testDescription: "cyclic", says: ["cycle"]) {
      try model { proto in
        proto.graph.node = [
          Onnx_NodeProto("Add", inputs: ["input", "b"], outputs: ["a"], attributes: []),
          Onnx_NodeProto("Relu", inputs: ["a"], outputs: ["b"], attributes: []),
        ]
        proto.graph.output = [Onnx_ValueInfoProto("b", TensorType(.float32, [1, 3, 8, 8]))]
      }
    },
    BrokenModel(testDescription: "absurd initialiser", says: ["'weight'"]) {
      try model { proto in
        var weight = Tensor([1, 2] as [Float], shape: [2]).proto(named: "weight")
        weight.dims = [1 << 40, 1 << 40]
        proto.graph.initializer = [weight]
      }
    },
    BrokenModel(testDescription: "absurd input", says: ["input"]) {
      try model { proto in
        proto.graph.input = [Onnx_ValueInfoProto("input", TensorType(.float32, [1, 3, 1 << 40, 1 << 40]))]
      }
    },
    BrokenModel(testDescription: "negative extent", says: ["input"]) {
      try model { proto in proto.graph.input[0].type.tensorType.shape.dim[1].dimValue = -3 }
    },
    BrokenModel(testDescription: "newer operator set", says: ["operator set 99", "up to \(ONNXModel.newestOpset)"]) {
      try model { proto in proto.opsetImport[0].version = 99 }
    },
    BrokenModel(
      testDescription: "unsupported operators",
      says: ["2 node(s)", "node 0 'first' (NonMaxSuppression, opset 13)", "node 2 'third' (acme.Mystery"]
    ) {
      try model { proto in
        var nodes = [
          Onnx_NodeProto("NonMaxSuppression", inputs: ["input"], outputs: ["a"], attributes: []),
          Onnx_NodeProto("Relu", inputs: ["input"], outputs: ["b"], attributes: []),
          Onnx_NodeProto("Mystery", inputs: ["a", "b"], outputs: ["output"], attributes: []),
        ]
        nodes[0].name = "first"
        nodes[2].name = "third"
        nodes[2].domain = "acme"
        proto.graph.node = nodes
      }
    },
  ]

  /// A network of one Relu, changed by `change`.
  private static func model(_ change: (inout Onnx_ModelProto) -> Void) throws -> [UInt8] {
    var proto = Onnx_ModelProto()
    proto.irVersion = 7
    var version = Onnx_OperatorSetIdProto()
    version.version = 13
    proto.opsetImport = [version]
    proto.graph.name = "test"
    proto.graph.input = [Onnx_ValueInfoProto("input", TensorType(.float32, [1, 3, 8, 8]))]
    proto.graph.node = [Onnx_NodeProto("Relu", inputs: ["input"], outputs: ["output"], attributes: [])]
    proto.graph.output = [Onnx_ValueInfoProto("output", TensorType(.float32, [1, 3, 8, 8]))]
    change(&proto)
    return try proto.serializedBytes()
  }
}

extension CommandLineTests {
  @Suite("broken models")
  struct BrokenModels {
    @Test("are refused with what and where", arguments: BrokenModel.all)
    func areRefused(_ broken: BrokenModel) async throws {
      let folder = try TemporaryFolder()
      let path = try folder.write(broken.bytes(), to: "model.onnx")
      for command in [
        ["inspect", path], ["chain", path, Shipped.records, "--keep", "10%", "--out", folder.file("chain")],
      ] {
        let result = try await CatenaProgram.run(command)
        #expect(result.exitCode == 65 && !result.isSignalled, "\(result)")
        for part in broken.says + ["error: ", path] {
          #expect(result.errors.contains(part), "'\(part)' is not in: \(result)")
        }
        #expect(result.output.isEmpty)
        #expect(try folder.names == ["model.onnx"])
      }
    }

    @Test(
      "what is not a file is said", arguments: [("none.onnx", "no such file"), ("", "folder"), ("/dev/null", "device")])
    func noFile(_ name: String, _ says: String) async throws {
      let folder = try TemporaryFolder()
      let path = name.hasPrefix("/") ? name : folder.file(name)
      for command in ["inspect", "run", "verify"] {
        let arguments =
          ["inspect": [path], "run": [path, Shipped.records], "verify": [folder.path, path]][command] ?? []
        let result = try await CatenaProgram.run([command] + arguments)
        #expect(result.exitCode == 65, "\(result)")
        #expect(result.errors.contains(says) && result.errors.contains(path), "\(result)")
      }
    }

    @Test("unsupported nodes are listed as JSON too")
    func unsupportedAsJSON() async throws {
      let folder = try TemporaryFolder()
      let broken = try #require(BrokenModel.all.last)
      let path = try folder.write(broken.bytes(), to: "model.onnx")
      let result = try await CatenaProgram.run(["inspect", path, "--json"])
      #expect(result.exitCode == 65)
      let nodes = try #require(try result.json()["unsupported"] as? [[String: Any]])
      #expect(nodes.compactMap { $0["operatorType"] as? String } == ["NonMaxSuppression", "acme.Mystery"])
    }
  }
}
