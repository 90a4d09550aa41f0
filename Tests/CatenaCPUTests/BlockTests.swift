import CatenaCPU
import CatenaCompute
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

/// Programs that run block by block give what they give with all samples at once.
struct BlockTests {
  /// More samples than one thread's block, in regions of their own: the same, region by region.
  @Test(arguments: [1, 2, 3, 4], [1, 2, 3])
  func everyDivisionAgreesWithReference(_ threads: Int, _ regions: Int) async throws {
    var network = try SmallNetwork.residual(batch: 12, regions: regions)
    let data = network.graph.inputs[0]
    // Values of all samples, of single samples and sums are read outside the section as well.
    let target = network.input([12, 10], "target")
    let weights = network.input([12, 1], "weights")
    let distance = try network.graph.add(
      .binary(.multiply), network.graph.add(.binary(.subtract), network.graph.outputs[0], target), weights)
    let perRegion = try network.graph.add(.reshape([regions, 120 / regions]), distance)
    network.graph.outputs.append(
      try network.graph.add(.reduce(Reduce(.sum, axes: [1], keepsDimensions: false)), perRegion))
    network.graph.outputs.append(data)
    let tensors = network.tensors()
    let expected = try await ReferenceBackend().compile(Program(network.graph), options: CompileOptions())
      .results(tensors, reading: network.graph.outputs)
    let found = try await CPUBackend(threads: threads).compile(Program(network.graph), options: CompileOptions())
      .results(tensors, reading: network.graph.outputs)
    for (found, expected) in zip(found, expected) { #expect(difference(found, expected, tolerance: 1e-5) == nil) }
  }

  /// A limit below the fastest way's memory is kept by smaller blocks, with the same results.
  @Test func smallerBlocksKeepALimit() async throws {
    var network = try SmallNetwork.residual(batch: 16, regions: 1)
    let tensors = network.tensors()
    let backend = CPUBackend(threads: 2)
    let free = try await backend.compile(Program(network.graph), options: CompileOptions())
    let limit = free.memoryPlan.total - 1
    let bounded = try await backend.compile(Program(network.graph), options: CompileOptions(memoryLimit: limit))
    #expect(bounded.memoryPlan.total <= limit)
    let expected = try await free.results(tensors, reading: network.graph.outputs)[0]
    let found = try await bounded.results(tensors, reading: network.graph.outputs)[0]
    #expect(difference(found, expected, tolerance: 1e-6) == nil)
  }

  @Test func timesCoverEveryKernel() async throws {
    var network = try SmallNetwork.residual(batch: 8, regions: 1)
    let executable = try await CPUBackend(threads: 2).compileForProcessor(
      Program(network.graph), options: CompileOptions())
    for (input, tensor) in network.tensors() { try await executable.write(tensor, to: input) }
    let seconds = try await executable.runTimed()
    #expect(seconds.count == executable.kernels.count)
    #expect(seconds.allSatisfy { $0 > 0 })
  }
}

/// Products in bf16, where the processor has them; elsewhere a clear refusal.
struct BFloat16Tests {
  @Test func imagesInBFloat16StayCloseToReference() async throws {
    var network = try SmallNetwork.residual(batch: 4, regions: 2)
    let tensors = network.tensors()
    let program = Program(network.graph)
    let backend = CPUBackend()
    guard backend.device.instructionSet == "avx512-bf16" || backend.device.instructionSet == "avx512-amx" else {
      await #expect(throws: ComputeError.self) {
        _ = try await backend.compile(program, options: CompileOptions(precision: .bf16))
      }
      return
    }
    let executable = try await backend.compileForProcessor(program, options: CompileOptions(precision: .bf16))
    let convolutions = executable.kernels.filter { $0.kind.hasPrefix("convolution") }
    #expect(convolutions.contains { $0.implementation.contains("bf16") })
    #expect(convolutions.allSatisfy { ["bf16", "winograd"].contains(where: $0.implementation.contains) })
    let expected = try await ReferenceBackend().compile(program, options: CompileOptions())
      .results(tensors, reading: network.graph.outputs)
    let found = try await executable.results(tensors, reading: network.graph.outputs)
    // Two convolutions, each with factors of 8 bits.
    #expect(difference(found[0], expected[0], tolerance: 0.02) == nil)
    #expect(difference(found[0], expected[0], tolerance: 1e-6) != nil)
  }

  /// Images are kept in bf16, but what is read of a program has its own element type, however it follows from an image.
  @Test(arguments: [1, 6]) func otherFormsOfImagesAreReadAsTheirOwnType(_ batch: Int) async throws {
    let backend = CPUBackend()
    guard ["avx512-bf16", "avx512-amx"].contains(backend.device.instructionSet) else { return }
    var network = SmallNetwork()
    let first = try network.convolution(network.input([batch, 3, 8, 8]), 16)
    let image = try network.convolution(network.graph.add(.unary(.relu), first), 16)
    let whole = Slice(starts: [0, 0, 4, 4], sizes: [batch, 16, 8, 8], steps: [1, 1, 1, 1])
    let half = Slice(starts: [0, 4, 1, 0], sizes: [batch, 8, 6, 4], steps: [1, 1, 1, 2])
    let forms: [Operator] = [
      .identity, .reshape([batch, 32, 4, 8]), .reshape([batch, 1024]), .reshape([batch, 16, 1, 8, 8]),
      .transpose(permutation: [0, 2, 3, 1]), .transpose(permutation: [0, 1, 3, 2]), .slice(half),
      .sliceGradient(whole, inputShape: [batch, 16, 16, 16]), .expand([2, batch, 16, 8, 8]),
      .pad(Pad(.constant(0), begins: [0, 0, 1, 2], ends: [0, 0, 0, 1])), .concatenate(axis: 1), .unary(.relu),
    ]
    for form in forms { network.graph.outputs.append(try network.graph.add(form, image)) }
    network.graph.outputs += try network.graph.add(.split(axis: 1, sizes: [4, 12]), inputs: [image])
    // What reads the image besides, so that it is narrowed.
    network.graph.outputs.append(try network.convolution(image, 8))
    let tensors = network.tensors()
    let program = Program(network.graph)
    let expected = try await ReferenceBackend().compile(program, options: CompileOptions())
      .results(tensors, reading: network.graph.outputs)
    let found = try await backend.compile(program, options: CompileOptions(precision: .bf16))
      .results(tensors, reading: network.graph.outputs)
    for (index, (found, expected)) in zip(found, expected).enumerated() {
      let largest = expected.doubles.map(abs).max() ?? 0
      let deviation = zip(found.doubles, expected.doubles).map { abs($0 - $1) }.max() ?? 0
      #expect(deviation <= 0.02 * largest && found.shape == expected.shape, "output \(index)")
    }
  }

  @Test(
    .enabled(if: Networks.availability.isPresent, Comment(rawValue: Networks.availability.reason)),
    arguments: Networks.small, [1, 2])
  func gatedStepIsCloseToReference(_ name: String, _ regions: Int) async throws {
    let backend = CPUBackend()
    guard ["avx512-bf16", "avx512-amx"].contains(backend.device.instructionSet) else { return }
    let step = try GatedStep(Networks.graph(name, batch: 4), regions: regions)
    let values = [step.logits, step.gradient]
    let expected = try await backend.compile(step.program, options: CompileOptions())
      .results(step.tensors, reading: values)
    let found = try await backend.compile(step.program, options: CompileOptions(precision: .bf16))
      .results(step.tensors, reading: values)
    for (found, expected) in zip(found, expected) {
      let (a, b) = (found.doubles, expected.doubles)
      let products = zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
      let norms = [a, b].map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() }
      #expect(products / (norms[0] * norms[1]) > 0.98, "cosine of bf16 to f32")
    }
  }
}
