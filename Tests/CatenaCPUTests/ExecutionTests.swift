import CatenaCPU
import CatenaCompute
import CatenaGraph
import CatenaTensors
import Foundation
import TestSupport
import Testing

/// A convolution with what can follow it, and a small network around it.
struct SmallNetwork {
  var graph = Graph()
  private var generator = SeededGenerator(seed: 5)

  mutating func tensor(_ shape: Shape, from lower: Double = -1, to upper: Double = 1) -> Tensor {
    Tensor(
      (0..<shape.elementCount).map { _ in Float(lower + (upper - lower) * generator.uniform()) }, shape: shape)
  }

  mutating func input(_ shape: Shape, _ name: String = "input") -> ValueID {
    graph.addInput(name, TensorType(.float32, shape))
  }

  mutating func constant(_ shape: Shape, from lower: Double = -1, to upper: Double = 1) -> ValueID {
    let tensor = tensor(shape, from: lower, to: upper)
    return graph.addConstant("constant", tensor)
  }

  mutating func convolution(_ data: ValueID, _ filters: Int, kernel: Int = 3, stride: Int = 1) throws -> ValueID {
    let weight = constant([filters, graph.shape(data)[1], kernel, kernel], from: -0.3, to: 0.3)
    let pads = [kernel / 2, kernel / 2]
    let geometry = Convolution(strides: [stride, stride], padsBegin: pads, padsEnd: pads, dilations: [1, 1])
    return try graph.add(.convolution(geometry), inputs: [data, weight, constant([filters])])[0]
  }

  mutating func normalization(_ data: ValueID) throws -> ValueID {
    let channels: Shape = [graph.shape(data)[1]]
    let parameters = [constant(channels, from: 0.5), constant(channels), constant(channels)]
    return try graph.add(
      .batchNormalization(epsilon: 1e-5), inputs: [data] + parameters + [constant(channels, from: 0.5, to: 2)])[0]
  }

  /// conv + norm + relu, then conv + norm + gate + residual + relu, average pool, Gemm + relu, softmax.
  static func residual(batch: Int, regions: Int) throws -> SmallNetwork {
    var network = SmallNetwork()
    let data = network.input([batch, 3, 10, 8])
    let gate = network.input([regions, 16], "gate")
    let stem = try network.graph.add(
      .unary(.relu), network.normalization(network.convolution(data, 16)), name: "stem")
    let branch = try network.graph.add(
      .gate(axis: 1), network.normalization(network.convolution(stem, 16)), gate, name: "branch")
    let sum = try network.graph.add(.binary(.add), branch, stem)
    let joined = try network.graph.add(.unary(.relu), sum, name: "joined")
    let pooled = try network.graph.add(.reduce(Reduce(.mean, axes: [2, 3], keepsDimensions: false)), joined)
    let product = try network.graph.add(
      .gemm(Gemm(transposeB: true)), pooled, network.constant([10, 16]), network.constant([10]))
    let hidden = try network.graph.add(.unary(.relu), product, name: "hidden")
    network.graph.outputs = [try network.graph.add(.softmax(axes: [1]), hidden)]
    return network
  }

  /// A tensor per input.
  mutating func tensors() -> ValueMap<Tensor> {
    var tensors: ValueMap<Tensor> = [:]
    for input in graph.inputs { tensors[input] = tensor(graph.shape(input)) }
    return tensors
  }
}

struct FusionTests {
  @Test(arguments: [1, 2, 4])
  func residualBlockIsThreePrimitives(_ regions: Int) async throws {
    var network = try SmallNetwork.residual(batch: 4, regions: regions)
    let tensors = network.tensors()
    let executable = try await CPUBackend().compileForProcessor(Program(network.graph), options: CompileOptions())
    #expect(
      executable.kernels.map(\.kind) == [
        "convolution+batchNormalization+relu", "convolution+batchNormalization+gate+add+relu", "reduce-mean",
        "gemm+relu", "softmax",
      ])
    let reference = try await ReferenceBackend().compile(Program(network.graph), options: CompileOptions())
    let expected = try await reference.results(tensors, reading: network.graph.outputs)
    let found = try await executable.results(tensors, reading: network.graph.outputs)
    #expect(difference(found[0], expected[0], tolerance: 1e-5) == nil)
  }

  @Test func regionsAreRunsOfTheirOwn() async throws {
    var network = try SmallNetwork.residual(batch: 6, regions: 3)
    let tensors = network.tensors()
    let (data, gate) = (network.graph.inputs[0], network.graph.inputs[1])
    let together = try await CPUBackend().compile(Program(network.graph), options: CompileOptions())
      .results(tensors, reading: network.graph.outputs)[0].floats
    let single = try SmallNetwork.residual(batch: 2, regions: 1)
    let executable = try await CPUBackend().compile(Program(single.graph), options: CompileOptions())
    for region in 0..<3 {
      func part(_ value: ValueID) throws -> Tensor {
        let all = try #require(tensors[value])
        let count = all.elementCount / 3
        let shape = Shape([all.shape[0] / 3] + all.shape.dimensions.dropFirst())
        return Tensor(Array(all.floats[region * count..<(region + 1) * count]), shape: shape)
      }
      let inputs: ValueMap = [single.graph.inputs[0]: try part(data), single.graph.inputs[1]: try part(gate)]
      let alone = try await executable.results(inputs, reading: single.graph.outputs)[0].floats
      #expect(alone == Array(together[region * alone.count..<(region + 1) * alone.count]))
    }
  }

  @Test func chainsOfElementsArePassedOnce() async throws {
    var network = SmallNetwork()
    let data = network.input([2, 8, 6, 6])
    let gate = network.input([1, 8], "gate")
    let gradient = network.input([2, 8, 6, 6], "gradient")
    let masked = try network.graph.add(.unaryGradient(.relu), gradient, data)
    let gated = try network.graph.add(.gate(axis: 1), masked, gate)
    let slope = try network.graph.add(.gateGradientFromOutput(axis: 1), masked, data, gate)
    network.graph.outputs = [gated, slope]
    let executable = try await CPUBackend().compileForProcessor(Program(network.graph), options: CompileOptions())
    #expect(
      executable.kernels.map(\.kind).filter { $0 != "copy" } == [
        "reluGradient+gate+gateGradientFromOutput", "divideByGate",
      ])
    let tensors = network.tensors()
    let expected = try await ReferenceBackend().compile(Program(network.graph), options: CompileOptions())
      .results(tensors, reading: network.graph.outputs)
    let found = try await executable.results(tensors, reading: network.graph.outputs)
    for (found, expected) in zip(found, expected) { #expect(difference(found, expected, tolerance: 1e-5) == nil) }
  }

  /// The ReLU in front of a gate is fused with both, although the backward pass needs its mask; gates of any sign.
  @Test func gatedMasksAreFoundInOutputs() async throws {
    var network = SmallNetwork()
    let data = network.input([2, 8, 6, 6])
    let gate = network.input([1, 8], "gate")
    let gradient = network.input([2, 8, 6, 6], "gradient")
    let rectified = try network.graph.add(.unary(.relu), network.convolution(data, 8))
    let gated = try network.graph.add(.gate(axis: 1), rectified, gate)
    // As in a step, what comes back depends on what went out.
    let incoming = try network.graph.add(.binary(.multiply), gated, gradient)
    let scores = try network.graph.add(.gateGradientFromOutput(axis: 1), incoming, gated, gate)
    let passed = try network.graph.add(.gate(axis: 1), incoming, gate)
    let masked = try network.graph.add(.unaryGradient(.relu), passed, rectified)
    network.graph.outputs = [gated, scores, masked]
    let executable = try await CPUBackend().compileForProcessor(Program(network.graph), options: CompileOptions())
    #expect(executable.kernels.first?.kind == "convolution+relu+gate")
    #expect(executable.kernels.filter { $0.kind != "copy" }.count == 3)
    var tensors = network.tensors()
    tensors[gate] = Tensor([0, -0.5, 0.25, 1, 0, 2, -1, 0.75] as [Float], shape: [1, 8])
    let expected = try await ReferenceBackend().compile(Program(network.graph), options: CompileOptions())
      .results(tensors, reading: network.graph.outputs)
    let found = try await executable.results(tensors, reading: network.graph.outputs)
    for (found, expected) in zip(found, expected) { #expect(difference(found, expected, tolerance: 1e-5) == nil) }
  }

  @Test(arguments: [ElementType.float16, .bfloat16])
  func narrowTypesAreRoundedAtEveryNode(_ type: ElementType) async throws {
    var graph = Graph()
    var network = SmallNetwork()
    let data = graph.addInput("input", TensorType(type, [2, 4, 5, 5]))
    let weight = network.tensor([6, 4, 3, 3])
    let narrow = graph.addConstant(
      "weight", Tensor(doubles: weight.doubles, shape: weight.shape, elementType: type))
    let geometry = Convolution(strides: [1, 1], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1])
    let mixed = try graph.add(.convolution(geometry), data, narrow)
    let squashed = try graph.add(.unary(.sigmoid), mixed)
    let doubled = try graph.add(.binary(.add), squashed, squashed)
    graph.outputs = [mixed, try graph.add(.cast(.float32), doubled)]
    let values = network.tensor([2, 4, 5, 5])
    let tensors: ValueMap = [data: Tensor(doubles: values.doubles, shape: values.shape, elementType: type)]
    let expected = try await ReferenceBackend().compile(Program(graph), options: CompileOptions())
      .results(tensors, reading: graph.outputs)
    let found = try await CPUBackend().compile(Program(graph), options: CompileOptions())
      .results(tensors, reading: graph.outputs)
    // One unit in the last place, where f32 sums fall on the other side of a tie.
    let tolerance = type == .float16 ? 1e-3 : 8e-3
    for (found, expected) in zip(found, expected) { #expect(difference(found, expected, tolerance: tolerance) == nil) }
  }
}

struct ExecutionTests {
  @Test func runsRepeatBitForBit() async throws {
    var network = try SmallNetwork.residual(batch: 4, regions: 2)
    let tensors = network.tensors()
    var results: [Tensor] = []
    for _ in 0..<2 {
      let executable = try await CPUBackend(threads: 2).compile(Program(network.graph), options: CompileOptions())
      for _ in 0..<3 { results += try await executable.results(tensors, reading: network.graph.outputs) }
    }
    #expect(results.allSatisfy { $0.isBitIdentical(to: results[0]) })
  }

  @Test func carriedValuesAreReadBeforeTheyAreReplaced() async throws {
    var graph = Graph()
    let type = TensorType(.float32, [3])
    let (a, b) = (graph.addInput("a", type), graph.addInput("b", type))
    let sum = try graph.add(.binary(.add), a, b)
    graph.outputs = [sum]
    // Fibonacci: (a, b) becomes (b, a + b).
    let program = Program(graph, carries: [.init(from: b, to: a), .init(from: sum, to: b)])
    let executable = try await CPUBackend().compile(program, options: CompileOptions())
    let ones = Tensor([Float](repeating: 1, count: 3), shape: [3])
    let results = try await executable.results([a: ones, b: ones], steps: 8, reading: [a, b, sum])
    #expect(results.map { $0.floats[0] } == [34, 55, 55])
  }

  /// One sample: there are no smaller blocks to resort to.
  @Test func memoryIsLimitedBeforeItIsTaken() async throws {
    let network = try SmallNetwork.residual(batch: 1, regions: 1)
    let plan = try await CPUBackend().compile(Program(network.graph), options: CompileOptions()).memoryPlan
    #expect(plan.constants > 0 && plan.persistent > 0 && plan.intermediates > 0)
    _ = try await CPUBackend().compile(Program(network.graph), options: CompileOptions(memoryLimit: plan.total))
    await #expect {
      _ = try await CPUBackend().compile(
        Program(network.graph), options: CompileOptions(memoryLimit: plan.total - 1))
    } throws: { error in
      guard case ComputeError.outOfMemory(let requested, let available, _) = error else { return false }
      return requested == plan.total && available == plan.total - 1
    }
  }

  @Test func unsupportedNodesAreNamedTogether() async throws {
    var graph = Graph()
    let wide = graph.addInput("wide", TensorType(.float64, [3]))
    let root = try graph.add(.unary(.squareRoot), wide, name: "root")
    let sum = try graph.add(.binary(.add), root, root, name: "sum")
    graph.outputs = [sum]
    await #expect {
      _ = try await CPUBackend().compile(Program(graph), options: CompileOptions())
    } throws: { error in
      guard case ComputeError.unsupported("cpu", let nodes) = error else { return false }
      return nodes.count == 2 && nodes[0].contains("'root'") && nodes[1].contains("'sum'")
    }
  }

  @Test func wrongTensorsAreRefused() async throws {
    let network = try SmallNetwork.residual(batch: 4, regions: 1)
    let executable = try await CPUBackend().compile(Program(network.graph), options: CompileOptions())
    let input = network.graph.inputs[0]
    await #expect(throws: ComputeError.self) { try await executable.write(Tensor(zeros: [1]), to: input) }
    await #expect(throws: ComputeError.self) { _ = try await executable.read(ValueID(index: 3)) }
  }

  @Test func cancellationStopsBetweenSteps() async throws {
    let network = try SmallNetwork.residual(batch: 4, regions: 1)
    let executable = try await CPUBackend().compile(Program(network.graph), options: CompileOptions())
    let task = Task { try await executable.run(steps: 1_000_000) }
    task.cancel()
    await #expect { try await task.value } throws: { error in
      if case ComputeError.cancelled = error { true } else { false }
    }
    // It still runs afterwards.
    try await executable.run(steps: 1)
  }

  @Test func threadsChangeRoundingOnly() async throws {
    var network = try SmallNetwork.residual(batch: 4, regions: 2)
    let tensors = network.tensors()
    var results: [Tensor] = []
    for threads in [1, 2, 3] {
      let executable = try await CPUBackend(threads: threads).compile(
        Program(network.graph), options: CompileOptions())
      results += try await executable.results(tensors, reading: network.graph.outputs)
    }
    for result in results { #expect(difference(result, results[0], tolerance: 1e-6) == nil) }
  }

  /// Side by side, on a team that they share or on a thread each, also when nobody holds the back end any more.
  @Test(arguments: [1, 2])
  func programsOfOneBackEndDoNotDisturbEachOther(threads: Int) async throws {
    var programs: [(executable: any Executable, tensors: ValueMap<Tensor>, outputs: [ValueID], alone: [Float])] = []
    do {
      let backend = CPUBackend(threads: threads)
      for batch in [4, 8, 12] {
        var network = try SmallNetwork.residual(batch: batch, regions: 2)
        let (tensors, outputs) = (network.tensors(), network.graph.outputs)
        let executable = try await backend.compile(Program(network.graph), options: CompileOptions())
        let alone = try await executable.results(tensors, reading: outputs)[0].floats
        programs.append((executable, tensors, outputs, alone))
      }
    }
    try await withThrowingTaskGroup(of: Bool.self) { group in
      for program in programs {
        group.addTask {
          for _ in 0..<50 {
            let found = try await program.executable.results(program.tensors, reading: program.outputs)[0].floats
            guard found == program.alone else { return false }
          }
          return true
        }
      }
      for try await isSame in group { #expect(isSame) }
    }
  }

  @Test func indicesOutOfRangeAreAnError() async throws {
    var graph = Graph()
    let data = graph.addInput("data", TensorType(.float32, [4, 2]))
    let indices = graph.addInput("indices", TensorType(.int64, [2]))
    graph.outputs = [try graph.add(.gather(axis: 0), data, indices)]
    let executable = try await CPUBackend().compile(Program(graph), options: CompileOptions())
    try await executable.write(Tensor([Int64(0), 4], shape: [2]), to: indices)
    await #expect(throws: ComputeError.self) { try await executable.run(steps: 1) }
  }
}
