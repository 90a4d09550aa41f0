import CatenaCPU
import CatenaCompute
import Testing

struct ProcessorLimitsTests {
  typealias Copy = ProcessorLimits.Copy

  private let limits = ProcessorLimits(
    device: CPUBackend(threads: 1).device, gigaflopsPerSecond: 100,
    copies: [Copy(bytes: 1_000, gigabytesPerSecond: 50), Copy(bytes: 1_000_000, gigabytesPerSecond: 10)])

  /// The larger of arithmetic and copying, at the rate of the smallest copy that is no smaller.
  @Test func kernelIsBoundByWhatTakesLonger() {
    #expect(abs(limits.seconds(operations: 100_000, bytes: 1_000) - 1e-6) < 1e-15)
    #expect(abs(limits.seconds(operations: 0, bytes: 1_000) - 2e-8) < 1e-17)
    #expect(abs(limits.seconds(operations: 100, bytes: 1_001) - 1.001e-7) < 1e-16)
    #expect(abs(limits.seconds(operations: 0, bytes: 4_000_000) - 4e-4) < 1e-13)
  }

  @Test(arguments: [1, 2])
  func processorIsMeasured(threads: Int) async {
    let limits = await CPUBackend(threads: threads).limits(largest: 8 << 20)
    #expect(limits.copies.map(\.bytes) == [128 << 10, 512 << 10, 2 << 20, 8 << 20])
    #expect(limits.device.threads == threads)
    // Any processor does more than a multiply-add and a byte a nanosecond; none of today's does that many.
    #expect(limits.gigaflopsPerSecond > 1 && limits.gigaflopsPerSecond < 2_000 * Double(threads))
    for copy in limits.copies { #expect(copy.gigabytesPerSecond > 0.1 && copy.gigabytesPerSecond < 5_000) }
  }
}
