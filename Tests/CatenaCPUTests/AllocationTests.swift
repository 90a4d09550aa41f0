import CatenaCPU
import CatenaCompute
import CatenaGraph
import Foundation
import TestSupport
import Testing

/// Counts the whole process's allocations, so it runs alone: set CATENA_TEST_ALLOCATIONS and filter for this suite.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["CATENA_TEST_ALLOCATIONS"] != nil), .serialized)
struct AllocationTests {
  @Test func ownKernelsAllocateNothing() async throws {
    var network = SmallNetwork()
    let data = network.input([4, 8, 16, 16])
    let gate = network.input([2, 8], "gate")
    let gated = try network.graph.add(.gate(axis: 1), data, gate)
    let pool = Pool(
      .maximum, kernel: [2, 2], strides: [2, 2], padsBegin: [0, 0], padsEnd: [0, 0], dilations: [1, 1])
    let pooled = try network.graph.add(.pool(pool), network.graph.add(.unary(.sigmoid), gated))
    let means = try network.graph.add(.reduce(Reduce(.mean, axes: [2, 3], keepsDimensions: false)), pooled)
    network.graph.outputs = [try network.graph.add(.softmax(axes: [1]), means)]
    #expect(try await growth(&network) == 0)
  }

  /// oneDNN allocates the table of a primitive's arguments at every execution and frees it: a fixed number each.
  @Test func primitivesAllocateTheSameEveryStep() async throws {
    var network = try SmallNetwork.residual(batch: 4, regions: 2)
    let perStep = Double(try await growth(&network)) / 100
    // Two convolutions and one matrix product for every block, of which there are at most as many as samples.
    #expect(perStep <= 4 * 3 * 16, "\(perStep) allocations in a step")
  }

  /// How many more allocations 101 steps make than one.
  private func growth(_ network: inout SmallNetwork) async throws -> Int {
    let executable = try await CPUBackend().compile(Program(network.graph), options: CompileOptions())
    _ = try await executable.results(network.tensors(), steps: 2, reading: [])
    let one = try await Allocations.counted { try await executable.run(steps: 1) }
    let many = try await Allocations.counted { try await executable.run(steps: 101) }
    return many.allocations - one.allocations
  }
}
