import CatenaCompute
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

import CatenaOpenCL

@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct HostTests {
  @Test func aKernelThatDoesNotBuildShowsItsLog() throws {
    let context = try DeviceUnderTest.backend.context
    do {
      _ = try context.programs.program(
        named: "broken", source: "kernel void f(global int *x) { *x = nonsense; }", options: "")
      Issue.record("nonsense was built")
    } catch ComputeError.callFailed(let call, let code, _, let detail) {
      #expect(call == "clBuildProgram")
      #expect(code == "CL_BUILD_PROGRAM_FAILURE")
      #expect(detail.contains("broken") && detail.contains("nonsense"))
    }
  }

  @Test func everyFamilyBuilds() throws {
    let context = try DeviceUnderTest.backend.context
    for family in KernelFamily.allCases where !family.needsDoubles || context.device.hasDoubles {
      _ = try context.program(family)
    }
  }

  @Test func allBuffersComeBack() async throws {
    // A context of its own: other tests share the device's.
    let context = try OpenCLContext(DeviceUnderTest.backend.context.device)
    let backend = OpenCLBackend(context: context)
    let step = try GatedStep()
    do {
      let executable = try await step.run(on: backend, steps: 1)
      #expect(context.pool.statistics.buffersInUse > 0)
      let plan = executable.memoryPlan
      #expect(context.pool.statistics.bytesInUse == plan.total - plan.scratch)
    }
    #expect(context.pool.statistics.buffersInUse == 0)
    #expect(context.pool.statistics.bytesInUse == 0)
  }

  @Test func whatIsCopiedInAnotherOrderIsPlanned() async throws {
    let context = try OpenCLContext(DeviceUnderTest.backend.context.device)
    var graph = Graph()
    let x = graph.addInput("x", TensorType(.float32, [1, 32, 64, 64]))
    let weights = Tensor((0..<32 * 32 * 9).map { Float($0 % 7) }, shape: [32, 32, 3, 3])
    let convolution = Convolution(strides: [1, 1], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1])
    let w = graph.addConstant("w", weights)
    graph.outputs = [try graph.add(.convolution(convolution), x, w)]
    let program = Program(graph)
    let executable = try await OpenCLBackend(context: context).compile(program, options: CompileOptions())
    let plan = executable.memoryPlan
    #expect(plan.scratch == BufferPool.sizeClass(4 * 32 * 64 * 64))
    #expect(context.pool.statistics.bytesInUse == plan.total - plan.scratch)
    try await executable.write(Tensor(zeros: [1, 32, 64, 64]), to: x)
    // Beside the copy, only what the preparation read of the constants is kept.
    let packed = BufferPool.sizeClass(4 * weights.elementCount)
    #expect(context.pool.statistics.bytesKept == plan.scratch + packed)
  }

  @Test func sizesEndAtTheLargestAllocation() {
    #expect(BufferPool.sizeClass(1_000_000) == 1_048_576)
    #expect(BufferPool.sizeClass(1_000_000, largest: 1_010_000) == 1_010_000)
    #expect(BufferPool.sizeClass(1_020_000, largest: 1_010_000) == 1_020_000)
  }

  /// A laptop's own GPU has more compute units than the better one beside it.
  @Test func strengthIsMemoryOfOnesOwnThenArithmetic() {
    func strength(_ shares: Bool, _ vendor: String, _ units: Int, _ clock: Int) -> DeviceStrength {
      DeviceStrength(sharesHostMemory: shares, vendor: vendor, computeUnits: units, clock: clock, memory: 8 << 30)
    }
    let integrated = strength(true, "Intel(R) Corporation", 96, 1300)
    let laptop = strength(false, "NVIDIA Corporation", 28, 1777)
    let workstation = strength(false, "NVIDIA Corporation", 132, 1980)
    let other = strength(false, "Advanced Micro Devices, Inc.", 60, 2250)
    #expect(integrated < laptop && laptop < other && other < workstation)
    #expect(integrated == strength(true, "Intel(R) Corporation", 96, 1300))
  }

  @Test func devicesThatKernelsDoNotFitAreNotUsable() {
    func problem(_ kind: OpenCLDevice.Kind, _ version: String, _ group: Int) -> String? {
      DeviceTraits.problem(kind: kind, version: version, largestGroup: group)
    }
    #expect(problem(.gpu, "OpenCL 3.0 CUDA 12.4", 1024) == nil && problem(.gpu, "OpenCL 1.2 ", 64) == nil)
    #expect(problem(.gpu, "OpenCL 1.1 AMD-APP", 256)?.contains("kernels need OpenCL 1.2") == true)
    #expect(problem(.gpu, "OpenCL 3.0", 32)?.contains("32 work-items at most") == true)
    #expect(problem(.cpu, "OpenCL 3.0", 32) == nil)
  }

  @Test func thePoolKeepsWithinItsBudget() throws {
    let context = try DeviceUnderTest.backend.context
    let pool = BufferPool(context.handle, device: context.device, budget: 1 << 20)
    let first = try pool.allocate(600_000)
    let requested = BufferPool.sizeClass(600_000)
    do {
      _ = try pool.allocate(600_000)
      Issue.record("the budget was exceeded")
    } catch ComputeError.outOfMemory(let wanted, let available, _) {
      #expect(wanted == requested)
      #expect(available == (1 << 20) - requested)
    }
    _ = consume first
    #expect(pool.statistics.bytesKept == requested)
    // What was kept makes room for another size.
    let second = try pool.allocate(1 << 20)
    #expect(pool.statistics.bytesKept == 0)
    #expect(second.byteCount == 1 << 20)
  }

  @Test func aMemoryLimitIsKept() async throws {
    let step = try GatedStep()
    let backend = try DeviceUnderTest.backend
    let needed = try await backend.compile(step.program, options: CompileOptions()).memoryPlan.total
    _ = try await backend.compile(step.program, options: CompileOptions(memoryLimit: needed))
    do {
      _ = try await backend.compile(step.program, options: CompileOptions(memoryLimit: needed - 1))
      Issue.record("the limit was exceeded")
    } catch ComputeError.outOfMemory(let requested, let available, _) {
      #expect(requested == needed)
      #expect(available == needed - 1)
    }
  }

  @Test func allUnsupportedNodesAreNamed() async throws {
    var graph = Graph()
    let x = graph.addInput("x", TensorType(.float64, [2, 3]))
    let first = try graph.add(.unary(.exponential), x, name: "first")
    let second = try graph.add(.unary(.negate), graph.add(.cast(.uint64), x, name: "second"), name: "third")
    graph.outputs = [first, second]
    do {
      _ = try await DeviceUnderTest.backend.compile(Program(graph), options: CompileOptions())
      Issue.record("the graph was compiled")
    } catch ComputeError.unsupported(let backend, let nodes) {
      #expect(backend == "opencl")
      for name in ["first", "second", "third"] { #expect(nodes.contains { $0.contains("'\(name)'") }) }
    }
  }

  @Test func wrongTensorsAndValuesAreRefused() async throws {
    var graph = Graph()
    let x = graph.addInput("x", TensorType(.float32, [2, 3]))
    graph.outputs = [try graph.add(.unary(.relu), x)]
    let executable = try await DeviceUnderTest.backend.compile(Program(graph), options: CompileOptions())
    await #expect(throws: ComputeError.self) { try await executable.run(steps: 1) }
    await #expect(throws: ComputeError.self) { try await executable.write(Tensor(zeros: [3, 2]), to: x) }
    await #expect(throws: ComputeError.self) { _ = try await executable.read(x) }
    try await executable.write(Tensor([-1, 2, -3, 4, -5, 6] as [Float], shape: [2, 3]), to: x)
    await #expect(throws: ComputeError.self) { _ = try await executable.read(graph.outputs[0]) }
    try await executable.run(steps: 1)
    #expect(try await executable.read(graph.outputs[0]).floats == [0, 2, 0, 4, 0, 6])
  }

  @Test func carriedValuesMaySwap() async throws {
    var graph = Graph()
    let type = TensorType(.float32, [2])
    let (x, y) = (graph.addInput("x", type), graph.addInput("y", type))
    graph.outputs = [y]
    let program = Program(graph, carries: [Program.Carry(from: x, to: y), Program.Carry(from: y, to: x)])
    let executable = try await DeviceUnderTest.backend.compile(program, options: CompileOptions())
    try await executable.write(Tensor([1, 2] as [Float], shape: [2]), to: x)
    try await executable.write(Tensor([3, 4] as [Float], shape: [2]), to: y)
    try await executable.run(steps: 3)
    #expect(try await executable.read(x).floats == [3, 4])
    #expect(try await executable.read(y).floats == [1, 2])
  }

  @Test func aCancelledRunStopsBetweenSteps() async throws {
    var graph = Graph()
    let x = graph.addInput("x", TensorType(.float32, .scalar))
    let one = graph.addConstant("one", Tensor(scalar: Float(1)))
    let next = try graph.add(.binary(.add), x, one)
    let program = Program(graph, carries: [Program.Carry(from: next, to: x)])
    let executable = try await DeviceUnderTest.backend.compile(program, options: CompileOptions())
    try await executable.write(Tensor(scalar: Float(0)), to: x)
    var steps: Float = 0
    // On a busy machine a run may have to wait for its first step.
    for wait in [50, 500, 5000] where steps == 0 {
      let task = Task { try await executable.run(steps: 10_000_000) }
      try await Task.sleep(for: .milliseconds(wait))
      task.cancel()
      let result = await task.result
      #expect(throws: ComputeError.self) { try result.get() }
      steps = try await executable.read(x).floats[0]
    }
    #expect(steps > 0 && steps < 10_000_000 && steps == steps.rounded())
  }

  @Test func aDeviceThatIsNotThereIsSaid() {
    #expect(throws: ComputeError.self) { try OpenCLBackend(deviceAt: OpenCLDevices.all.count) }
  }
}
