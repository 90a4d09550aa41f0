import COneDNN
import CatenaCompute
import CatenaGraph
import CatenaReference
import CatenaTensors

/// Runs graphs on the processor: oneDNN's generated code for whatever mixes channels, own vectorised kernels for the
/// rest, on threads of one pool that other libraries share.
///
/// Programs of several threads share one team of the back end and take turns, a call at a time: a team for each would be
/// more threads than processors, and the pool then sends them to sleep at the end of every kernel instead of letting them
/// wait for the next. What is to run side by side gets back ends of its own, or ``lanes``: programs of one thread have it
/// to themselves.
///
/// f32; f16 and bf16 as storage, computed in f32 and rounded where a node's result has that type; integers up to 64
/// bits and `bool`. Where bf16 is allowed and the processor multiplies it, images between convolutions are kept and
/// multiplied in bf16 and accumulated in f32; vectors (scores, gates, their gradients, logits, losses) stay f32.
/// Results are the same bits for the same inputs, processor and number of threads.
public struct CPUBackend: Backend {
  /// The processor, with the threads that programs use.
  public let device: DeviceDescription
  /// What all programs are driven by; `nil` where each has a thread of its own.
  private let team: OwnedThread?

  /// A back end that uses `threads` threads, or as many as the affinity mask and the control group's quota allow.
  /// - Precondition: `threads` is positive.
  public init(threads: Int? = nil) {
    precondition(threads.map { $0 > 0 } ?? true, "a program needs a thread")
    device = Machine.description(threads: threads ?? Machine.usableProcessors)
    team = device.threads > 1 ? OwnedThread(threads: device.threads) : nil
  }

  /// One for each thread.
  public var lanes: [any Backend] { (0..<device.threads).map { _ in CPUBackend(threads: 1) } }

  /// Plans and prepares `program`.
  public func compile(_ program: Program, options: CompileOptions) async throws(ComputeError) -> any Executable {
    try await compileForProcessor(program, options: options)
  }

  /// The same, as this back end's own type.
  public func compileForProcessor(
    _ program: Program, options: CompileOptions
  ) async throws(ComputeError) -> CPUExecutable {
    let thread = driver()
    let compiler = Compiler(thread: thread, threads: device.threads)
    let compiled = try await compiler.compile(program, options)
    return CPUExecutable(compiled, thread: thread)
  }

  /// What drives a program or a solver of this back end.
  func driver() -> OwnedThread { team ?? OwnedThread(threads: 1) }
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
    let observed = ValueSet(program.graph.outputs + program.carries.map(\.output))
    let graph = try prepared(program, observed)
    let unsupported = graph.unsupportedNodes()
    guard unsupported.isEmpty else { throw .unsupported(backend: "cpu", nodes: unsupported) }
    if options.precision == .bf16, !Machine.multipliesBFloat16 {
      throw .noDevice(
        reason: "this processor (\(Machine.processorName), \(Machine.instructionSet)) has no products in bf16, which "
          + "AVX512-BF16 or AMX bring; use --precision f32")
    }
    let engine = try Engine()
    let section = BatchSection(of: graph, observed: observed)
    var ways: [Blocking?] = section?.blockings(threads: threads) ?? []
    if ways.isEmpty { ways.append(nil) }
    for (index, way) in ways.enumerated() {
      let lowering = try lowered(
        graph, program, observed, engine, section, way, options)
      // Smaller blocks need less memory.
      if index < ways.count - 1, let limit = options.memoryLimit, lowering.bytes.total > limit { continue }
      return try CompiledProgram(
        lowering, inputs: graph.inputs, observed: observed, limit: options.memoryLimit)
    }
    preconditionFailure("the last way is taken, or refused by its program")
  }

  private func lowered(
    _ graph: Graph, _ program: Program, _ observed: ValueSet, _ engine: Engine, _ section: BatchSection?,
    _ way: Blocking?, _ options: CompileOptions
  ) throws(ComputeError) -> Lowering {
    let narrows = options.precision == .bf16
    guard let section, let way, let body = section.body(blockOf: way.blockSize) else {
      let lowering = Lowering(
        graph: graph, observed: observed, engine: engine, threads: threads,
        narrowed: narrows ? graph.narrowableValues(observed: observed) : [],
        allowsMinimalFiltering: options.allowsMinimalFiltering)
      try lowering.lower(carries: program.carries)
      return lowering
    }
    // Code is generated for the threads that will run it.
    catena_set_threads(Int32(threads / way.lanes))
    defer { catena_set_threads(Int32(threads)) }
    let results = ValueSet(body.outputs)
    let block = Lowering(
      graph: body, observed: results, engine: engine, threads: threads / way.lanes,
      narrowed: narrows ? body.narrowableValues(observed: results) : [],
      allowsMinimalFiltering: options.allowsMinimalFiltering)
    try block.lower(carries: [])
    catena_set_threads(Int32(threads))
    let outside = Lowering(
      graph: section.outside, observed: observed, engine: engine, threads: threads,
      section: LoweredSection(section, way, block), allowsMinimalFiltering: options.allowsMinimalFiltering)
    try outside.lower(carries: program.carries)
    return outside
  }

  /// The graph without what nobody needs.
  private func prepared(_ program: Program, _ observed: ValueSet) throws(ComputeError) -> Graph {
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
      return try graph.withoutEmptyOutputPadding().foldingConstants().pruned()
    } catch { throw .invalidGraph(error) }
  }
}
