import CatenaFormats
import CatenaTensors
import Foundation
import TestSupport
import Testing

@Suite("Damaged files never crash the readers")
struct MutationTests {
  private static let inputs: [String] = {
    do {
      return try Goldens.everyInput
    } catch {
      preconditionFailure("the golden files cannot be listed: \(error)")
    }
  }()

  private func read(_ bytes: [UInt8], as name: String) throws(FileError) {
    switch name.split(separator: ".").last {
    case "npy": _ = try NPY.decode(bytes, path: name)
    case "npz": _ = try NPZ.decode(bytes, path: name)
    case "safetensors": _ = try Safetensors.decode(bytes, path: name)
    case "bin": _ = try CIFAR10File(bytes, path: name)[0].image
    default: _ = try Image.decode(bytes, path: name)
    }
  }

  @Test("Every golden file, changed in some bytes, cut or extended", arguments: inputs)
  func goldens(path: String) throws {
    try mutate(Goldens.bytes(path), name: path, rounds: 60)
  }

  @Test("Safetensors and CIFAR-10 records", arguments: ["x.safetensors", "x.bin"])
  func others(name: String) throws {
    let folder = try TemporaryFolder()
    let tensors = [
      NamedTensor(name: "a", tensor: Tensor(zeros: [2, 3])), NamedTensor(name: "b", tensor: Tensor(scalar: true)),
    ]
    try Safetensors(tensors: tensors, metadata: ["k": "v"]).write(to: folder.file("x.safetensors"))
    try folder.write([UInt8](repeating: 3, count: 2 * 3073), to: "x.bin")
    try mutate(folder.bytes(of: name), name: name, rounds: 1500)
  }

  private func mutate(_ original: [UInt8], name: String, rounds: Int) throws {
    try read(original, as: name)
    var random = SeededGenerator(seed: 0x5eed)
    for round in 0..<rounds {
      var bytes = original
      for _ in 0..<Int.random(in: 1...6, using: &random) { change(&bytes, &random) }
      // A reader may accept harmless changes; what it throws is typed, so nothing more is to be checked than that it
      // comes back and that its message names the file.
      let error = fileError { () throws(FileError) in try read(bytes, as: name) }
      if let error { #expect(error.path.hasPrefix(name), "round \(round): \(error)") }
    }
  }

  private func change(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
    guard !bytes.isEmpty else { return }
    // Headers stand in front: half of the changes go there.
    let reach = Bool.random(using: &random) ? min(bytes.count, 120) : bytes.count
    let position = Int.random(in: 0..<reach, using: &random)
    switch Int.random(in: 0..<10, using: &random) {
    case 0: bytes.removeLast(Int.random(in: 1...bytes.count, using: &random))
    case 1: bytes.append(contentsOf: (0..<4).map { _ in UInt8.random(in: 0...255, using: &random) })
    case 2: bytes.remove(at: position)
    case 3: bytes.insert(UInt8.random(in: 0...255, using: &random), at: position)
    case 4, 5: bytes[position] = [0, 1, 0x7f, 0x80, 0xff][Int.random(in: 0..<5, using: &random)]
    case 6: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    default: bytes[position] = UInt8.random(in: 0...255, using: &random)
    }
  }
}
