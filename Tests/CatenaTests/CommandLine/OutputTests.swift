import Foundation
import TestSupport
import Testing

/// Why there can be no small file system for a test, empty when there can.
private let noSmallDisk: String = {
  let trial = Process()
  trial.executableURL = URL(filePath: "/bin/sh")
  trial.arguments = ["-c", "unshare -rm mount -t tmpfs -o size=64k tmpfs /mnt 2>/dev/null"]
  do {
    try trial.run()
  } catch { return "no shell can be run: \(error)" }
  trial.waitUntilExit()
  return trial.terminationStatus == 0 ? "" : "this user may not mount a file system in a namespace of its own"
}()

extension CommandLineTests {
  @Suite("output folder")
  struct OutputFolder {
    @Test("one that is not empty is refused and kept, and replaced when asked")
    func occupied() async throws {
      let folder = try TemporaryFolder()
      let out = folder.file("chain")
      try FileManager.default.createDirectory(atPath: out, withIntermediateDirectories: false)
      try folder.write(Array("mine".utf8), to: "chain/notes.txt")
      let refused = try await CatenaProgram.run(Shipped.chain("--keep", "50%", out: out))
      #expect(refused.exitCode == 1 && refused.errors.contains("not empty"), "\(refused)")
      #expect(refused.errors.contains("--overwrite"), "\(refused)")
      #expect(try folder.bytes(of: "chain/notes.txt") == Array("mine".utf8))
      #expect(try folder.names == ["chain"])

      let replaced = try await CatenaProgram.run(Shipped.chain("--keep", "50%", "--overwrite", out: out))
      #expect(replaced.exitCode == 0, "\(replaced)")
      #expect(try folder.names == ["chain"])
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: out).sorted() == [
          "SHA256SUMS", "chain.onnx", "chain.soft.onnx", "curve.csv", "curve.svg", "manifest.json",
          "region.safetensors",
          "scores.safetensors",
        ])
    }

    @Test("one that has what is read is not replaced", arguments: ["chain", "explain", "trace"])
    func readInside(_ command: String) async throws {
      let folder = try TemporaryFolder()
      let network = folder.file("network.onnx")
      try FileManager.default.copyItem(atPath: Shipped.network, toPath: network)
      let options =
        command == "chain" ? ["--keep", "50%", "--steps", "5"] : command == "trace" ? ["--ratios", "uniform"] : []
      let result = try await CatenaProgram.run(
        [command, network, "\(Shipped.records)#0", "--preprocess", "raw", "--overwrite", "--out", folder.path]
          + options + (command == "trace" ? ["0.5"] : []))
      #expect(result.exitCode != 0 && result.errors.contains("which is read"), "\(result)")
      #expect(try folder.names == ["network.onnx"])
    }

    @Test("tables that cannot be written, and labels that are no classes, are found before the work")
    func evaluationBeforeWork() async throws {
      let folder = try TemporaryFolder()
      try folder.write([1], to: "file")
      let arguments = [
        "evaluate", "chain", Shipped.network, "--images", Shipped.records, "--preprocess", "raw", "--draw", "1",
        "--per-class", "2", "--keep", "50%",
      ]
      let tables = try await CatenaProgram.run(arguments + ["--csv", folder.file("file")])
      #expect(tables.exitCode == 1 && tables.errors.contains("the folder cannot be made"), "\(tables)")
      let labels = try await CatenaProgram.run(arguments + ["--label-offset", "9"])
      #expect(labels.exitCode == 65 && labels.errors.contains("--label-offset"), "\(labels)")
      #expect(!labels.errors.contains("optimizing"), "\(labels)")
      let ratios = try await CatenaProgram.run([
        "tune-ratios", Shipped.network, Shipped.records, "--preprocess", "raw", "--overwrite", "--out", folder.path,
      ])
      #expect(ratios.exitCode == 1 && ratios.errors.contains("is a folder"), "\(ratios)")
      #expect(try folder.names == ["file"])
    }

    @Test("a failure leaves the folder to be replaced as it was")
    func failedReplacement() async throws {
      let folder = try TemporaryFolder()
      let out = folder.file("chain")
      try FileManager.default.createDirectory(atPath: out, withIntermediateDirectories: false)
      try folder.write(Array("mine".utf8), to: "chain/notes.txt")
      let result = try await CatenaProgram.run(Shipped.chain("--keep", "0.0001%", "--overwrite", out: out))
      #expect(result.exitCode == 64, "\(result)")
      #expect(try folder.bytes(of: "chain/notes.txt") == Array("mine".utf8))
      #expect(try folder.names == ["chain"])
    }

    @Test("one that cannot be made is an error", arguments: ["none/chain", "file", "file/chain"])
    func unwritable(_ name: String) async throws {
      let folder = try TemporaryFolder()
      try folder.write([1], to: "file")
      let result = try await CatenaProgram.run(Shipped.chain("--keep", "50%", out: folder.file(name)))
      #expect(result.exitCode == 1 && result.errors.contains(folder.file(name)), "\(result)")
      #expect(try folder.names == ["file"])
    }

    @Test("a limit on the size of files is an error and leaves nothing")
    func fileSizeLimit() async throws {
      let folder = try TemporaryFolder()
      let result = try await CatenaProgram.shell(
        #"ulimit -f 32; exec "$catena" "$@""#, Shipped.chain("--keep", "50%", out: folder.file("chain")))
      #expect(result.exitCode == 1 && !result.isSignalled, "\(result)")
      #expect(result.errors.contains("cannot be written") && result.errors.contains("free some space"), "\(result)")
      #expect(try folder.names == [])
    }

    @Test("a full disk is an error and leaves nothing", .enabled(if: noSmallDisk.isEmpty, "\(noSmallDisk)"))
    func fullDisk() async throws {
      let line = """
        unshare -rm bash -c 'mount -t tmpfs -o size=96k tmpfs /mnt || exit 99
          "$0" "$@"; code=$?; ls -A /mnt; exit $code' "$catena" "$@"
        """
      let result = try await CatenaProgram.shell(line, Shipped.chain("--keep", "50%", out: "/mnt/chain"))
      #expect(result.exitCode == 1 && !result.isSignalled, "\(result)")
      #expect(result.errors.contains("free some space"), "\(result)")
      #expect(result.output.isEmpty, "something is left: \(result)")
    }

    @Test("Ctrl-C stops between two steps and leaves nothing", arguments: [Int32(SIGINT), SIGTERM])
    func interrupt(_ signal: Int32) async throws {
      let folder = try TemporaryFolder()
      let program = try RunningProgram(
        CatenaProgram.url, Shipped.chain("--keep", "50%", "--steps", "100000", out: folder.file("chain")))
      // The first line of a stage is shown once it has begun; the optimisation follows at once.
      #expect(try await program.waits(for: "preparing"))
      try await Task.sleep(for: .seconds(2))
      #expect(program.isRunning)
      #expect(try folder.names.count == 1, "the folder is begun before the work, under another name")
      program.send(signal)
      let result = try await program.result()
      #expect(result.exitCode == 75 && !result.isSignalled, "\(result)")
      #expect(result.errors.contains("stopped; nothing was written"), "\(result)")
      #expect(try folder.names == [])
    }

    @Test("a reader of the progress that leaves early does not end the work")
    func closedProgress() async throws {
      let folder = try TemporaryFolder()
      let result = try await CatenaProgram.shell(
        #""$catena" "$@" 2>&1 | head -n 1; exit "${PIPESTATUS[0]}""#,
        Shipped.chain("--keep", "50%", out: folder.file("chain")))
      #expect(result.exitCode == 0 && !result.isSignalled, "\(result)")
      #expect(try folder.names == ["chain"])
    }

    @Test("a budget that cannot reach the agreement gives the best point and exit code 2")
    func notMet() async throws {
      let folder = try TemporaryFolder()
      let out = folder.file("chain")
      let result = try await CatenaProgram.run(
        Shipped.chain("--keep", "10%", "--agreement", "100%", "--json", out: out))
      #expect(result.exitCode == 2, "\(result)")
      let printed = try result.json()
      #expect(printed["met"] as? Bool == false)
      let written = try #require(
        try JSONSerialization.jsonObject(with: Data(folder.bytes(of: "chain/manifest.json"))) as? [String: Any])
      #expect(written["met"] as? Bool == false)
      let kept = try #require((printed["size"] as? [String: Any])?["units"] as? [String: Int])
      #expect(try #require(kept["kept"]) * 10 <= kept["total"] ?? 0)
      let verified = try await CatenaProgram.run(["verify", out, Shipped.network, "--json"])
      #expect(verified.exitCode == 0, "\(verified)")
      #expect(try verified.json()["samples"] as? Int == 20)
    }

    @Test("the same request gives the same bytes")
    func deterministic() async throws {
      let folder = try TemporaryFolder()
      for name in ["first", "second"] {
        let result = try await CatenaProgram.run(Shipped.chain("--keep", "30%", "--seed", "7", out: folder.file(name)))
        #expect(result.exitCode == 0, "\(result)")
      }
      #expect(try folder.bytes(of: "first/SHA256SUMS") == folder.bytes(of: "second/SHA256SUMS"))
    }

    @Test("both kinds of request are met and reported")
    func met() async throws {
      let folder = try TemporaryFolder()
      for (request, name) in [(["--keep", "60%"], "keep"), (["--agreement", "60%"], "agreement")] {
        let out = folder.file(name)
        let result = try await CatenaProgram.run(Shipped.chain(request[0], request[1], out: out))
        #expect(result.exitCode == 0, "\(result)")
        for part in ["kept ", "binary ", "soft ", "\(out)/chain.onnx", "catena verify \(out)"] {
          #expect(result.output.contains(part), "\(result)")
        }
      }
    }
  }
}
