import Catena
import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  @Suite("verify")
  struct Verify {
    /// A chain, extracted, and a place for copies of it.
    private let folder: TemporaryFolder
    private let original: String

    init() async throws {
      folder = try TemporaryFolder()
      original = folder.file("chain")
      let result = try await CatenaProgram.run(Shipped.chain("--keep", "50%", out: original))
      try #require(result.exitCode == 0, "\(result)")
    }

    @Test("one changed byte in any file is found")
    func changedByte() async throws {
      let files = try FileManager.default.contentsOfDirectory(atPath: original).sorted()
      #expect(files.count == 8)
      for file in files {
        var bytes = try folder.bytes(of: "chain/\(file)")
        for position in [0, bytes.count / 2, bytes.count - 1] {
          let old = bytes[position]
          // A digit stays a digit, so that what holds text stays text.
          bytes[position] ^= 1
          try await expectRefusal("\(file), byte \(position)") { copy in
            try Data(bytes).write(to: URL(filePath: "\(copy)/\(file)"))
          }
          bytes[position] = old
        }
      }
    }

    @Test("a missing file is found")
    func missingFile() async throws {
      for file in try FileManager.default.contentsOfDirectory(atPath: original).sorted() {
        try await expectRefusal("without \(file)") { try FileManager.default.removeItem(atPath: "\($0)/\(file)") }
      }
    }

    @Test("a changed network is found, though the sums fit")
    func changedNetwork() async throws {
      let bytes = try folder.bytes(of: "chain/chain.onnx")
      // In the structure, in names, in weights.
      for position in [0, 2, bytes.count / 4, bytes.count / 2, bytes.count * 3 / 4, bytes.count - 1] {
        var changed = bytes
        changed[position] ^= 1
        try await expectRefusal("chain.onnx, byte \(position)") { copy in
          try Data(changed).write(to: URL(filePath: "\(copy)/chain.onnx"))
          try recomputeSums(copy)
        }
      }
      try await expectRefusal("chain.onnx cut off") { copy in
        try Data(bytes.prefix(bytes.count / 2)).write(to: URL(filePath: "\(copy)/chain.onnx"))
        try recomputeSums(copy)
      }
    }

    @Test("recorded outputs that are not the chain's are found")
    func changedOutputs() async throws {
      try await expectRefusal("other logits") { copy in
        let path = "\(copy)/region.safetensors"
        let region = try Safetensors.read(path)
        var tensors = region.tensors
        let index = try #require(tensors.firstIndex { $0.name == "chain_logits" })
        let logits = tensors[index].tensor
        tensors[index] = NamedTensor(
          name: "chain_logits", tensor: Tensor(logits.floats.map { $0 + 1 }, shape: logits.shape))
        try FileManager.default.removeItem(atPath: path)
        try Safetensors(tensors: tensors, metadata: region.metadata).write(to: path)
        try recomputeSums(copy)
      }
    }

    @Test("another network, a folder that is none and one without a chain are told apart")
    func otherArguments() async throws {
      let other = try await CatenaProgram.run(["verify", original, Shipped.otherNetwork])
      #expect(other.exitCode == 1 && other.errors.contains("not from this network"), "\(other)")
      let none = try await CatenaProgram.run(["verify", folder.file("none"), Shipped.network])
      #expect(none.exitCode == 65 && none.errors.contains("no such folder"), "\(none)")
      let right = try await CatenaProgram.run(["verify", original, Shipped.network])
      #expect(right.exitCode == 0 && right.output.contains("bit-identical"), "\(right)")
    }

    /// Changes a copy of the chain; verification must fail with exit code 1, and say why.
    private func expectRefusal(_ what: String, change: (String) throws -> Void) async throws {
      let copy = folder.file("copy")
      try FileManager.default.copyItem(atPath: original, toPath: copy)
      defer { #expect(throws: Never.self) { try FileManager.default.removeItem(atPath: copy) } }
      try change(copy)
      let result = try await CatenaProgram.run(["verify", copy, Shipped.network])
      #expect(result.exitCode == 1 && !result.isSignalled, "\(what): \(result)")
      #expect(result.errors.contains("error: the chain is not what it claims to be"), "\(what): \(result)")
      #expect(result.output.isEmpty, "\(what): \(result)")
    }

    private func recomputeSums(_ folder: String) throws {
      let files = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0 != "SHA256SUMS" }.sorted()
      var sums = ""
      for file in files {
        sums += SHA256.hexDigest(of: try [UInt8](Data(contentsOf: URL(filePath: "\(folder)/\(file)")))) + "  \(file)\n"
      }
      try Data(sums.utf8).write(to: URL(filePath: "\(folder)/SHA256SUMS"))
    }
  }
}
