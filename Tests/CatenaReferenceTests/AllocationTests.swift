import TestSupport
import Testing

// The counter counts the whole process, and tests run side by side: only lower bounds can be said here.
@Suite("Allocation counter", .serialized)
struct AllocationTests {
  @Test("allocations are seen")
  func counts() {
    let count = Allocations.counted {
      for size in 1...100 {
        let pointer = UnsafeMutableRawPointer.allocate(byteCount: size * 1000, alignment: 64)
        pointer.storeBytes(of: 1, as: UInt8.self)
        pointer.deallocate()
      }
    }
    #expect(count.allocations >= 100)
    #expect(count.bytes >= 5_050_000)
  }

  @Test("what stays and the peak are seen")
  func peak() {
    // So large that the noise of other tests does not matter.
    let size = 1 << 28
    var kept: UnsafeMutableRawPointer?
    let count = Allocations.counted {
      for _ in 0..<3 {
        UnsafeMutableRawPointer.allocate(byteCount: 2 * size, alignment: 64).deallocate()
      }
      kept = .allocate(byteCount: size, alignment: 64)
    }
    kept?.deallocate()
    let noise = size / 4
    #expect(abs(count.heldBytes - size) < noise)
    #expect(abs(count.peakBytes - 2 * size) < noise)
  }
}
