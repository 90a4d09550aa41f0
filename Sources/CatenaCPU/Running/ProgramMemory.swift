import CatenaCompute
import Foundation

/// The memory of one program; what lasts is zeroed.
final class ProgramMemory: @unchecked Sendable {
  private let constants: UnsafeMutableRawPointer
  private let persistent: UnsafeMutableRawPointer
  private let intermediates: UnsafeMutableRawPointer
  let scratch: UnsafeMutableRawPointer
  /// Whose constants these are, if not its own.
  private let lender: ProgramMemory?

  /// - Parameter lender: another memory of the same plan, whose constants are read instead of own ones.
  init(_ plan: MemoryPlan, sharing lender: ProgramMemory? = nil) throws(ComputeError) {
    var pointers: [UnsafeMutableRawPointer] = []
    for bytes in [plan.persistent, plan.intermediates, plan.scratch] + (lender == nil ? [plan.constants] : []) {
      guard let pointer = aligned_alloc(64, max(64, bytes)) else {
        pointers.forEach { free($0) }
        throw .outOfMemory(
          requested: plan.total, available: Int(clamping: ProcessInfo.processInfo.physicalMemory), device: deviceName)
      }
      pointers.append(pointer)
    }
    memset(pointers[0], 0, plan.persistent)
    (persistent, intermediates, scratch) = (pointers[0], pointers[1], pointers[2])
    constants = lender?.constants ?? pointers[3]
    self.lender = lender
  }

  deinit {
    for pointer in [persistent, intermediates, scratch] + (lender == nil ? [constants] : []) { free(pointer) }
  }

  func address(_ region: MemoryAssignment.Region, _ offset: Int) -> UnsafeMutableRawPointer {
    switch region {
    case .constants: constants + offset
    case .persistent: persistent + offset
    case .intermediates: intermediates + offset
    }
  }
}
