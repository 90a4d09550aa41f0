import COneDNN
import CatenaCompute
import Foundation

/// What the processor did with the simplest loops: the limits that kernels are measured against.
package struct ProcessorLimits: Sendable, Codable, Hashable {
  /// A copy again and again of the same block.
  package struct Copy: Sendable, Codable, Hashable {
    /// Bytes read and written, once.
    package var bytes: Int
    package var gigabytesPerSecond: Double

    /// A copy that was timed.
    package init(bytes: Int, gigabytesPerSecond: Double) {
      self.bytes = bytes
      self.gigabytesPerSecond = gigabytesPerSecond
    }
  }
  /// The processor, with the threads that were used.
  package var device: DeviceDescription
  /// Fused multiply-adds in f32 on registers, counted as two operations.
  package var gigaflopsPerSecond: Double
  /// Copies, each of four times as many bytes as the one before; the last is much larger than the caches.
  package var copies: [Copy]

  /// Limits that were measured.
  /// - Precondition: There is a copy.
  package init(device: DeviceDescription, gigaflopsPerSecond: Double, copies: [Copy]) {
    precondition(!copies.isEmpty, "limits need a copy")
    self.device = device
    self.gigaflopsPerSecond = gigaflopsPerSecond
    self.copies = copies
  }

  /// The least seconds that a kernel can take; what it reads may be in the smallest cache that holds it.
  package func seconds(operations: Int, bytes: Int) -> Double {
    let copy = copies.first { $0.bytes >= bytes } ?? copies[copies.count - 1]
    return max(Double(operations) / gigaflopsPerSecond, Double(bytes) / copy.gigabytesPerSecond) * 1e-9
  }

  /// The limits in a line.
  package var description: String {
    let rates = copies.map { String(format: "%.1f (%@)", $0.gigabytesPerSecond, Self.size($0.bytes)) }
    return String(format: "%.1f GFLOP/s, copies at %@ GB/s", gigaflopsPerSecond, rates.joined(separator: ", "))
  }

  private static func size(_ bytes: Int) -> String { bytes < 1 << 20 ? "\(bytes >> 10) KiB" : "\(bytes >> 20) MiB" }
}

extension CPUBackend {
  /// Measures the processor, which nothing else should use meanwhile; the fastest of some runs counts.
  /// - Parameter largest: The bytes that the largest copy reads and writes.
  package func limits(largest: Int = 512 << 20) async -> ProcessorLimits {
    let meter = LimitMeter(thread: driver())
    let rate = await meter.gigaflopsPerSecond(threads: device.threads)
    var copies: [ProcessorLimits.Copy] = []
    for bytes in sequence(first: 128 << 10, next: { $0 * 4 }).prefix(while: { $0 < largest }) + [largest] {
      copies.append(ProcessorLimits.Copy(bytes: bytes, gigabytesPerSecond: await meter.copyRate(bytes: bytes)))
    }
    return ProcessorLimits(device: device, gigaflopsPerSecond: rate, copies: copies)
  }
}

/// Measures on the team that runs programs.
private actor LimitMeter {
  private nonisolated let thread: OwnedThread
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  init(thread: OwnedThread) { self.thread = thread }

  func gigaflopsPerSecond(threads: Int) -> Double {
    [true, false].map { isWide in
      var operations = 0.0
      let seconds = fastest { operations = 2 * Double(threads) * Double(catena_multiply_adds(1 << 20, isWide)) }
      return operations / seconds * 1e-9
    }.max() ?? 0
  }

  func copyRate(bytes: Int) -> Double {
    let block = bytes / 2
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * block, alignment: 4096)
    defer { memory.deallocate() }
    guard let source = memory.baseAddress else { return 0 }
    memory.initializeMemory(as: UInt8.self, repeating: 1)
    // Small ones often enough for a clock.
    let times = max((16 << 20) / bytes, 1)
    let seconds = fastest { catena_copy_block(source + block, source, Int64(block), Int64(times)) }
    return Double(times) * Double(2 * block) / seconds * 1e-9
  }

  private func fastest(_ job: () -> Void) -> Double {
    (0..<12).map { _ in
      let start = ContinuousClock.now
      job()
      return start.duration(to: .now) / .seconds(1)
    }.min() ?? .infinity
  }
}
