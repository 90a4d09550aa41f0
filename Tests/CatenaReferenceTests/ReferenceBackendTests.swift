import CatenaCompute
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

@Suite("The reference back end")
struct ReferenceBackendTests {
  /// A counter: state + increment, carried from run to run.
  private struct Counter {
    var graph = Graph()
    let state: ValueID
    let increment: ValueID
    let next: ValueID
    var program: Program { Program(graph, carries: [Program.Carry(from: next, to: state)]) }

    init() throws {
      state = graph.addInput("state", TensorType(.float32, [2]))
      increment = graph.addInput("increment", TensorType(.float32, [2]))
      next = try graph.add(.binary(.add), state, increment, name: "next")
    }
  }

  @Test("carried values go from run to run and may be reset")
  func carries() async throws {
    let counter = try Counter()
    let executable = try await ReferenceBackend().compile(counter.program, options: CompileOptions())
    try await executable.write(Tensor([Float(1), 2], shape: [2]), to: counter.state)
    try await executable.write(Tensor([Float(10), 20], shape: [2]), to: counter.increment)
    try await executable.run(steps: 3)
    #expect(try await executable.read(counter.state).elements(of: Float.self) == [31, 62])
    try await executable.write(Tensor([Float(0), 0], shape: [2]), to: counter.state)
    try await executable.run(steps: 1)
    #expect(try await executable.read(counter.state).floats == [10, 20])
  }

  @Test("what does not fit the program is refused")
  func mismatches() async throws {
    let counter = try Counter()
    let executable = try await ReferenceBackend().compile(counter.program, options: CompileOptions())
    await #expect(throws: ComputeError.self) { try await executable.run(steps: 1) }
    await #expect(throws: ComputeError.self) { try await executable.write(Tensor(zeros: [3]), to: counter.state) }
    await #expect(throws: ComputeError.self) { try await executable.write(Tensor(zeros: [2]), to: counter.next) }
    await #expect(throws: ComputeError.self) { try await executable.read(counter.next) }
    await #expect(throws: ComputeError.self) { try await executable.read(counter.state) }

    var other = counter.graph
    let wider = other.addInput("wider", TensorType(.float32, [3]))
    let carries = [
      [Program.Carry(from: counter.next, to: wider)], [Program.Carry(from: counter.state, to: counter.next)],
      [Program.Carry(from: ValueID(index: 99), to: counter.state)],
      [
        Program.Carry(from: counter.next, to: counter.state), Program.Carry(from: counter.increment, to: counter.state),
      ],
    ]
    for carries in carries {
      await #expect(throws: ComputeError.self) {
        try await ReferenceBackend().compile(Program(other, carries: carries), options: CompileOptions())
      }
    }
  }

  @Test("a cancelled task stops between steps, with whole steps behind it")
  func cancellation() async throws {
    let counter = try Counter()
    let executable = try await ReferenceBackend().compile(counter.program, options: CompileOptions())
    try await executable.write(Tensor([Float(0), 0], shape: [2]), to: counter.state)
    try await executable.write(Tensor([Float(1), 2], shape: [2]), to: counter.increment)
    let task = Task { try await executable.run(steps: .max) }
    task.cancel()
    await #expect {
      try await task.value
    } throws: { error in
      if case ComputeError.cancelled = error { true } else { false }
    }
    let state = try await executable.read(counter.state).floats
    #expect(state[1] == 2 * state[0])
  }

  @Test("the plan counts eight bytes for every number held, and is kept to the limit")
  func memory() async throws {
    let counter = try Counter()
    let executable = try await ReferenceBackend().compile(counter.program, options: CompileOptions())
    let plan = executable.memoryPlan
    #expect(plan.persistent == 3 * 2 * 8)
    #expect(plan.constants == 0)
    #expect(plan.intermediates == 0)
    await #expect {
      try await ReferenceBackend().compile(counter.program, options: CompileOptions(memoryLimit: plan.total - 1))
    } throws: { error in
      if case ComputeError.outOfMemory(plan.total, plan.total - 1, _) = error { true } else { false }
    }
  }

  @Test("values between nodes keep what f32 would lose")
  func doubles() async throws {
    var graph = Graph()
    let data = graph.addInput("data", TensorType(.float32, [1]))
    let small = graph.addConstant("small", Tensor([Float(0x1p-30)], shape: [1]))
    let sum = try graph.add(.binary(.add), data, small)
    graph.outputs = [try graph.add(.binary(.subtract), sum, data)]
    let executable = try await ReferenceBackend().compile(Program(graph), options: CompileOptions())
    try await executable.write(Tensor([Float(1)], shape: [1]), to: data)
    try await executable.run(steps: 1)
    #expect(try await executable.read(graph.outputs[0]).elements(of: Float.self) == [0x1p-30])
  }
}
