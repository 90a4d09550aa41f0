import CatenaCPU
import CatenaCompute
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

/// ||found - expected|| / ||expected||
private func relativeError(of found: Tensor, to expected: Tensor) -> Double {
  let distance = zip(found.doubles, expected.doubles).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
  return (distance / expected.doubles.reduce(0) { $0 + $1 * $1 }).squareRoot()
}

@Suite(.enabled(if: Networks.availability.isPresent, Comment(rawValue: Networks.availability.reason)))
struct NetworkTests {
  @Test(arguments: Networks.small)
  func forwardAgreesWithReference(_ name: String) async throws {
    let graph = try Networks.graph(name, batch: 2)
    let tensors = Networks.tensors(graph)
    let expected = try await ReferenceBackend().compile(Program(graph), options: CompileOptions())
      .results(tensors, reading: graph.outputs)
    let found = try await CPUBackend().compile(Program(graph), options: CompileOptions())
      .results(tensors, reading: graph.outputs)
    for (found, expected) in zip(found, expected) {
      #expect(difference(found, expected, tolerance: 1e-5) == nil)
    }
  }

  @Test(arguments: Networks.small, [1, 2])
  func gatedStepAgreesWithReference(_ name: String, _ regions: Int) async throws {
    let step = try GatedStep(Networks.graph(name, batch: 2), regions: regions)
    let values = [step.logits, step.loss, step.gradient, step.gated.scores]
    let expected = try await ReferenceBackend().compile(step.program, options: CompileOptions())
      .results(step.tensors, reading: values)
    let found = try await CPUBackend().compile(step.program, options: CompileOptions())
      .results(step.tensors, reading: values)
    for index in 0..<2 { #expect(difference(found[index], expected[index], tolerance: 1e-5) == nil, "value \(index)") }
    // Where rounding carries an activation over ReLU's kink, a few gradients jump: the norm is what can be asked for.
    #expect(relativeError(of: found[2], to: expected[2]) <= 1e-4)
    #expect(difference(found[3], expected[3], tolerance: 1e-3) == nil)
  }

  @Test(arguments: Networks.small + Networks.large)
  func mixingOperatorsRunGeneratedCode(_ name: String) async throws {
    let graph = try Networks.graph(name, batch: 2)
    var programs = [Program(graph)]
    if !graph.gateSites().layers.isEmpty {
      programs += try [1, 2].map { try GatedStep(graph, regions: $0).program }
    }
    for program in programs {
      let executable = try await CPUBackend().compileForProcessor(program, options: CompileOptions())
      let convolutions = executable.kernels.filter { $0.kind.hasPrefix("convolution") }
      #expect(!convolutions.isEmpty)
      for kernel in convolutions {
        let isLoopNest = kernel.implementation.contains("ref") || kernel.implementation.contains("gemm")
        #expect(!isLoopNest, "\(kernel)")
      }
    }
  }
}
