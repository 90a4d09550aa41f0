import CatenaTensors
import Testing

@Suite("BFloat16")
struct BFloat16Tests {
  @Test(
    "rounds to nearest, ties to even",
    arguments: [
      (Float(1), 0x3f80), (-2, 0xc000), (1 + 0x1p-8, 0x3f80), (1 + 0x1p-7, 0x3f81), (1 + 0x1p-7 + 0x1p-8, 0x3f82),
      (1 + 0x1p-8 + 0x1p-20, 0x3f81), (0, 0x0000), (-0.0, 0x8000), (.infinity, 0x7f80),
      (Float.greatestFiniteMagnitude, 0x7f80), (0x1p-149, 0x0000), (0x1p-133, 0x0001),
    ] as [(Float, UInt16)])
  func rounding(_ value: Float, _ bits: UInt16) {
    #expect(BFloat16(value).bitPattern == bits)
  }

  @Test("a double is rounded once")
  func roundingFromDouble() {
    // Rounded to Float first, these would become ties that go to even.
    #expect(BFloat16(rounding: 1 + 0x1p-8 + 0x1p-40).bitPattern == 0x3f81)
    #expect(BFloat16(rounding: 1 + 0x1p-7 + 0x1p-8 - 0x1p-40).bitPattern == 0x3f81)
    #expect(BFloat16(rounding: -1 - 0x1p-8 - 0x1p-40).bitPattern == 0xbf81)
    #expect(BFloat16(rounding: 0x1p-134 + 0x1p-170).bitPattern == 0x0001)
    #expect(BFloat16(rounding: 1e-300).bitPattern == 0)
    #expect(BFloat16(rounding: 1e300).bitPattern == 0x7f80)
    #expect(BFloat16(rounding: Double.nan).float.isNaN)
    #expect(BFloat16(rounding: 0.1) == BFloat16(Float(0.1)))
  }

  @Test("NaN stays NaN, whatever its payload")
  func notANumber() {
    #expect(BFloat16(.nan).float.isNaN)
    #expect(BFloat16(Float(bitPattern: 0x7f80_0001)).float.isNaN)
    #expect(BFloat16(Float(bitPattern: 0xffff_ffff)).float.isNaN)
  }

  @Test("every number returns unchanged")
  func roundTrip() {
    for bits in UInt16.min...UInt16.max where !BFloat16(bitPattern: bits).float.isNaN {
      if BFloat16(BFloat16(bitPattern: bits).float).bitPattern != bits { Issue.record("\(bits) changes") }
    }
  }
}

@Suite("SeededGenerator")
struct SeededGeneratorTests {
  @Test("the sequence is the published algorithm's")
  func sequence() {
    // xoshiro256** with the state that SplitMix64 makes from the seed, computed with the authors' C code.
    for (seed, expected) in published {
      var generator = SeededGenerator(seed: seed)
      #expect((0..<4).map { _ in generator.next() } == expected)
    }
  }

  @Test("uniform numbers fill [0, 1) evenly")
  func uniform() {
    var generator = SeededGenerator(seed: 1)
    var counts = [Int](repeating: 0, count: 10)
    for _ in 0..<10_000 {
      let value = generator.uniform()
      guard (0..<1).contains(value) else {
        Issue.record("\(value) is outside [0, 1)")
        return
      }
      counts[Int(value * 10)] += 1
    }
    // The standard deviation of a count is 30: five of them.
    #expect(counts.allSatisfy { abs($0 - 1000) < 150 }, "\(counts)")
  }
}

private let published: KeyValuePairs<UInt64, [UInt64]> = [
  0: [0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x1a5f849d4933e6e0, 0x6aa594f1262d2d2c],
  1: [0xb3f2af6d0fc710c5, 0x853b559647364cea, 0x92f89756082a4514, 0x642e1c7bc266a3a7],
  42: [0x15780b2e0c2ec716, 0x6104d9866d113a7e, 0xae17533239e499a1, 0xecb8ad4703b360a1],
]
