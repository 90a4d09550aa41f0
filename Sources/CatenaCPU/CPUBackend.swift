import CatenaCompute
import CatenaGraph
import CatenaReference
import CatenaTensors

/// Runs graphs on the processor: oneDNN's generated code for whatever mixes channels, own vectorised kernels for the
/// rest, on threads of one pool that other libraries share.
///
/// f32; f16 and bf16 as storage, computed in f32 and rounded where a node's result has that type; integers up to 64
/// bits and `bool`. Results are the same bits for the same inputs, processor and number of threads.
public struct CPUBackend: Backend {
  /// The processor, with the threads that programs use.
  public let device: DeviceDescription

  /// A back end that uses `threads` threads, or as many as the affinity mask and the control group's quota allow.
  /// - Precondition: `threads` is positive.
  public init(threads: Int? = nil) {
    precondition(threads.map { $0 > 0 } ?? true, "a program needs a thread")
    device = Machine.description(threads: threads ?? Machine.usableProcessors)
  }

  /// Plans and prepares `program`.
  public func compile(_ program: Program, options: CompileOptions) async throws(ComputeError) -> any Executable {
    try await compileForProcessor(program, options: options)
  }

  /// The same, as this back end's own type.
  public func compileForProcessor(
    _ program: Program, options: CompileOptions
  ) async throws(ComputeError) -> CPUExecutable {
    let thread = OwnedThread(threads: device.threads)
    let compiler = Compiler(thread: thread, threads: device.threads)
    let compiled = try await compiler.compile(program, options)
    return CPUExecutable(compiled, thread: thread)
  }
}

/// Compiles on the thread that will run: primitives are made for its number of threads.
private actor Compiler {
  private nonisolated let thread: OwnedThread
  private let threads: Int
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  init(thread: OwnedThread, threads: Int) {
    self.thread = thread
    self.threads = threads
  }

  func compile(_ program: Program, _ options: CompileOptions) throws(ComputeError) -> CompiledProgram {
    let observed = Set(program.graph.outputs + program.carries.map(\.output))
    let graph = try prepared(program, observed)
    let unsupported = graph.unsupportedNodes()
    guard unsupported.isEmpty else { throw .unsupported(backend: "cpu", nodes: unsupported) }
    let lowering = Lowering(graph: graph, observed: observed, engine: try Engine(), threads: threads)
    try lowering.lower(program)
    return try CompiledProgram(lowering, observed: observed, limit: options.memoryLimit)
  }

  /// The graph without what nobody needs.
  private func prepared(_ program: Program, _ observed: Set<ValueID>) throws(ComputeError) -> Graph {
    var graph = program.graph
    graph.outputs = graph.outputs + program.carries.map(\.output).filter { !program.graph.outputs.contains($0) }
    for carry in program.carries {
      guard graph.inputs.contains(carry.input), graph.type(carry.input) == graph.type(carry.output) else {
        throw .mismatch("\(graph[carry.output].name) cannot be carried over to \(graph[carry.input].name)")
      }
    }
    do throws(GraphError) {
      graph = graph.pruned()
      try graph.checkInvariants()
      return try graph.foldingConstants().pruned()
    } catch { throw .invalidGraph(error) }
  }
}
