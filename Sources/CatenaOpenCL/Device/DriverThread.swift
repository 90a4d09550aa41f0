import Foundation
import Synchronization

/// A thread that runs an actor's jobs one after the other, in order of arrival. Waiting for a device blocks this thread
/// and none of the cooperative pool.
final class DriverThread: SerialExecutor {
  private enum Job: Sendable {
    case ofActor(UnownedJob)
    case closure(@Sendable () -> Void)
  }
  private struct State {
    var jobs: [Job] = []
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
    append(.ofActor(UnownedJob(job)))
  }

  /// Runs `body` on this thread and returns its result.
  func perform<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
      append(.closure { continuation.resume(returning: body()) })
    }
  }

  private func append(_ job: Job) {
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
      for job in jobs {
        switch job {
        case .ofActor(let job): job.runSynchronously(on: asUnownedSerialExecutor())
        case .closure(let body): body()
        }
      }
      if isStopped, state.withLock({ $0.jobs.isEmpty }) { return }
    }
  }
}
