import CatenaCompute
import CatenaGraph
import CatenaTensors
import Foundation
import Logging

/// A program compiled for the processor, driven by its back end's team, or by a thread of its own where it uses one.
public actor CPUExecutable: Executable {
  /// Every byte that this executable holds.
  public nonisolated let memoryPlan: MemoryPlan
  /// Every kernel of one step, in order.
  public nonisolated let kernels: [KernelRecord]

  private nonisolated let thread: OwnedThread
  private let program: CompiledProgram
  private let logger: Logger?

  init(_ program: CompiledProgram, thread: OwnedThread) {
    self.program = program
    self.thread = thread
    memoryPlan = program.bytes
    kernels = program.kernels
    logger = Self.makeLogger()
  }

  /// The thread that all work is done on.
  public nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  /// Copies `tensor` into a graph input.
  public func write(_ tensor: Tensor, to input: ValueID) throws(ComputeError) { try program.write(tensor, to: input) }

  /// Runs the program `steps` times; a cancelled task stops between two steps.
  public func run(steps: Int) throws(ComputeError) {
    for _ in 0..<steps {
      if Task.isCancelled { throw .cancelled }
      if let logger {
        try program.runLogged(logger)
      } else {
        try program.run()
      }
    }
  }

  /// Runs the program once and returns the seconds of every kernel, in the order of `kernels`.
  package func runTimed() throws(ComputeError) -> [Double] { try program.runTimed() }

  /// Copies out a graph output, an input or a carried value.
  public func read(_ value: ValueID) throws(ComputeError) -> Tensor { try program.read(value) }

  /// The logger of single kernels: only where the environment asks for them are they timed.
  private static func makeLogger() -> Logger? {
    guard ProcessInfo.processInfo.environment["CATENA_DEBUG"] == "2" else { return nil }
    var logger = Logger(label: "CatenaCPU")
    logger.logLevel = .debug
    return logger
  }
}
