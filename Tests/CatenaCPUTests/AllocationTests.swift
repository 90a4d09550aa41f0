import CatenaCPU
import CatenaCompute
import CatenaGraph
import Foundation
import TestSupport
import Testing

/// Measured in processes of their own, since all threads' allocations count, those of the tests' own machinery among
/// them: set CATENA_TEST_ALLOCATIONS and filter for this suite.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["CATENA_TEST_ALLOCATIONS"] != nil), .serialized)
struct AllocationTests {
  @Test func ownKernelsAllocateNothing() async {
    await #expect(processExitsWith: .success) {
      var network = SmallNetwork()
      let data = network.input([4, 8, 16, 16])
      let gate = network.input([2, 8], "gate")
      let gated = try network.graph.add(.gate(axis: 1), data, gate)
      let pool = Pool(
        .maximum, kernel: [2, 2], strides: [2, 2], padsBegin: [0, 0], padsEnd: [0, 0], dilations: [1, 1])
      let pooled = try network.graph.add(.pool(pool), network.graph.add(.unary(.sigmoid), gated))
      let means = try network.graph.add(.reduce(Reduce(.mean, axes: [2, 3], keepsDimensions: false)), pooled)
      network.graph.outputs = [try network.graph.add(.softmax(axes: [1]), means)]
      #expect(try await allocations(&network) == 0)
    }
  }

  @Test func productsByConstantWeightsAllocateNothing() async {
    await #expect(processExitsWith: .success) {
      var network = try SmallNetwork.residual(batch: 4, regions: 2)
      #expect(try await allocations(&network) == 0)
    }
  }

  /// What oneDNN still does, grouped convolutions among it: it allocates the table of a primitive's arguments at every
  /// execution and frees it, a fixed number each.
  @Test func primitivesAllocateTheSameEveryStep() async {
    await #expect(processExitsWith: .success) {
      var network = SmallNetwork()
      let data = network.input([4, 16, 10, 8])
      let geometry = Convolution(strides: [1, 1], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1], groups: 16)
      let weights = network.constant([16, 1, 3, 3])
      network.graph.outputs = [try network.graph.add(.convolution(geometry), data, weights)]
      let perStep = Double(try await allocations(&network)) / 100
      #expect(perStep >= 1, "nothing is left that allocates: say so in the documentation")
      // One primitive for every block, of which there are at most as many as samples.
      #expect(perStep <= 4 * 16, "\(perStep) allocations in a step")
    }
  }
}

/// Those of a hundred steps.
private func allocations(_ network: inout SmallNetwork) async throws -> Int {
  let executable = try await CPUBackend().compile(Program(network.graph), options: CompileOptions())
  _ = try await executable.results(network.tensors(), steps: 2, reading: [])
  return try await Allocations.ofHundredSteps { steps in try await executable.run(steps: steps) }
}
