import Foundation
import Synchronization

/// A thread that runs an actor's jobs one after the other, in order of arrival. Waiting for a device blocks this thread
/// and none of the cooperative pool.
final class DriverThread: SerialExecutor {
  private struct State {
    var jobs: [UnownedJob] = []
    var isStopped = false
  }
  private let state = Mutex(State())
  private let arrival = DispatchSemaphore(value: 0)

  /// Starts the thread; `stop` ends it.
  init(name: String) {
    let thread = Thread { [self] in work() }
    thread.name = name
    thread.stackSize = 8 << 20
    thread.start()
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    state.withLock { $0.jobs.append(job) }
    arrival.signal()
  }

  func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

  /// Ends the thread after the jobs that have arrived.
  func stop() {
    state.withLock { $0.isStopped = true }
    arrival.signal()
  }

  private func work() {
    while true {
      arrival.wait()
      let (jobs, isStopped) = state.withLock { state in
        let jobs = state.jobs
        state.jobs = []
        return (jobs, state.isStopped)
      }
      for job in jobs { job.runSynchronously(on: asUnownedSerialExecutor()) }
      if isStopped, state.withLock({ $0.jobs.isEmpty }) { return }
    }
  }
}
