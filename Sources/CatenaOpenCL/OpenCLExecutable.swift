import CatenaCompute
import CatenaGraph
import CatenaTensors

/// A program on a device. The actor runs on a thread of its own, which alone waits for the device; its mailbox serves
/// calls in order of arrival.
actor OpenCLExecutable: Executable {
  nonisolated let memoryPlan: MemoryPlan
  /// How many launches of a step only change a layout.
  nonisolated let layoutConversions: Int
  /// The kernels of one step, in order.
  nonisolated let kernels: [String]
  private let graph: Graph
  private let prepared: PreparedProgram
  private let thread: DriverThread
  private let carried: Set<ValueID>
  private var unwritten: Set<ValueID>
  private var hasRun = false

  /// Prepares `program`, whose nodes all have kernels; to be called on `thread`.
  init(_ program: Program, in context: OpenCLContext, memoryLimit: Int?, on thread: DriverThread) throws(ComputeError) {
    let lowered = Lowering.lower(program, traits: context.traits)
    let prepared = try PreparedProgram(lowered, in: context, memoryLimit: memoryLimit)
    self.prepared = prepared
    self.thread = thread
    graph = program.graph
    memoryPlan = prepared.memoryPlan
    layoutConversions = lowered.layoutConversions
    kernels = lowered.step.map(\.kernel)
    carried = Set(program.carries.map(\.input))
    unwritten = Set(program.graph.inputs)
  }

  deinit { thread.stop() }

  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  func write(_ tensor: Tensor, to input: ValueID) throws(ComputeError) {
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

  func run(steps: Int) throws(ComputeError) {
    if let missing = unwritten.min() {
      throw .mismatch("the input \(graph[missing].name) was never written")
    }
    let wasCancelled = try prepared.run(steps: steps) { Task.isCancelled }
    if wasCancelled { throw .cancelled }
    hasRun = true
  }

  func read(_ value: ValueID) throws(ComputeError) -> Tensor {
    guard let location = prepared.location(ofReadable: value) else {
      throw .mismatch("\(value) is neither an output nor a carried input of the program")
    }
    guard carried.contains(value) ? !unwritten.contains(value) : hasRun else {
      throw .mismatch("\(graph[value].name) is read before the first run")
    }
    return try prepared.read(graph.shape(value), from: location)
  }
}
