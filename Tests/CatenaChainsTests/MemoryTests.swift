import CatenaCPU
import CatenaChains
import CatenaCompute
import CatenaTensors
import Foundation
import TestSupport
import Testing

/// Measured in processes of their own, since all threads' allocations count, and with nothing beside them, since a busy
/// machine makes the runtime keep jobs: set CATENA_TEST_ALLOCATIONS and filter for this suite.
@Suite(
  "Memory of the step", .serialized, .enabled(if: ProcessInfo.processInfo.environment["CATENA_TEST_ALLOCATIONS"] != nil)
)
struct MemoryTests {
  @Test("a hundred steps leave nothing behind and need no memory worth naming")
  func steps() async {
    await #expect(processExitsWith: .success) {
      let network = ShippedNetwork.resnet20
      let optimizer = try await optimizer(
        network.model(), [network.region([0, 1])], keep: [0.1], settings: .short(steps: 200))
      try await optimizer.advance(by: 2)
      // What a call costs however many steps it makes: the concurrency runtime's jobs.
      let none = try await Allocations.counted { try await optimizer.executable.run(steps: 0) }
      let hundred = try await Allocations.counted { try await optimizer.executable.run(steps: 100) }
      // The smallest block that could stay behind in every step has 16 bytes. Less than that is the concurrency
      // runtime's, which keeps a job or two, or not, as the machine is busy.
      #expect(hundred.heldBytes - none.heldBytes < 100 * 16, "\(hundred)")
      #expect(hundred.peakBytes <= 4096, "\(hundred)")
    }
  }

  @Test("a step of a real network allocates nothing")
  func allocations() async {
    await #expect(processExitsWith: .success) {
      let network = ShippedNetwork.resnet20
      let optimizer = try await optimizer(
        network.model(), [network.region([0, 1])], keep: [0.1], settings: .short(steps: 400))
      try await optimizer.advance(by: 2)
      let allocations = try await Allocations.ofHundredSteps { steps in
        try await optimizer.executable.run(steps: steps)
      }
      #expect(allocations == 0)
    }
  }

  @Test("the plan's bytes are those that the step occupies, within a tenth")
  func plan() async {
    await #expect(processExitsWith: .success) {
      let network = ShippedNetwork.resnet20
      let region = try network.region(Array(0..<20))
      let chain = try ChainNetwork(model: network.model(), batch: region.count)
      let program = try ChainProgram(network: chain, regions: 1, settings: .short(steps: 200))
      let backend = CPUBackend()
      // Once before, so that what libraries keep for the whole process is there.
      _ = try await backend.compile(program.program, options: CompileOptions())
      var executable: (any Executable)?
      let compiled = try await Allocations.counted {
        executable = try await backend.compile(program.program, options: CompileOptions())
      }
      let step = try #require(executable)
      for input in program.program.graph.inputs {
        try await step.write(Tensor(zeros: program.program.graph.shape(input)), to: input)
      }
      let run = try await Allocations.counted { try await step.run(steps: 3) }
      let peak = compiled.heldBytes + run.peakBytes
      let planned = step.memoryPlan.total
      #expect(abs(peak - planned) * 10 <= planned, "planned \(planned), peak \(peak), \(compiled), \(run)")
    }
  }

  @Test("a whole extraction keeps to its plan, and its programs to a limit by smaller blocks of samples")
  func extraction() async {
    await #expect(processExitsWith: .success) {
      try await expectExtractionKeepsToItsPlan(.short(steps: 2))
    }
  }

  @Test("so does one with all phases that goes to chains of other sizes")
  func otherSizes() async {
    await #expect(processExitsWith: .success) {
      var settings = ChainSettings.short(steps: 20)
      settings.sizeRatio = 1.3
      try await expectExtractionKeepsToItsPlan(settings)
    }
  }
}

/// The programs' bytes are the plan's; what comes on top is the network as imported, and the curve.
private func expectExtractionKeepsToItsPlan(_ settings: ChainSettings) async throws {
  let network = ShippedNetwork.resnet20
  let region = try network.region(Array(0..<20))
  let chain = try ChainNetwork(model: network.model(), batch: region.count)
  let backend = CPUBackend()
  var settings = settings
  // The plan is that of the programs, not of more samples.
  settings.variants = 0
  func extractor(_ limit: Int?) -> ChainExtractor {
    ChainExtractor(
      network: chain, backend: backend, settings: settings, options: CompileOptions(memoryLimit: limit))
  }
  let free = try await extractor(nil).plan(for: region, request: .keep(fraction: 0.5))
  // Packed weights do not shrink with the blocks.
  let limit = free.total * 4 / 5
  for (limit, plan) in [
    (nil, free), (limit, try await extractor(limit).plan(for: region, request: .keep(fraction: 0.5))),
  ] {
    let count = try await Allocations.counted {
      _ = try await extractor(limit).chains(for: [region], request: .keep(fraction: 0.5))
    }
    let remark = "limit \(limit ?? 0), planned \(plan.total), \(count)"
    #expect(plan.total <= limit ?? .max, "\(remark)")
    // On top of both programs: the weights as imported, for each of them, and while they are packed.
    let weights = chain.graph.constants.values.reduce(0) { $0 + $1.byteCount }
    #expect(count.peakBytes >= plan.total * 8 / 10 && count.peakBytes <= plan.total + 4 * weights, "\(remark)")
  }
}
