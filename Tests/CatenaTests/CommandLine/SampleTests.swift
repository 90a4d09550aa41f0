import Foundation
import TestSupport
import Testing

/// Inputs that cannot become samples of the network.
struct BrokenSample: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var says: String
  var exitCode: Int32 = 65
  /// What is given, made in the folder where need be.
  var arguments: @Sendable (TemporaryFolder) throws -> [String]

  static let all: [BrokenSample] = [
    BrokenSample(testDescription: "missing image", says: "no such file") { [$0.file("none.png")] },
    BrokenSample(testDescription: "empty folder", says: "it is empty") { folder in
      try FileManager.default.createDirectory(atPath: folder.file("images"), withIntermediateDirectories: false)
      return [folder.file("images")]
    },
    BrokenSample(testDescription: "text as image", says: "images (PNG, JPEG)") {
      [try $0.write(Array("no image\n".utf8), to: "photo.png")]
    },
    BrokenSample(testDescription: "truncated PNG", says: "photo.png") {
      [try $0.write(half(of: "rgb16.png"), to: "photo.png")]
    },
    BrokenSample(testDescription: "truncated JPEG", says: "photo.jpg") {
      [try $0.write(half(of: "rgb420.jpg"), to: "photo.jpg")]
    },
    BrokenSample(testDescription: "records of a wrong length", says: "3073") {
      [try $0.write(Data(contentsOf: URL(filePath: Shipped.records)).dropLast(), to: "records.bin")]
    },
    BrokenSample(testDescription: "a record that is not there", says: "counted from 0", exitCode: 64) { _ in
      [Shipped.records + "#100000"]
    },
    BrokenSample(testDescription: "a selection that is none", says: "#12,17,40-49", exitCode: 64) { _ in
      [Shipped.records + "#a-b"]
    },
    BrokenSample(testDescription: "images of another size", says: "choose another --preprocess") { _ in
      [Shipped.images + "/geyser_1.png"]
    },
    BrokenSample(testDescription: "images of different sizes", says: "choose a preprocessing that resizes") { _ in
      [Shipped.records + "#0", Shipped.images + "/geyser_1.png"]
    },
    BrokenSample(testDescription: "another network's preprocessing", says: "choose another --preprocess") { _ in
      [Shipped.records, "--preprocess", "imagenet"]
    },
    BrokenSample(testDescription: "unknown preprocessing", says: "cifar10", exitCode: 64) { _ in
      [Shipped.records, "--preprocess", "nonsense"]
    },
    BrokenSample(testDescription: "missing preprocessing file", says: "no such file") {
      [Shipped.records, "--preprocess", $0.file("none.json")]
    },
    BrokenSample(testDescription: "preprocessing that is no JSON", says: "no valid JSON") {
      [Shipped.records, "--preprocess", try $0.write(Array("{".utf8), to: "broken.json")]
    },
    BrokenSample(testDescription: "an array of another shape", says: "the network takes") {
      [try $0.write(npy(shape: "(1, 3, 8, 8)", count: 192), to: "array.npy")]
    },
  ]

  private static func half(of golden: String) throws -> Data {
    let whole = try Data(contentsOf: Assets.goldens.appending(path: "Images/\(golden)"))
    return whole.prefix(whole.count / 2)
  }

  /// A .npy file of zeros.
  private static func npy(shape: String, count: Int) -> [UInt8] {
    var header = "{'descr': '<f4', 'fortran_order': False, 'shape': \(shape), }"
    header += String(repeating: " ", count: 64 - (10 + header.utf8.count + 1) % 64) + "\n"
    let length = header.utf8.count
    return [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(length % 256), UInt8(length / 256)] + Array(header.utf8)
      + [UInt8](repeating: 0, count: 4 * count)
  }
}

extension CommandLineTests {
  @Suite("samples")
  struct Samples {
    @Test("that do not fit are refused", arguments: BrokenSample.all)
    func areRefused(_ broken: BrokenSample) async throws {
      let folder = try TemporaryFolder()
      let given = try broken.arguments(folder)
      let before = try folder.names
      // What is given comes behind the defaults, so that a --preprocess in it counts.
      for command in [
        ["run", Shipped.network, "--preprocess", "raw"],
        [
          "chain", Shipped.network, "--preprocess", "raw", "--keep", "50%", "--steps", "2", "--out",
          folder.file("chain"),
        ],
      ] {
        let result = try await CatenaProgram.run(command + given)
        #expect(result.exitCode == broken.exitCode && !result.isSignalled, "\(result)")
        #expect(result.errors.contains(broken.says), "\(result)")
        #expect(result.output.isEmpty)
        #expect(try folder.names == before)
      }
    }

    @Test("predictions carry the labels")
    func labels() async throws {
      let labels = Assets.samples.appending(path: "labels/cifar10_labels.txt").path
      let result = try await CatenaProgram.run([
        "run", Shipped.network, Shipped.records + "#0-1", "--preprocess", "raw", "--labels", labels, "--top", "1",
      ])
      #expect(result.exitCode == 0, "\(result)")
      let names = try String(contentsOfFile: labels, encoding: .utf8).split(separator: "\n")
      let lines = result.output.split(separator: "\n")
      #expect(lines.count == 2)
      for line in lines { #expect(names.contains { line.contains($0) }, "\(line)") }

      let missing = try await CatenaProgram.run([
        "run", Shipped.network, Shipped.records, "--preprocess", "raw", "--labels", "/none.txt",
      ])
      #expect(missing.exitCode == 65 && missing.errors.contains("/none.txt"), "\(missing)")
    }
  }
}
