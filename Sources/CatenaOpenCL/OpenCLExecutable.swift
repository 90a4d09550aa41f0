import CatenaCompute
import CatenaGraph
import CatenaTensors
import Foundation
import Logging

/// A program on a device. The actor runs on a thread of its own, which alone waits for the device; its mailbox serves
/// calls in order of arrival.
package actor OpenCLExecutable: Executable {
  package nonisolated let memoryPlan: MemoryPlan
  /// How many launches of a step only change a layout.
  package nonisolated let layoutConversions: Int
  /// The kernels of one step, in order.
  package nonisolated let kernels: [String]
  /// The kernels that ran once, on constants alone.
  package nonisolated let preparationKernels: [String]
  /// What each of them does.
  package nonisolated let records: [KernelRecord]
  /// The graph's outputs.
  package nonisolated var outputs: [ValueID] { graph.outputs }
  private nonisolated let graph: Graph
  private let prepared: PreparedProgram
  private let thread: DriverThread
  private let carried: ValueSet
  private var unwritten: ValueSet
  private var hasRun = false
  private let logger: Logger?

  /// Prepares `program`, whose nodes all have kernels; to be called on `thread`.
  /// - Parameter unwrittenBits: what memory holds before a kernel writes to it; `nil` for whatever it held.
  init(
    _ program: Program, in context: OpenCLContext, memoryLimit: Int?, tensorPolicy: TensorPolicy,
    unwrittenBits: UInt64?, on thread: DriverThread
  ) throws(ComputeError) {
    var lowered = Lowering.lower(program, traits: context.traits, tensorPolicy: tensorPolicy)
    if let unwrittenBits { lowered = lowered.settingUnwritten(to: unwrittenBits, traits: context.traits) }
    let prepared = try PreparedProgram(lowered, in: context, memoryLimit: memoryLimit)
    self.prepared = prepared
    self.thread = thread
    graph = program.graph.interface()
    memoryPlan = prepared.memoryPlan
    layoutConversions = lowered.layoutConversions
    kernels = lowered.step.map(\.kernel)
    preparationKernels = lowered.preparation.map(\.kernel)
    records = prepared.records
    logger = Self.makeLogger()
    carried = ValueSet(program.carries.map(\.input))
    unwritten = ValueSet(program.graph.inputs)
  }

  deinit { thread.stop() }

  package nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  package func write(_ tensor: Tensor, to input: ValueID) throws(ComputeError) {
    guard let location = prepared.location(ofInput: input) else {
      throw .mismatch("\(input) is no input of the program")
    }
    let type = TensorType(tensor.elementType, tensor.shape)
    guard type == graph.type(input) else {
      throw .mismatch("the input \(graph[input].name) is \(graph.type(input)), not \(type)")
    }
    try prepared.write(tensor, to: location)
    unwritten.remove(input)
  }

  package func run(steps: Int) throws(ComputeError) {
    if let missing = unwritten.min() {
      throw .mismatch("the input \(graph[missing].name) was never written")
    }
    if let logger {
      for _ in 0..<steps {
        if Task.isCancelled { throw .cancelled }
        for (record, seconds) in zip(records, try prepared.runTimed()) {
          logger.debug("\(record.line(seconds: seconds))")
        }
        hasRun = true
      }
      return
    }
    let wasCancelled = try prepared.run(steps: steps) { Task.isCancelled }
    if wasCancelled { throw .cancelled }
    hasRun = true
  }

  /// Runs one step and returns the seconds that every kernel took by `clock`, in the order of `records`.
  package func runTimed(by clock: KernelClock = .device) throws(ComputeError) -> [Double] {
    if let missing = unwritten.min() {
      throw .mismatch("the input \(graph[missing].name) was never written")
    }
    hasRun = true
    return try prepared.runTimed(by: clock)
  }

  /// The logger of single kernels: only where the environment asks for them are they timed.
  private static func makeLogger() -> Logger? {
    guard ProcessInfo.processInfo.environment["CATENA_DEBUG"] == "2" else { return nil }
    var logger = Logger(label: "CatenaOpenCL")
    logger.logLevel = .debug
    return logger
  }

  package func read(_ value: ValueID) throws(ComputeError) -> Tensor {
    guard let location = prepared.location(ofReadable: value) else {
      throw .mismatch("\(value) is neither an output nor a carried input of the program")
    }
    guard carried.contains(value) ? !unwritten.contains(value) : hasRun else {
      throw .mismatch("\(graph[value].name) is read before the first run")
    }
    return try prepared.read(graph.shape(value), from: location)
  }
}
