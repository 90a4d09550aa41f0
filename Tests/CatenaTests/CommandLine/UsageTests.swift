import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  @Suite("usage")
  struct Usage {
    struct Mistake: Sendable, CustomTestStringConvertible {
      var arguments: [String]
      var says: String
      var testDescription: String { arguments.joined(separator: " ") }
    }

    @Test(
      "mistakes are explained",
      arguments: [
        Mistake(arguments: ["--keep", "0"], says: "above 0% and at most 100%"),
        Mistake(arguments: ["--keep", "0%"], says: "above 0% and at most 100%"),
        Mistake(arguments: ["--keep=-5%"], says: "above 0% and at most 100%"),
        Mistake(arguments: ["--keep", "200%"], says: "above 0% and at most 100%"),
        Mistake(arguments: ["--keep", "nan"], says: "above 0% and at most 100%"),
        Mistake(arguments: ["--keep", "many"], says: "5% or 0.05"),
        Mistake(arguments: ["--keep", "0.0001%"], says: "the smallest connected chain of this network has"),
        Mistake(arguments: ["--agreement", "101%"], says: "above 0% and at most 100%"),
        Mistake(arguments: [], says: "--keep (such as 5%), --agreement (such as 95%)"),
        Mistake(arguments: ["--keep", "50%", "--preprocess", "nonsense"], says: "known are imagenet"),
        Mistake(arguments: ["--keep", "50%", "--device", "abacus"], says: "'reference'"),
        Mistake(arguments: ["--keep", "50%", "--steps", "0"], says: "--steps must be at least 1"),
        Mistake(arguments: ["--keep", "50%", "--batch", "0"], says: "--batch must be at least 1"),
        Mistake(arguments: ["--keep", "50%", "--threads", "0"], says: "--threads must be at least 1"),
        Mistake(arguments: ["--keep", "50%", "--threads", "100000"], says: "--threads must be at most 4096"),
        Mistake(arguments: ["--keep", "50%", "--steps", "\(Int.max)"], says: "--steps must be at most 1000000000"),
        Mistake(arguments: ["--keep", "50%", "--device", "reference", "--threads", "2"], says: "leave out --threads"),
        Mistake(arguments: ["--keep", "50%", "--memory", "plenty"], says: "500M or 4G"),
        Mistake(arguments: ["--keep", "50%", "--sideways"], says: "--sideways"),
      ])
    func mistakes(_ mistake: Mistake) async throws {
      let folder = try TemporaryFolder()
      let result = try await CatenaProgram.run(
        [
          "chain", Shipped.network, Shipped.records, "--out", folder.file("chain"),
          mistake.arguments.contains("--preprocess") ? "" : "--preprocess=raw",
        ].filter { !$0.isEmpty } + mistake.arguments)
      #expect(result.exitCode == 64 && !result.isSignalled, "\(result)")
      #expect(result.errors.contains(mistake.says), "\(result)")
      #expect(try folder.names == [])
    }

    @Test("options that nothing would read are refused")
    func unread() async throws {
      let chain = ["evaluate", "chain", Shipped.network, "--images", Shipped.records, "--keep", "50%"]
      let trojan = ["evaluate", "trojan", Shipped.network, Shipped.records, "--trigger", "t.npy", "--target", "1"]
      let mistakes: [([String], String)] = [
        (chain + ["--regions", "r.json", "--classes", "2"], "belong to --draw"),
        (chain + ["--draw", "1", "--repeats", "3", "--analyses", "fidelity"], "belongs to --analyses stability"),
        (chain + ["--draw", "1", "--unseen", "x", "--analyses", "fidelity"], "belongs to --analyses unseen"),
        (trojan + ["--traces", "fast,fast"], "names a solver twice"),
        (trojan + ["--traces", "fast", "--blocks", "tap"], "belong to traces by the exact solver"),
        (trojan + ["--left", "\(Int.max)"], "--left counts pixels from 0"),
        (["verify", "chain", Shipped.network, "--precision", "bf16"], "leave out --precision"),
      ]
      for (arguments, says) in mistakes {
        let result = try await CatenaProgram.run(arguments)
        #expect(result.exitCode == 64 && result.errors.contains(says), "\(arguments): \(result)")
      }
    }

    @Test("a file that is read is not replaced, and a file without a name not begun")
    func outputs() async throws {
      let folder = try TemporaryFolder()
      let network = folder.file("network.onnx")
      try FileManager.default.copyItem(atPath: Shipped.network, toPath: network)
      for out in [network, ""] {
        let result = try await CatenaProgram.run([
          "tune-ratios", network, "\(Shipped.records)#0", "--preprocess", "raw", "--out", out, "--overwrite",
        ])
        #expect(result.exitCode == 64, "\(result)")
      }
      #expect(try folder.names == ["network.onnx"])
      #expect(FileManager.default.contentsEqual(atPath: network, andPath: Shipped.network))
    }

    @Test("regions whose chains agree on too little end in code 2, with everything printed")
    func regionsNotMet() async throws {
      let result = try await CatenaProgram.run([
        "evaluate", "chain", Shipped.network, "--images", Shipped.records, "--preprocess", "raw", "--draw", "1",
        "--per-class", "2", "--keep", "1%", "--agreement", "100%", "--steps", "2", "--analyses", "fidelity", "--json",
      ])
      #expect(result.exitCode == 2 && result.errors.contains("1 of 1 chains agree on less"), "\(result)")
      #expect(try !result.json().isEmpty)
    }

    @Test("a closed terminal and a second Ctrl-C leave nothing behind", arguments: ["HUP", "INT INT"])
    func signals(_ signals: String) async throws {
      let folder = try TemporaryFolder()
      let result = try await CatenaProgram.shell(
        #"""
        "$catena" chain "$1" "$2" --preprocess raw --keep 50% --steps 100000 --out "$3" & pid=$!
        until ls "$3".tmp-* > /dev/null 2>&1; do kill -0 $pid || exit 1; sleep 0.05; done
        sleep 0.3; for signal in \#(signals); do kill -$signal $pid; sleep 0.01; done; wait $pid
        """#, [Shipped.network, Shipped.records, folder.file("chain")])
      #expect(result.exitCode == 75, "\(result)")
      #expect(try folder.names == [])
    }

    @Test("a device that is not there is an error, not a crash")
    func noDevice() async throws {
      let result = try await CatenaProgram.run([
        "run", Shipped.network, Shipped.records, "--preprocess", "raw", "--device", "opencl:999",
      ])
      #expect(result.exitCode == 1 && result.errors.contains("no device"), "\(result)")
    }

    @Test("a memory limit that is too small names the knobs")
    func memoryLimit() async throws {
      let result = try await CatenaProgram.run([
        "run", Shipped.network, Shipped.records, "--preprocess", "raw", "--memory", "10K",
      ])
      #expect(result.exitCode == 1 && result.errors.contains("--memory"), "\(result)")
    }

    @Test("help has examples, what inputs may be and the presets", arguments: ["run", "chain"])
    func help(_ command: String) async throws {
      let result = try await CatenaProgram.run([command, "--help"])
      #expect(result.exitCode == 0)
      for part in ["Example", "catena \(command) ", "records.bin#LIST", "imagenet ", "cifar10-own", "squeezenet"] {
        #expect(result.output.contains(part), "'\(part)' is not in: \(result.output)")
      }
    }

    @Test("the operators are listed")
    func operators() async throws {
      let table = try await CatenaProgram.run(["operators"])
      #expect(table.exitCode == 0)
      #expect(table.output.contains("| Conv | 7-22 |"), "\(table)")
      let list = try await CatenaProgram.run(["operators", "--json"])
      let names = try #require(try list.json()["operators"] as? [[String: Any]]).compactMap {
        $0["operatorType"] as? String
      }
      #expect(names.contains("Conv") && names.contains("Gelu"))
      let empty = try TemporaryFolder()
      let none = try await CatenaProgram.run(["operators", "--node-tests", empty.path])
      #expect(none.exitCode == 65 && none.errors.contains("holds no node test"), "\(none)")
    }

    @Test("output for machines is JSON")
    func json() async throws {
      for arguments in [["devices"], ["inspect", Shipped.network]] {
        let result = try await CatenaProgram.run(arguments + ["--json"])
        #expect(result.exitCode == 0, "\(result)")
        #expect(try !result.json().isEmpty)
      }
      let run = try await CatenaProgram.run(["run", Shipped.network, Shipped.records, "--preprocess", "raw", "--json"])
      let predictions = try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [[String: Any]]
      #expect(predictions?.count == 20, "\(run)")
    }

    @Test("a reader that leaves early is no error")
    func closedPipe() async throws {
      let inspect = try await CatenaProgram.shell(
        #""$catena" inspect "$1" --nodes | head -n 1; exit "${PIPESTATUS[0]}""#, [Shipped.otherNetwork])
      #expect(inspect.exitCode == 0 && inspect.errors.isEmpty, "\(inspect)")
      #expect(inspect.output.hasPrefix("input"))
      let closed = try await CatenaProgram.shell(
        #"{ sleep 0.2; "$catena" devices; echo $? >&2; } | true"#)
      #expect(closed.errors == "0\n", "\(closed)")
    }

    @Test("output that cannot be written is an error")
    func fullOutput() async throws {
      let result = try await CatenaProgram.shell(#""$catena" devices > /dev/full"#)
      #expect(result.exitCode == 1 && result.errors.contains("standard output"), "\(result)")
    }
  }
}
