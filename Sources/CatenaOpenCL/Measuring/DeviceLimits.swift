import COpenCL
import CatenaCompute

/// What a device did with the simplest kernels: the limits that other kernels are measured against.
package struct DeviceLimits: Sendable, Codable, Hashable {
  /// Fused multiply-adds on registers, counted as two operations.
  package var gigaflopsPerSecond: Double
  /// A copy of a block much larger than the caches; bytes read and written.
  package var gigabytesPerSecond: Double

  private static let kernels = """
    kernel WORK_GROUP void multiply_add(global float *result, const int rounds) {
      floatv sums[8];
      const floatv factor = (floatv)(1.0f - 1e-6f * (float)get_local_id(0));
      #pragma unroll
      for (int i = 0; i < 8; ++i) sums[i] = (floatv)((float)(get_global_id(0) + i));
      for (int round = 0; round < rounds; ++round) {
        #pragma unroll
        for (int i = 0; i < 8; ++i) sums[i] = fma(sums[i], factor, factor);
      }
      floatv total = sums[0];
      #pragma unroll
      for (int i = 1; i < 8; ++i) total += sums[i];
      store_lanes(total, result + get_global_id(0) * LANES, LANES);
    }

    kernel WORK_GROUP void copy_block(const global float *source, global float *target, const int count) {
      const int begin = get_global_id(0) * RUN;
      const int end = min(begin + RUN, count);
      for (int index = begin; index < end; ++index)
        JOIN(vstore, LANES)(JOIN(vload, LANES)(index, source), index, target);
    }
    """

  /// Measures the device of `context`, which nothing else should use meanwhile; the fastest of some runs counts.
  /// - Parameter bytes: the size of the block that is copied.
  package static func measured(on context: OpenCLContext, bytes: Int = 256 << 20) throws(ComputeError) -> DeviceLimits {
    let traits = context.traits.device
    let program = try context.programs.program(
      named: "limits", source: KernelFamily.commonSource + "\n" + kernels, options: traits.buildOptions)
    let vector = traits.lanes * 4
    let block = min(bytes, context.device.largestAllocation / 8) / vector * vector
    let source = try context.pool.allocate(block)
    let target = try context.pool.allocate(block)
    let memory = (source: source.memory, target: target.memory)
    let queue = try CommandQueue(context, profiles: true)
    func seconds(
      _ kernel: String, _ arguments: [KernelArgument], workItems: Int
    ) throws(ComputeError) -> Double {
      let launch = try PreparedLaunch(
        kernel, in: program, arguments: arguments, workItems: workItems, groupSize: traits.groupSize,
        device: context.device.name)
      var best = Double.infinity
      for _ in 0..<6 {
        let marker = try queue.enqueueProfiled(launch)
        try marker.wait()
        best = min(best, try marker.seconds())
      }
      return best
    }
    // As many work-items as the target has room for, and all units busy.
    let workItems = min(context.device.computeUnits * 32 * traits.groupSize, block / vector)
    let rounds = 4096
    let sums = try seconds(
      "multiply_add", [.memory(memory.target), .integers([Int32(rounds)])], workItems: workItems)
    let vectors = block / vector
    let copy = try seconds(
      "copy_block", [.memory(memory.source), .memory(memory.target), .integers([Int32(vectors)])],
      workItems: dividedUp(vectors, traits.run))
    _ = consume source
    _ = consume target
    return DeviceLimits(
      gigaflopsPerSecond: 2 * 8 * Double(traits.lanes * workItems * rounds) / sums * 1e-9,
      gigabytesPerSecond: 2 * Double(block) / copy * 1e-9)
  }

  /// The least seconds that a kernel can take.
  package func seconds(_ record: KernelRecord) -> Double {
    max(Double(record.operations) / (gigaflopsPerSecond * 1e9), Double(record.bytes) / (gigabytesPerSecond * 1e9))
  }
}
