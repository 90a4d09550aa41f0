import COpenCL
import CatenaOpenCL
import Synchronization

/// A driver whose memory holds given bits where nobody wrote: every buffer when it is made and, if that is wanted, local
/// memory before every kernel.
///
/// The latter is done by a kernel that writes more of it than any kernel has, in more groups than run at a time. It
/// reaches kernels where the device leaves local memory as the last kernel left it, as PoCL does.
final class UnwrittenMemory: Sendable {
  private struct State: Sendable {
    var word: UInt32 = 0
    var kernel: DriverKernel?
  }
  private let state = Mutex(State())
  private let setsLocalMemory: Bool
  private static let localByteCount = 32 << 10
  private static let groupCount = 16
  private static let groupSize = 32
  private static let source = """
    kernel __attribute__((reqd_work_group_size(\(groupSize), 1, 1)))
    void write_local(local volatile uint *memory, const uint count, const uint word) {
      for (uint k = get_local_id(0); k < count; k += \(groupSize)) memory[k] = word;
    }
    """

  init(setsLocalMemory: Bool) { self.setsLocalMemory = setsLocalMemory }

  /// What every word holds from now on.
  func set(_ word: UInt32) { state.withLock { $0.word = word } }

  var driver: Driver {
    var driver = Driver()
    let plain = driver
    driver.createBuffer = { [self] context, size, code in
      var words = [UInt32](repeating: state.withLock { $0.word }, count: (size + 3) / 4)
      return clCreateBuffer(context, cl_mem_flags(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR), size, &words, code)
    }
    guard setsLocalMemory else { return driver }
    driver.enqueueKernel = { [self] queue, kernel, globalSize, groupSize, event in
      let code = writeLocalMemory(queue, plain)
      return code == CL_SUCCESS ? plain.enqueueKernel(queue, kernel, globalSize, groupSize, event) : code
    }
    return driver
  }

  private func writeLocalMemory(_ queue: cl_command_queue, _ driver: Driver) -> cl_int {
    state.withLock { state in
      do throws(DriverKernel.Failure) {
        let kernel = try DriverKernel.made(
          &state.kernel, "write_local", Self.source, in: DriverKernel.context(of: queue))
        kernel.setLocal(0, byteCount: Self.localByteCount)
        kernel.set(1, to: cl_uint(Self.localByteCount / 4))
        kernel.set(2, to: state.word)
        return driver.enqueueKernel(queue, kernel.kernel, Self.groupCount * Self.groupSize, Self.groupSize, nil)
      } catch { return error.code }
    }
  }
}
