import Foundation
import TestSupport
import Testing

/// Why what needs these Python modules is skipped, empty when they are there.
private func absence(of modules: String) -> String {
  guard let python = Assets.python.url else { return Assets.python.reason }
  let trial = Process()
  trial.executableURL = python
  trial.arguments = ["-c", "import \(modules)"]
  trial.standardError = FileHandle.nullDevice
  do {
    try trial.run()
  } catch { return "\(python.path) cannot be run: \(error)" }
  trial.waitUntilExit()
  return trial.terminationStatus == 0 ? "" : "the Python with the peers lacks \(modules): run Tools/setup --peers"
}

private let noSchemaChecker = absence(of: "jsonschema")
private let noRuntime = absence(of: "onnx, onnxruntime")

extension CommandLineTests {
  @Suite("chains seen by others")
  struct Peers {
    @Test("the manifest fits its schema", .enabled(if: noSchemaChecker.isEmpty, "\(noSchemaChecker)"))
    func schema() async throws {
      let folder = try TemporaryFolder()
      for (name, network, request) in [
        ("plain", Shipped.network, ["--keep", "50%"]),
        ("both", Shipped.network, ["--keep", "10%", "--agreement", "100%"]),
        ("sliced", Shipped.otherNetwork, ["--agreement", "90%"]),
      ] {
        let chain = try await CatenaProgram.run(
          [
            "chain", network, Shipped.records + "#0-3", "--preprocess", "raw", "--steps", "4", "--out",
            folder.file(name),
          ] + request)
        #expect([0, 2].contains(chain.exitCode), "\(chain)")
        let result = try await check(folder.file("\(name)/manifest.json"))
        #expect(result.exitCode == 0, "\(result)")
      }
      let text = String(decoding: try folder.bytes(of: "plain/manifest.json"), as: UTF8.self)
      for (old, new) in [
        ("\"met\" : true", "\"met\" : \"yes\""), ("\"formatVersion\" : \"1.0\"", "\"formatVersion\" : \"2.0\""),
        ("\"sha256\" : \"", "\"sha256\" : \"x"), ("\"met\" : true", "\"met\" : true, \"extra\" : 1"),
      ] {
        #expect(text.contains(old))
        let path = try folder.write(Array(text.replacingOccurrences(of: old, with: new).utf8), to: "changed.json")
        let result = try await check(path)
        #expect(result.exitCode == 1, "\(new): \(result)")
      }
    }

    @Test("an independent script reproduces the chain", .enabled(if: noRuntime.isEmpty, "\(noRuntime)"))
    func script() async throws {
      let folder = try TemporaryFolder()
      let out = folder.file("chain")
      let chain = try await CatenaProgram.run(Shipped.chain("--keep", "50%", out: out))
      try #require(chain.exitCode == 0, "\(chain)")
      let right = try await python("verify_chain.py", [out, "--source", Shipped.network])
      #expect(right.exitCode == 0, "\(right)")
      #expect(try right.json()["met"] as? Bool == true)
      #expect(try right.json()["samples"] as? Int == 20)

      let other = try await python("verify_chain.py", [out, "--source", Shipped.otherNetwork])
      #expect(other.exitCode == 1, "\(other)")
      var network = try folder.bytes(of: "chain/chain.onnx")
      network[network.count / 2] ^= 0x40
      try folder.write(network, to: "chain/chain.onnx")
      let changed = try await python("verify_chain.py", [out])
      #expect(changed.exitCode == 1 && changed.errors.contains("chain.onnx"), "\(changed)")
    }

    private func check(_ manifest: String) async throws -> ProgramResult {
      let schema = Assets.repository.appending(path: "Tools/schemas/chain-manifest.schema.json").path
      return try await python("check_manifest.py", [schema, manifest])
    }

    private func python(_ script: String, _ arguments: [String]) async throws -> ProgramResult {
      let python = try #require(Assets.python.url)
      let path = Assets.repository.appending(path: "Tools/peers/\(script)").path
      return try await RunningProgram(python, [path] + arguments).result()
    }
  }
}
