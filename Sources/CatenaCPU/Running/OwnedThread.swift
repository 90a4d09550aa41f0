import COneDNN
import Foundation

/// One thread with a queue, the executor of whatever drives compiled programs: settings of the thread pool belong to the
/// thread that begins a parallel section, so nobody else's change.
final class OwnedThread: SerialExecutor {
  private let queue: JobQueue

  init(threads: Int) {
    let queue = JobQueue()
    self.queue = queue
    let thread = Thread { queue.serve(threads: threads) }
    thread.name = "catena-cpu"
    // As much as a main thread has: kernels keep their blocks on the stack.
    thread.stackSize = 8 << 20
    thread.start()
  }

  deinit { queue.close() }

  func enqueue(_ job: consuming ExecutorJob) { queue.append(Entry(job: UnownedJob(job), executor: self)) }
}

/// A job, and the executor kept alive until it ran.
private struct Entry {
  let job: UnownedJob
  let executor: OwnedThread
}

/// First in, first out.
private final class JobQueue: @unchecked Sendable {
  // Everything below is read and written with the condition locked.
  private let condition = NSCondition()
  private var entries: [Entry] = []
  private var isClosed = false

  func append(_ entry: Entry) {
    condition.lock()
    entries.append(entry)
    condition.signal()
    condition.unlock()
  }

  func close() {
    condition.lock()
    isClosed = true
    condition.signal()
    condition.unlock()
  }

  func serve(threads: Int) {
    catena_set_threads(Int32(threads))
    while let entry = next() { entry.job.runSynchronously(on: entry.executor.asUnownedSerialExecutor()) }
  }

  private func next() -> Entry? {
    condition.lock()
    defer { condition.unlock() }
    while entries.isEmpty {
      if isClosed { return nil }
      condition.wait()
    }
    return entries.removeFirst()
  }
}
