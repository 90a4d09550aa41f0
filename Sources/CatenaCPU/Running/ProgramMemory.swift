import CatenaCompute
import Foundation

/// The memory of one program; what lasts is zeroed.
final class ProgramMemory: @unchecked Sendable {
  private let constants: MemoryRegion
  private let persistent: MemoryRegion
  private let intermediates: MemoryRegion
  private let scratchRegion: MemoryRegion

  /// - Parameter lender: another memory of the same plan, whose constants are read instead of own ones.
  init(_ plan: MemoryPlan, sharing lender: ProgramMemory? = nil) throws(ComputeError) {
    func region(_ bytes: Int) throws(ComputeError) -> MemoryRegion {
      if let region = MemoryRegion(bytes) { return region }
      throw .outOfMemory(
        requested: plan.total, available: Int(clamping: ProcessInfo.processInfo.physicalMemory), device: deviceName)
    }
    persistent = try region(plan.persistent)
    intermediates = try region(plan.intermediates)
    scratchRegion = try region(plan.scratch)
    if let lender { constants = lender.constants } else { constants = try region(plan.constants) }
    memset(persistent.start, 0, plan.persistent)
  }

  var scratch: UnsafeMutableRawPointer { scratchRegion.start }

  func address(_ region: MemoryAssignment.Region, _ offset: Int) -> UnsafeMutableRawPointer {
    switch region {
    case .constants: constants.start + offset
    case .persistent: persistent.start + offset
    case .intermediates: intermediates.start + offset
    }
  }
}

/// A piece of memory. Large ones are the system's own pages, which it gets back at once: a search makes one program after
/// the other, each smaller than the one before, and the heap would keep the places that none fits into any more.
private final class MemoryRegion: @unchecked Sendable {
  let start: UnsafeMutableRawPointer
  private let mappedBytes: Int

  private static let leastMapped = 8 << 20

  /// `nil` where there is no memory.
  init?(_ bytes: Int) {
    let isMapped = bytes >= Self.leastMapped
    mappedBytes = isMapped ? bytes : 0
    if isMapped {
      let found = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
      guard let found, found != MAP_FAILED else { return nil }
      start = found
    } else {
      guard let found = aligned_alloc(64, max(64, bytes)) else { return nil }
      start = found
    }
  }

  deinit {
    if mappedBytes > 0 { munmap(start, mappedBytes) } else { free(start) }
  }
}
