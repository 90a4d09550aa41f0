import COpenCL
import CatenaCompute
import Synchronization

/// Lets launches of one queue run at a time, in the whole process: what some drivers need
/// (`DeviceTraits.confusesLaunches`).
///
/// A queue keeps its turn until another one launches, which first waits until everything in the former is done. Where
/// one queue is in use, nothing waits but a program that is asked for its binary.
enum QueueTurns {
  /// The queue that launched last, which is kept alive until another one has its turn.
  private struct Holder: @unchecked Sendable {
    var queue: cl_command_queue?
  }
  private static let holder = Mutex(Holder())

  /// The driver with launches that take turns.
  static func taken(by driver: Driver) -> Driver {
    var turning = driver
    turning.enqueueKernel = { queue, kernel, globalSize, groupSize, event in
      holder.withLock { holder in
        let code = pass(to: queue, &holder)
        return code == CL_SUCCESS ? driver.enqueueKernel(queue, kernel, globalSize, groupSize, event) : code
      }
    }
    turning.programBinary = { program in
      holder.withLock { holder in
        if let queue = holder.queue, clFinish(queue) != CL_SUCCESS { return nil }
        return driver.programBinary(program)
      }
    }
    return turning
  }

  private static func pass(to queue: cl_command_queue, _ holder: inout Holder) -> cl_int {
    guard holder.queue != queue else { return CL_SUCCESS }
    if let previous = holder.queue {
      let code = clFinish(previous)
      guard code == CL_SUCCESS else { return code }
      clReleaseCommandQueue(previous)
    }
    clRetainCommandQueue(queue)
    holder.queue = queue
    return CL_SUCCESS
  }
}
