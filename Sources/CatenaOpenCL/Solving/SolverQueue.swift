import COpenCL
import CatenaCompute

/// Memory of a solver; its end gives it back to the pool.
final class SolverMemory: Sendable {
  private let buffer: DeviceBuffer

  init(_ byteCount: Int, in context: OpenCLContext) throws(ComputeError) {
    buffer = try context.pool.allocate(byteCount)
  }

  var memory: cl_mem { buffer.memory }
  var argument: KernelArgument { .memory(buffer.memory) }
}

/// Launches of one build of the solver's kernels on a queue of its own.
struct SolverQueue {
  let context: OpenCLContext
  private let queue: CommandQueue
  private let program: BuiltProgram
  private let groupSize: Int
  /// Columns that the build's vectors have.
  let lanes: Int
  /// Consecutive numbers that one work-item writes where it does nothing else.
  let run: Int
  /// Columns that whole vectors fill, those of the build and those of four.
  var vectorColumns: Int { max(lanes, 4) }
  /// Bytes of a number in the build's precision.
  let numberBytes: Int

  init(_ context: OpenCLContext, isDouble: Bool) throws(ComputeError) {
    let family: KernelFamily = isDouble ? .solverDouble : .solver
    self.context = context
    queue = try CommandQueue(context)
    program = try context.program(family)
    groupSize = context.traits[family].groupSize
    lanes = context.traits[family].lanes
    run = context.traits[family].run
    numberBytes = isDouble ? 8 : 4
  }

  /// Memory for numbers of the build's precision.
  func numbers(_ count: Int) throws(ComputeError) -> SolverMemory { try bytes(count * numberBytes) }

  /// Memory.
  func bytes(_ count: Int) throws(ComputeError) -> SolverMemory {
    try queue.settling { () throws(ComputeError) in try SolverMemory(max(count, 4), in: context) }
  }

  /// Enqueues a kernel with a work-item for each of `items`.
  func launch(_ kernel: String, _ arguments: [KernelArgument], items: Int) throws(ComputeError) {
    guard items > 0 else { return }
    try enqueue(prepare(kernel, arguments, items: items))
  }

  /// Enqueues a kernel with a work-group for each of `groups`.
  func launch(_ kernel: String, _ arguments: [KernelArgument], groups: Int) throws(ComputeError) {
    try launch(kernel, arguments, items: groups * groupSize)
  }

  /// A kernel with a work-item for each of `items`, to be enqueued many times.
  func prepare(_ kernel: String, _ arguments: [KernelArgument], items: Int) throws(ComputeError) -> PreparedLaunch {
    try queue.settling { () throws(ComputeError) in
      try PreparedLaunch(
        kernel, in: program, arguments: arguments, workItems: items, groupSize: groupSize, device: context.device.name)
    }
  }

  /// A kernel with a work-group for each of `groups`, to be enqueued many times.
  func prepare(_ kernel: String, _ arguments: [KernelArgument], groups: Int) throws(ComputeError) -> PreparedLaunch {
    try prepare(kernel, arguments, items: groups * groupSize)
  }

  /// Enqueues what was prepared.
  func enqueue(_ launch: PreparedLaunch) throws(ComputeError) { try queue.enqueue(launch) }

  /// Sets numbers of the build's precision to zero.
  func clear(_ target: SolverMemory, count: Int) throws(ComputeError) {
    guard count > 0 else { return }
    let traits = context.traits[.movement]
    try queue.enqueue(
      PreparedLaunch(
        "fill_\(numberBytes)", in: context.program(.movement),
        arguments: [target.argument, .integers([Int32(count)]), integers(0, 0)],
        workItems: dividedUp(count, traits.run), groupSize: traits.groupSize, device: context.device.name))
  }

  func write<Number: BitwiseCopyable>(_ numbers: [Number], to target: SolverMemory) throws(ComputeError) {
    try queue.write(numbers, to: target.memory)
  }

  func read<Number: BitwiseCopyable>(
    _ count: Int, of zero: Number, from source: SolverMemory
  ) throws(ComputeError)
    -> [Number]
  {
    var result = [Number](repeating: zero, count: count)
    try queue.read(&result, from: source.memory)
    return result
  }

  /// Writes numbers in the build's precision.
  func writeNumbers(_ numbers: [Double], to target: SolverMemory) throws(ComputeError) {
    if numberBytes == 8 { try write(numbers, to: target) } else { try write(numbers.map { Float($0) }, to: target) }
  }

  /// Reads numbers in the build's precision.
  func readNumbers(_ count: Int, from source: SolverMemory) throws(ComputeError) -> [Double] {
    numberBytes == 8
      ? try read(count, of: 0.0, from: source) : try read(count, of: Float(0), from: source).map { Double($0) }
  }

  /// Waits for everything, and lets kernels not pile up.
  func finish() throws(ComputeError) { try queue.finish() }

  /// Throws `cancelled` when the task is, with nothing under way any more.
  func checkCancellation() throws(ComputeError) {
    guard Task.isCancelled else { return }
    try queue.finish()
    throw .cancelled
  }
}

/// A vector argument of a kernel.
func integers(_ values: Int...) -> KernelArgument { .integers(values.map { Int32($0) }) }
