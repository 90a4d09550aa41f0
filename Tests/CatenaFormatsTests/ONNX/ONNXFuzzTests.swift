import CatenaFormats
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

/// Seeded mutations of small models: whatever the bytes say, the answer is a model, a graph or a typed error.
@Suite("ONNX fuzzing")
struct ONNXFuzzTests {
  @Test("mutated files never crash", arguments: [UInt64(1), 2, 3, 4])
  func mutations(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    // Small networks, and one node of every operator.
    var sources: [[UInt8]] = [
      try ONNXHostileTests.small().proto.serializedBytes(),
      try ONNXSlicingTests.network(opset: 9).serialized(),
      try ONNXSlicingTests.network(opset: 13).serialized(),
    ]
    let forms = try #require(Assets.repositoryFile("Tests/Goldens/ONNX/forms.npz").url)
    for entry in try NPZ.read(forms.path) where entry.name.hasSuffix("/model") {
      sources.append(entry.tensor.elements(of: UInt8.self))
    }
    let clock = ContinuousClock()
    let end = clock.now.advanced(by: .seconds(1.5))
    var graphs = 0
    var errors = 0
    while clock.now < end {
      var bytes = sources[Int(generator.next() % UInt64(sources.count))]
      for _ in 0...generator.next() % 4 { mutate(&bytes, &generator) }
      do throws(ONNXError) {
        _ = try ONNXModel(data: bytes).graph(batch: 2)
        graphs += 1
      } catch { errors += 1 }
    }
    #expect(graphs > 0 && errors > 0)
  }

  /// Flips, replaces, removes, repeats or cuts bytes; extreme numbers stand for lengths and extents.
  private func mutate(_ bytes: inout [UInt8], _ generator: inout SeededGenerator) {
    guard !bytes.isEmpty else { return }
    let position = Int(generator.next() % UInt64(bytes.count))
    let extremes: [[UInt8]] = [
      [0], [0x7f], [0xff, 0xff, 0xff, 0xff, 0x07], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
      [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], [0x80, 0x80, 0x80, 0x80, 0x04],
    ]
    switch generator.next() % 6 {
    case 0: bytes[position] ^= 1 << UInt8(generator.next() % 8)
    case 1: bytes[position] = UInt8(truncatingIfNeeded: generator.next())
    case 2: bytes.removeSubrange(position..<min(bytes.count, position + 1 + Int(generator.next() % 4)))
    case 3: bytes.insert(contentsOf: bytes[position..<min(bytes.count, position + 8)], at: position)
    case 4: bytes.replaceSubrange(position...position, with: extremes[Int(generator.next() % UInt64(extremes.count))])
    default: if generator.next() % 8 == 0 { bytes.removeSubrange(position...) }
    }
  }
}
