import TestSupport
import Testing

// The counter counts the whole process, and tests run side by side: only lower bounds can be said here.
@Suite("Allocation counter")
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
}
