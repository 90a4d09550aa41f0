import COpenCL
import CatenaCompute

/// Memory for slots, each a part of one of a few buffers from the pool.
final class DeviceArena {
  /// What a part is for: how many bytes and from which launch to which.
  typealias Request = (slot: SlotID, request: ArenaPlan.Request)

  private var blocks: [Block] = []
  private var parts: [SlotID: cl_mem] = [:]

  private final class Block {
    let buffer: DeviceBuffer
    init(_ buffer: consuming DeviceBuffer) { self.buffer = buffer }
  }

  /// Where the parts lie, before anything is reserved.
  struct Plan {
    let requests: [Request]
    let arena: ArenaPlan
    /// The bytes that the pool will give.
    let byteCount: Int

    init(_ requests: [Request], on device: OpenCLDevice) {
      self.requests = requests
      // The pool rounds up by an eighth at most.
      arena = ArenaPlan(
        requests.map(\.request), alignment: device.subBufferAlignment, blockLimit: device.largestAllocation / 9 * 8)
      byteCount = arena.blockSizes.reduce(0) { $0 + BufferPool.sizeClass($1, largest: device.largestAllocation) }
    }
  }

  init(_ planned: Plan, in context: OpenCLContext) throws(ComputeError) {
    let device = context.device
    let (requests, plan) = (planned.requests, planned.arena)
    for size in plan.blockSizes {
      blocks.append(Block(try context.pool.allocate(size)))
    }
    for (request, placement) in zip(requests, plan.placements) {
      var region = cl_buffer_region(origin: placement.offset, size: max(request.request.byteCount, 4))
      parts[request.slot] = try created("clCreateSubBuffer", device: device.name) { code in
        clCreateSubBuffer(
          blocks[placement.block].buffer.memory, cl_mem_flags(CL_MEM_READ_WRITE),
          cl_buffer_create_type(CL_BUFFER_CREATE_TYPE_REGION), &region, code)
      }
    }
  }

  deinit {
    for part in parts.values { clReleaseMemObject(part) }
  }

  /// The memory of a slot that this arena holds.
  subscript(slot: SlotID) -> cl_mem? { parts[slot] }
}
