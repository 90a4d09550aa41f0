import COneDNN
import Testing

/// Kernels of our own keep to the scratch memory that they ask for.
struct ScratchTests {
  private static func problem(
    isBackward: Bool, batch: Int64, sources: Int64, results: Int64, size: Int64, kernel: Int64, stride: Int64
  ) -> catena_implicit_gemm {
    let large = size * stride
    return catena_implicit_gemm(
      is_backward_data: isBackward, batch: batch, source_channels: sources, destination_channels: results,
      source_height: isBackward ? size : large, source_width: isBackward ? size : large,
      destination_height: isBackward ? large : size, destination_width: isBackward ? large : size,
      kernel_height: kernel, kernel_width: kernel, row_stride: stride, column_stride: stride, row_dilation: 1,
      column_dilation: 1, pad_top: kernel / 2, pad_left: kernel / 2, reads_bfloat16: false, writes_bfloat16: false)
  }

  /// Phases of a gradient are of different depths: one below the largest chunk may have a larger one than the deepest.
  @Test(arguments: [(40, 7), (57, 5), (20, 7), (300, 3), (129, 3), (5, 3)] as [(Int64, Int64)], [false, true])
  func implicit(_ layer: (channels: Int64, kernel: Int64), _ isBackward: Bool) throws {
    let problem = Self.problem(
      isBackward: isBackward, batch: 4, sources: layer.channels, results: 20, size: 9, kernel: layer.kernel, stride: 2)
    try expectNothingBehind(
      problem, scratch: catena_implicit_gemm_scratch_bytes, weights: catena_implicit_gemm_weight_bytes,
      add: catena_add_implicit_gemm)
  }

  /// Groups of pixels that reach beyond the last line and column; in f32 and, where the processor has it, in bf16.
  @Test(arguments: [1, 5, 7, 9, 16, 33] as [Int64], [false, true])
  func direct(_ size: Int64, _ isBackward: Bool) throws {
    for results: Int64 in [3, 15, 20, 40, 60, 100] {
      for (stride, readsBFloat16) in [(1, false), (2, false), (1, true), (2, true)] as [(Int64, Bool)] {
        var problem = Self.problem(
          isBackward: isBackward, batch: 2, sources: 6 + stride, results: results, size: size, kernel: 3,
          stride: stride)
        problem.reads_bfloat16 = readsBFloat16
        guard withUnsafePointer(to: problem, catena_direct_cycles) < .infinity else { continue }
        try expectNothingBehind(
          problem, scratch: catena_direct_scratch_bytes, weights: catena_direct_weight_bytes, add: catena_add_direct)
      }
    }
  }

  private typealias Bytes = (UnsafePointer<catena_implicit_gemm>?) -> Int
  private typealias Add = (
    OpaquePointer?, UnsafePointer<catena_implicit_gemm>?, UnsafeRawPointer?, UnsafePointer<Float>?,
    UnsafePointer<Float>?, UnsafeMutableRawPointer?, UnsafePointer<catena_post_operation>?, Int32,
    UnsafePointer<UnsafeRawPointer?>?, Int32, UnsafeMutableRawPointer?
  ) -> Void

  private func expectNothingBehind(
    _ problem: catena_implicit_gemm, scratch: (UnsafePointer<catena_implicit_gemm>?, Int32) -> Int, weights: Bytes,
    add: Add
  ) throws {
    let (guarded, mark) = (1 << 20, UInt8(0xa5))
    catena_set_threads(1)
    let bytes = withUnsafePointer(to: problem) { scratch($0, 1) }
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes + guarded, alignment: 64)
    let images = [
      problem.batch * problem.source_height * problem.source_width * problem.source_channels,
      problem.batch * problem.destination_height * problem.destination_width * problem.destination_channels,
    ].map { UnsafeMutableBufferPointer<Float>.allocate(capacity: Int($0)) }
    let packed = UnsafeMutableRawBufferPointer.allocate(
      byteCount: withUnsafePointer(to: problem, weights), alignment: 64)
    defer {
      memory.deallocate()
      packed.deallocate()
      for image in images { image.deallocate() }
    }
    memory.initializeMemory(as: UInt8.self, repeating: mark)
    packed.initializeMemory(as: UInt8.self, repeating: 0)
    for image in images { image.initialize(repeating: 1) }
    let program = try #require(catena_program_create())
    defer { catena_program_destroy(program) }
    withUnsafePointer(to: problem) {
      add(
        program, $0, images[0].baseAddress, packed.baseAddress?.assumingMemoryBound(to: Float.self), nil,
        images[1].baseAddress, nil, 0, nil, 1, memory.baseAddress)
    }
    _ = catena_program_run(program, nil)
    #expect(memory[bytes...].allSatisfy { $0 == mark }, "\(problem)")
    #expect(images[1].allSatisfy { $0 == 0 }, "weights of 0 give results of 0")
  }
}
