import COpenCL
import CatenaCompute
import Synchronization

/// Memory of one device, owned: its end gives the memory back to the pool it came from.
package struct DeviceBuffer: ~Copyable, Sendable {
  private let block: MemoryBlock
  private let pool: BufferPool

  fileprivate init(_ block: MemoryBlock, pool: BufferPool) {
    self.block = block
    self.pool = pool
  }

  /// The driver's object; valid while the buffer lives.
  package var memory: cl_mem { block.memory }
  /// The bytes it holds, at least as many as were asked for.
  package var byteCount: Int { block.byteCount }

  deinit { pool.giveBack(block) }
}

/// A driver's memory object; memory objects may be used from any thread.
private struct MemoryBlock: @unchecked Sendable {
  let memory: cl_mem
  let byteCount: Int
}

/// Memory of one device that is handed out again instead of being freed: progressive compaction compiles often.
package final class BufferPool: Sendable {
  /// What the pool has given out and keeps, in bytes.
  package struct Statistics: Sendable, Hashable {
    package var buffersInUse = 0
    package var bytesInUse = 0
    package var bytesKept = 0
  }
  private struct State: Sendable {
    var statistics = Statistics()
    var kept: [Int: [MemoryBlock]] = [:]
  }
  private let context: ContextHandle
  private let deviceName: String
  private let budget: Int
  private let largestAllocation: Int
  private let keepsMemory: Bool
  private let state = Mutex(State())

  /// A pool that never holds more than `budget` bytes; by default nine tenths of the device's memory.
  /// - Parameter keepsMemory: whether buffers are handed out again. Checks of memory need new ones, and none larger than
  ///   what was asked for.
  package init(_ context: ContextHandle, device: OpenCLDevice, budget: Int? = nil, keepsMemory: Bool = true) {
    self.context = context
    self.keepsMemory = keepsMemory
    deviceName = device.name
    largestAllocation = device.largestAllocation
    self.budget = budget ?? device.memory / 10 * 9
  }

  deinit { state.withLock { Self.releaseKept(&$0) } }

  /// The bytes that may still be asked for.
  var available: Int { budget - statistics.bytesInUse }

  /// What is in use and kept now.
  package var statistics: Statistics { state.withLock { $0.statistics } }

  /// A buffer of at least `byteCount` bytes with unspecified contents.
  package func allocate(_ byteCount: Int) throws(ComputeError) -> DeviceBuffer {
    let size = keepsMemory ? Self.sizeClass(byteCount, largest: largestAllocation) : max(byteCount, 1)
    let result: Result<MemoryBlock, ComputeError> = state.withLock { state in
      if let block = state.kept[size]?.popLast() {
        state.statistics.bytesKept -= size
        Self.note(block, in: &state)
        return .success(block)
      }
      if state.statistics.bytesInUse + state.statistics.bytesKept + size > budget { Self.releaseKept(&state) }
      let available = budget - state.statistics.bytesInUse
      guard size <= available else {
        return .failure(.outOfMemory(requested: size, available: available, device: deviceName))
      }
      var code: cl_int = CL_SUCCESS
      var memory = context.driver.createBuffer(context.context, size, &code)
      if memory == nil {
        // What is kept for later may be what is missing now; a driver that frees late may have room a second time.
        Self.releaseKept(&state)
        memory = context.driver.createBuffer(context.context, size, &code)
      }
      guard let memory else {
        switch code {
        case CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY, CL_INVALID_BUFFER_SIZE:
          return .failure(.outOfMemory(requested: size, available: available, device: deviceName))
        default:
          return .failure(
            .callFailed(
              call: "clCreateBuffer", code: openCLErrorName(code), device: deviceName, detail: "\(size) bytes"))
        }
      }
      let block = MemoryBlock(memory: memory, byteCount: size)
      Self.note(block, in: &state)
      return .success(block)
    }
    return DeviceBuffer(try result.get(), pool: self)
  }

  /// Frees what is kept for later.
  package func flush() { state.withLock { Self.releaseKept(&$0) } }

  fileprivate func giveBack(_ block: MemoryBlock) {
    state.withLock { state in
      state.statistics.buffersInUse -= 1
      state.statistics.bytesInUse -= block.byteCount
      guard keepsMemory else {
        clReleaseMemObject(block.memory)
        return
      }
      state.statistics.bytesKept += block.byteCount
      state.kept[block.byteCount, default: []].append(block)
    }
  }

  /// Sizes are rounded up to an eighth of their power of two, 4 KiB at least, so that kept buffers fit again; not beyond
  /// the `largest` that a device allocates.
  package static func sizeClass(_ byteCount: Int, largest: Int = .max) -> Int {
    let bytes = max(byteCount, 1)
    let power = Int.bitWidth - 1 - bytes.leadingZeroBitCount
    let granule = max(4096, 1 << max(power - 3, 0))
    return max(bytes, min((bytes + granule - 1) / granule * granule, largest))
  }

  private static func note(_ block: MemoryBlock, in state: inout State) {
    state.statistics.buffersInUse += 1
    state.statistics.bytesInUse += block.byteCount
  }

  private static func releaseKept(_ state: inout State) {
    for block in state.kept.values.joined() { clReleaseMemObject(block.memory) }
    state.kept = [:]
    state.statistics.bytesKept = 0
  }
}
