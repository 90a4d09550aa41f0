import Catena
import Foundation
import TestSupport
import Testing

extension Shipped {
  private static let quick = ["--augmentations", "8", "--batch", "4"]

  /// `trace` on the small network, quickly: what it finds does not matter.
  static func trace(_ images: String = records + "#0", out: String, _ more: [String] = []) -> [String] {
    ["trace", network, images, "--preprocess", "raw", "--ratios", "uniform", "0.5", "--out", out] + quick + more
  }

  static func tuning(_ images: String = records + "#0-1", out: String, _ more: [String] = []) -> [String] {
    ["tune-ratios", network, images, "--preprocess", "raw", "--probes", "1", "--out", out] + quick + more
  }

  static func explain(_ images: String = records + "#0", out: String, _ more: [String] = []) -> [String] {
    ["explain", network, images, "--preprocess", "raw", "--out", out] + more
  }

  static func trojan(_ images: String = records, trigger: String, _ more: [String] = []) -> [String] {
    [
      "evaluate", "trojan", network, images, "--preprocess", "raw", "--trigger", trigger, "--method", "saliency",
      "--augmentations", "8", "--count", "2",
    ] + more
  }
}

extension CommandLineTests {
  @Suite("traces, explanations and their evaluation")
  struct Traces {
    /// Those that say the same of every command that reads pictures.
    private static let brokenSamples = BrokenSample.all.filter {
      !["images of different sizes", "an array of another shape"].contains($0.testDescription)
    }

    /// A patch of bytes as a file.
    private func patch(_ folder: TemporaryFolder, side: Int = 3, of pixels: [UInt8]? = nil) throws -> String {
      let path = folder.file("patch.npy")
      let bytes = pixels ?? (0..<side * side * 3).map { UInt8($0 * 28 % 256) }
      try NPY.write(Tensor(bytes, shape: [side, side, 3]), to: path)
      return path
    }

    @Test("pictures that do not fit are refused before any work", arguments: brokenSamples)
    func brokenPictures(_ broken: BrokenSample) async throws {
      let folder = try TemporaryFolder()
      let given = try broken.arguments(folder)
      let trigger = try patch(folder)
      let before = try folder.names
      for command in [
        Shipped.trace(given[0], out: folder.file("out")), Shipped.tuning(given[0], out: folder.file("out")),
        Shipped.explain(given[0], out: folder.file("out")),
        Shipped.trojan(given[0], trigger: trigger, ["--target", "3", "--ratios", "uniform", "0.5"]),
      ] {
        let result = try await CatenaProgram.run(command + given.dropFirst())
        #expect(result.exitCode == broken.exitCode && !result.isSignalled, "\(command[0]): \(result)")
        #expect(result.errors.contains(broken.says), "\(command[0]): \(result)")
        #expect(result.output.isEmpty)
        #expect(try folder.names == before, "\(command[0])")
      }
    }

    @Test("one picture of several that does not fit is found before the first is traced")
    func oneOfSeveral() async throws {
      let folder = try TemporaryFolder()
      let more = [Shipped.images + "/geyser_1.png"]
      for command in [
        Shipped.trace(out: folder.file("out"), more), Shipped.tuning(out: folder.file("out"), more),
      ] {
        // Behind an option's words an image would be one of them.
        var words = command
        words.insert(words.removeLast(), at: 2)
        let result = try await CatenaProgram.run(words)
        #expect(result.exitCode == 65 && result.errors.contains("choose another --preprocess"), "\(result)")
        #expect(try folder.names.isEmpty)
      }
    }

    @Test("a trace says which layers it leaves dense, and why")
    func leftDense() async throws {
      let folder = try TemporaryFolder()
      let result = try await CatenaProgram.run(Shipped.trace(out: folder.file("out")))
      #expect(result.exitCode == 0, "\(result)")
      let lines = result.output.split(separator: "\n").filter { $0.hasPrefix("left dense") }
      #expect(lines.count == 1 && lines[0].hasSuffix(": it is the stem convolution"), "\(result)")
    }

    @Test("ratios that make no sense are refused")
    func ratios() async throws {
      let folder = try TemporaryFolder()
      let trigger = try patch(folder)
      for (content, says, code) in [
        (#"{"nowhere": 0.5}"#, "there is no layer 'nowhere'", Int32(64)), ("[1]", "holds no ratios", 65),
        ("", "holds no ratios", 65),
        (#"{"a": 0.5, "a": 0.9}"#, "is no valid JSON", 65),
      ] {
        let file = try folder.write(Array(content.utf8), to: "ratios.json")
        let before = try folder.names
        for command in [
          ["trace", Shipped.network, Shipped.records + "#0", "--preprocess", "raw", "--out", folder.file("out")],
          Shipped.trojan(trigger: trigger, ["--target", "3"]),
        ] {
          let result = try await CatenaProgram.run(command + ["--ratios", file])
          #expect(result.exitCode == code && result.errors.contains(says), "\(command[0]): \(result)")
          #expect(try folder.names == before)
        }
      }
      for words in [["uniform"], ["uniform", "much"], ["a", "b"]] {
        let result = try await CatenaProgram.run(
          ["trace", Shipped.network, Shipped.records + "#0", "--out", folder.file("out"), "--ratios"] + words)
        #expect(result.exitCode == 64, "\(result)")
      }
      let whole = try await CatenaProgram.run([
        "trace", Shipped.network, Shipped.records + "#0", "--preprocess", "raw", "--out", folder.file("out"),
        "--ratios", "uniform", "1",
      ])
      #expect(whole.exitCode == 64 && whole.errors.contains("from 0 to below 1"), "\(whole)")
    }

    @Test("NaN in the weights is said, and nothing is written")
    func notFinite() async throws {
      let folder = try TemporaryFolder()
      let trigger = try patch(folder)
      var bytes = try [UInt8](Data(contentsOf: URL(filePath: Shipped.network)))
      let graph = try ONNXModel(contentsOf: Shipped.network).graph(batch: 1)
      let weights = try #require(graph.constants.values.first { $0.shape.rank == 4 && $0.shape[1] > 3 })
      let pattern = weights.withUnsafeBytes { Array($0.prefix(32)) }
      let place = try #require(bytes.indices.first { bytes[$0...].starts(with: pattern) })
      bytes.replaceSubrange(place..<place + 4, with: withUnsafeBytes(of: Float.nan) { Array($0) })
      let broken = try folder.write(bytes, to: "model.onnx")
      let before = try folder.names
      for command in [
        Shipped.trace(out: folder.file("out")), Shipped.tuning(out: folder.file("out")),
        Shipped.explain(out: folder.file("out")),
        Shipped.trojan(trigger: trigger, ["--target", "3", "--ratios", "uniform", "0.5"]),
      ] {
        let result = try await CatenaProgram.run(command.map { $0 == Shipped.network ? broken : $0 })
        #expect(result.exitCode == 65 && result.errors.contains("NaN"), "\(command[0]): \(result)")
        #expect(result.errors.contains(broken) || result.errors.contains("layer"), "\(command[0]): \(result)")
        #expect(try folder.names == before)
      }
    }

    @Test("layers whose input is always the same are damped and said", arguments: ["fast", "exact"])
    func constantInput(_ solver: String) async throws {
      let folder = try TemporaryFolder()
      let black = try folder.write(
        PNGEncoder.encode(Image(width: 32, height: 32, pixels: [UInt8](repeating: 0, count: 3072))), to: "black.png")
      let result = try await CatenaProgram.run(
        Shipped.trace(black, out: folder.file("out"), ["--solver", solver, "--json"]))
      #expect(result.exitCode == 0, "\(result)")
      let layers = try #require(try result.json()["layers"] as? [[String: Any]])
      #expect(layers.allSatisfy { ($0["loss"] as? Double)?.isFinite == true })
      #expect(layers.contains { $0["wasDampedFurther"] as? Bool == true } == (solver == "exact"))
      for layer in layers {
        let connections = try #require(layer["connections"] as? [String: Int])
        #expect(try #require(connections["kept"]) * 100 <= 52 * (connections["total"] ?? 0), "left dense: \(layer)")
      }
    }

    @Test("places that cannot be written are found before the work", arguments: ["none/out", "file/out"])
    func unwritable(_ name: String) async throws {
      let folder = try TemporaryFolder()
      try folder.write([1], to: "file")
      let trigger = try patch(folder)
      for command in [
        Shipped.trace(out: folder.file(name)), Shipped.tuning(out: folder.file(name)),
        Shipped.explain(out: folder.file(name)),
        Shipped.trojan(
          trigger: trigger, ["--target", "3", "--ratios", "uniform", "0.5", "--csv", folder.file("file/out")]),
      ] {
        let result = try await CatenaProgram.run(command)
        #expect(result.exitCode == 1 && result.errors.contains("/out"), "\(command[0]): \(result)")
        #expect(!result.errors.contains("pruning") && !result.errors.contains("dense"), "\(command[0]): \(result)")
        #expect(try folder.names == ["file", "patch.npy"])
      }
    }

    @Test("Ctrl-C leaves nothing of a trace, and nothing of explanations")
    func interrupted() async throws {
      let folder = try TemporaryFolder()
      let endless = Shipped.trace(out: folder.file("out")).map { $0 == "8" ? "1000000" : $0 }
      let masks = Shipped.explain(out: folder.file("out"), ["--method", "rise", "--masks", "100000"])
      let several = Shipped.trace(Shipped.records + "#0-1", out: folder.file("out")).map { $0 == "8" ? "1000000" : $0 }
      for (command, stage, says) in [
        (endless, "observing", "stopped; nothing was written"), (masks, "explaining", "stopped; nothing was written"),
        (several, "observing", "stopped; complete are 0 of 2 folders"),
      ] {
        let program = try RunningProgram(CatenaProgram.url, command)
        #expect(try await program.waits(for: stage))
        program.send(SIGINT)
        let result = try await program.result()
        #expect(result.exitCode == 75 && !result.isSignalled, "\(result)")
        #expect(result.errors.contains(says), "\(result)")
        let left = try folder.names
        #expect(left.isEmpty || (left == ["out"] && says.contains("complete")), "\(left)")
      }
    }

    @Test("tuning goes on where Ctrl-C stopped it, and gives what it gives at once")
    func resumed() async throws {
      let folder = try TemporaryFolder()
      let images = Shipped.records + "#0-5"
      let command = Shipped.tuning(images, out: folder.file("ratios.json"))
      let program = try RunningProgram(CatenaProgram.url, command)
      #expect(try await program.waits(for: "looking for"))
      program.send(SIGINT)
      let stopped = try await program.result()
      #expect(stopped.exitCode == 75 && stopped.errors.contains("the same command goes on"), "\(stopped)")
      #expect(try folder.names == ["ratios.json.unfinished"])
      let resumed = try await CatenaProgram.run(command)
      #expect([0, 2].contains(resumed.exitCode) && resumed.errors.contains("going on where"), "\(resumed)")
      #expect(!resumed.errors.contains("trying every layer"), "\(resumed)")
      #expect(try folder.names == ["ratios.json"])
      let refused = try await CatenaProgram.run(command)
      #expect(refused.exitCode == 1 && refused.errors.contains("--overwrite"), "\(refused)")

      let whole = try await CatenaProgram.run(Shipped.tuning(images, out: folder.file("again.json")))
      #expect(whole.exitCode == resumed.exitCode, "\(whole)")
      #expect(try folder.bytes(of: "again.json") == folder.bytes(of: "ratios.json"))
      let trace = try await CatenaProgram.run([
        "trace", Shipped.network, Shipped.records + "#7", "--preprocess", "raw", "--augmentations", "8", "--ratios",
        folder.file("ratios.json"), "--out", folder.file("trace"),
      ])
      #expect(trace.exitCode == 0, "\(trace)")
    }

    /// Every file below a folder, with its bytes.
    private func files(_ path: String) throws -> [String: [UInt8]] {
      let names = try FileManager.default.subpathsOfDirectory(atPath: path)
      return Dictionary(
        uniqueKeysWithValues: try names.compactMap { name in
          var isFolder: ObjCBool = false
          _ = FileManager.default.fileExists(atPath: "\(path)/\(name)", isDirectory: &isFolder)
          return isFolder.boolValue ? nil : (name, try readFile("\(path)/\(name)"))
        })
    }

    @Test("traces of many pictures go on where Ctrl-C stopped them, and are what they are at once")
    func resumedTraces() async throws {
      let folder = try TemporaryFolder()
      func command(_ out: String, _ more: [String] = [], augmentations: String = "160") -> [String] {
        Shipped.trace(Shipped.records + "#0-3", out: folder.file(out), more).map { $0 == "8" ? augmentations : $0 }
      }
      let program = try RunningProgram(CatenaProgram.url, command("some"))
      #expect(try await program.waits(for: "2/4 observing"))
      program.send(SIGINT)
      let stopped = try await program.result()
      #expect(stopped.exitCode == 75 && stopped.errors.contains("the same command goes on"), "\(stopped)")
      let left = try files(folder.file("some"))
      #expect((4..<16).contains(left.count) && left["0/trace.json"] != nil, "\(left.keys)")
      let resumed = try await CatenaProgram.run(command("some"))
      #expect(resumed.exitCode == 0 && resumed.errors.contains("are complete and stay"), "\(resumed)")
      #expect(!resumed.errors.contains("1/4 ") && resumed.errors.contains("4/4 "), "\(resumed)")

      let whole = try await CatenaProgram.run(command("whole"))
      #expect(whole.exitCode == 0 && !whole.errors.contains("are complete"), "\(whole)")
      #expect(whole.output.replacing("/whole/", with: "/some/") == resumed.output)
      let expected = try files(folder.file("whole"))
      #expect(try expected.count == 16 && files(folder.file("some")) == expected)

      // Complete: nothing is left to do, not even where it may be replaced.
      let again = try await CatenaProgram.run(command("some", ["--overwrite"]))
      #expect(again.exitCode == 0 && again.errors.contains("4 of 4 folders"), "\(again)")
      #expect(!again.errors.contains("observing") && again.output == resumed.output, "\(again)")
      // Other settings, pictures and damaged files are refused before any work, and nothing is touched.
      for (other, says) in [
        (command("some", augmentations: "16"), "the augmentations: 160 there, 16 here"),
        (command("some", ["--seed", "1"]), "the seed: 0 there, 1 here"),
        (command("some", ["--solver", "exact"]), "the solver: fast there, exact here"),
        (command("some").map { $0 == "0.5" ? "0.4" : $0 }, ": 0.5 there, 0.4 here"),
        (command("some").map { $0.replacing("#0-3", with: "#1-4") }, "the picture"),
        (command("some").map { $0 == Shipped.network ? Shipped.otherNetwork : $0 }, "SHA-256"),
      ] {
        let refused = try await CatenaProgram.run(other)
        #expect(refused.exitCode == 1 && refused.errors.contains(says), "\(refused)")
        #expect(refused.errors.contains("--overwrite") && !refused.errors.contains("observing"), "\(refused)")
      }
      #expect(try files(folder.file("some")) == expected)
      try folder.write([1, 2, 3], to: "some/2/connections.safetensors")
      let damaged = try await CatenaProgram.run(command("some"))
      #expect(damaged.exitCode == 1 && damaged.errors.contains("damaged"), "\(damaged)")
      let repaired = try await CatenaProgram.run(command("some", ["--overwrite"]))
      #expect(repaired.exitCode == 0 && repaired.errors.contains("3 of 4 folders"), "\(repaired)")
      #expect(try files(folder.file("some")) == expected)
    }

    @Test("a trace is explained beside the network that it was made from")
    func explainWithTrace() async throws {
      let folder = try TemporaryFolder()
      let traced = try await CatenaProgram.run(Shipped.trace(out: folder.file("trace")))
      #expect(traced.exitCode == 0, "\(traced)")
      let result = try await CatenaProgram.run(
        Shipped.explain(
          out: folder.file("maps"), ["--method", "saliency,lrp", "--with", folder.file("trace"), "--json"]))
      #expect(result.exitCode == 0, "\(result)")
      let image = try #require((try result.json()["images"] as? [[String: Any]])?.first)
      let networks = try #require(image["networks"] as? [[String: Any]])
      #expect(networks.compactMap { $0["network"] as? String } == ["dense", "trace"])
      let maps = "maps/\(try #require(image["folder"] as? String))"
      for method in ["saliency", "lrp"] {
        let dense = try NPY.read(folder.file("\(maps)/\(method)-dense.npy"))
        let trace = try NPY.read(folder.file("\(maps)/\(method)-trace.npy"))
        #expect(dense.shape == [3, 32, 32] && trace.shape == [3, 32, 32])
        #expect(!dense.isBitIdentical(to: trace) && trace.floats.contains { $0 != 0 })
        #expect(try Image.read(folder.file("\(maps)/\(method)-trace.png")).width >= 32)
      }
      let grid = try Image.read(folder.file("\(maps)/grid.png"))
      #expect(grid.width > 3 * 32)
      // The trace by itself is a network as any other.
      let alone = try await CatenaProgram.run([
        "explain", folder.file("trace"), Shipped.records + "#0", "--preprocess", "raw", "--target",
        "\(try #require(image["target"] as? Int))", "--method", "saliency,lrp", "--baseline", "10,20,30", "--out",
        folder.file("alone"),
      ])
      #expect(alone.exitCode == 0, "\(alone)")
      let own = "alone/\(try #require(image["folder"] as? String))/lrp.npy"
      #expect(
        try NPY.read(folder.file(own)).isBitIdentical(to: NPY.read(folder.file("\(maps)/lrp-trace.npy"))))
      for wrong in ["1,2", "1,2,300", "red"] {
        let refused = try await CatenaProgram.run(
          Shipped.explain(out: folder.file("none"), ["--baseline", wrong]))
        #expect(refused.exitCode == 64 && refused.errors.contains("three levels"), "\(refused)")
      }
    }

    /// Most of a picture, which makes any network say its class, as a trigger; and that class.
    private func strongTrigger(_ folder: TemporaryFolder) async throws -> (path: String, target: Int) {
      let samples = try SampleSource.samples([Shipped.records])
      let pictures = samples.compactMap { sample -> Image? in
        if case .image(let image) = sample.content { image } else { nil }
      }
      let engine = try Engine(device: .cpu)
      let explainer = try Explainer(model: ONNXModel(contentsOf: Shipped.network), backend: engine.backend)
      let logits = try await explainer.logits(
        of: Preprocessing(divisor: 1).tensor(of: [pictures[0]]) { _ in "first" }
      ).floats
      let target = try #require(logits.indices.max { logits[$0] < logits[$1] })
      let side = 28
      let pixels = (0..<side).flatMap { row in
        let start = ((row + 4) * 32 + 4) * 3
        return Array(pictures[0].pixels[start..<start + side * 3])
      }
      return (try patch(folder, side: side, of: pixels), target)
    }

    @Test("scoring goes on where Ctrl-C stopped it, and gives what it gives at once")
    func resumedScoring() async throws {
      let folder = try TemporaryFolder()
      let (trigger, target) = try await strongTrigger(folder)
      func command(_ out: String, augmentations: String = "200", _ more: [String] = []) -> [String] {
        Shipped.trojan(
          trigger: trigger, ["--target", "\(target)", "--ratios", "uniform", "0.3", "--out", folder.file(out)] + more
        ).map { $0 == "8" ? augmentations : $0 }
      }
      let program = try RunningProgram(CatenaProgram.url, command("scores.json"))
      #expect(try await program.waits(for: "fast"))
      program.send(SIGINT)
      let stopped = try await program.result()
      #expect(stopped.exitCode == 75 && stopped.errors.contains("the same command goes on"), "\(stopped)")
      #expect(try folder.names.sorted() == ["patch.npy", "scores.json.unfinished"])
      let resumed = try await CatenaProgram.run(command("scores.json"))
      #expect(resumed.exitCode == 0 && resumed.errors.contains("going on where"), "\(resumed)")
      #expect(!resumed.errors.split(separator: "\n").contains("dense"), "\(resumed)")
      #expect(try folder.names.sorted() == ["patch.npy", "scores.json"])
      let refused = try await CatenaProgram.run(command("scores.json"))
      #expect(refused.exitCode == 1 && refused.errors.contains("--overwrite"), "\(refused)")

      let whole = try await CatenaProgram.run(command("again.json"))
      #expect(whole.exitCode == 0 && whole.output == resumed.output, "\(whole)")
      #expect(try folder.bytes(of: "again.json") == folder.bytes(of: "scores.json"))
      // What is left of other settings is not taken for this command's.
      try folder.write(Array(#"{"key": "other", "columns": [], "controls": []}"#.utf8), to: "scores.json.unfinished")
      let other = try await CatenaProgram.run(
        command("scores.json", augmentations: "4", ["--overwrite", "--traces", "none"]))
      #expect(other.exitCode == 0 && other.errors.contains("starting again"), "\(other)")
    }

    @Test("ratios are chosen by how well maps find a trigger, or by their insertion score")
    func tuningByMaps() async throws {
      let folder = try TemporaryFolder()
      let (trigger, target) = try await strongTrigger(folder)
      let triggered = ["--trigger", trigger, "--target", "\(target)"]
      for (images, more) in [(Shipped.records, triggered), (Shipped.records + "#0", ["--insertion"])] {
        let result = try await CatenaProgram.run(
          Shipped.tuning(
            images, out: folder.file("ratios.json"),
            more + ["--method", "saliency", "--kept", "50%", "--depths", "2", "--overwrite", "--json"]))
        #expect([0, 2].contains(result.exitCode), "\(result)")
        let levels = try #require(try result.json()["levels"] as? [[String: Any]])
        let chosen = try #require((try result.json()["chosen"] as? [String: Any])?["score"] as? Double)
        // What no picture bears at the level before has none.
        #expect(levels.allSatisfy { ($0["score"] as? Double).map((0...1).contains) ?? (($0["kept"] as? Int) == 0) })
        #expect(levels.contains { ($0["limits"] as? [Double]).map { Set($0).count > 1 } == true })
        guard result.exitCode == 0, more.contains("--trigger") else { continue }
        let kept = levels.filter { ($0["kept"] as? Double ?? 0) >= 0.5 }
        #expect(kept.compactMap { $0["score"] as? Double }.max() == chosen)
      }
      for (more, says) in [
        (["--trigger", trigger], "belong together"), (triggered + ["--insertion"], "choose by"),
        (["--top", "1"], "belong to --trigger"), (["--trigger", trigger, "--target", "10"], "there is no class 10"),
        (["--depths", "0"], "at least 1"),
      ] {
        let refused = try await CatenaProgram.run(Shipped.tuning(out: folder.file("none.json"), more))
        #expect(refused.exitCode == 64 && refused.errors.contains(says), "\(refused)")
      }
      let none = try await CatenaProgram.run(
        Shipped.tuning(Shipped.records + "#0", out: folder.file("none.json"), triggered))
      #expect(none.exitCode == 65 && none.errors.contains("turns none of the 1 images"), "\(none)")
    }

    @Test("a trigger's places are scored on the network and on traces of it, with a control")
    func trojan() async throws {
      let folder = try TemporaryFolder()
      let (trigger, target) = try await strongTrigger(folder)
      let result = try await CatenaProgram.run(
        Shipped.trojan(
          trigger: trigger,
          [
            "--target", "\(target)", "--control", Shipped.network, "--csv", folder.file("tables"), "--json", "--ratios",
            "uniform", "0.3",
          ]))
      #expect(result.exitCode == 0, "\(result)")
      let json = try result.json()
      for (list, names) in [("columns", ["dense", "fast", "exact"]), ("controls", ["control", "fast", "exact"])] {
        let columns = try #require(json[list] as? [[String: Any]])
        #expect(columns.compactMap { $0["name"] as? String } == names)
        for column in columns {
          let areas = try #require((column["areas"] as? [String: [Double]])?["saliency"])
          #expect(areas.count == 2 && areas.allSatisfy { (0...1).contains($0) })
        }
      }
      #expect(try folder.names.contains("tables"))
      let gains = String(decoding: try folder.bytes(of: "tables/trojan-gains.csv"), as: UTF8.self)
      #expect(gains.split(separator: "\n").count == 3 && gains.contains("gap_closed_lower"), "\(gains)")
      let none = try await CatenaProgram.run(
        Shipped.trojan(Shipped.records + "#0", trigger: trigger, ["--target", "\(target)", "--traces", "none"]))
      #expect(none.exitCode == 65 && none.errors.contains("turns none of the 1 images"), "\(none)")
    }
  }
}
