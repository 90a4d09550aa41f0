import CatenaCPU
import CatenaCompute
import CatenaGraph
import CatenaOpenCL
import CatenaReference
import CatenaTensors
import Foundation
import TestSupport
import Testing

/// What memory held before is in no result: with all bits set and with none set, every problem's results have the same
/// bits and are the reference's, and so are solutions of the layers of traces, which are the CPU's.
///
/// The bits are set in every buffer when it is made, for every problem anew, and in every result, piece of scratch and
/// packed weight immediately before the launch that first writes to it, in every step. Inputs and constants keep theirs.
/// Solvers have a buffer for everything, new for every use.
@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct UnwrittenMemoryTests {
  private static let patterns: [UInt64] = [.max, 0]

  /// A device in whose memory nothing is kept from one program to the next, and nothing at all from one use to the next
  /// where that is wanted.
  private struct Device {
    let memory: UnwrittenMemory
    let context: OpenCLContext

    init(_ traits: DeviceTraits? = nil, setsLocalMemory: Bool = false, keepsMemory: Bool = true) throws {
      memory = UnwrittenMemory(setsLocalMemory: setsLocalMemory)
      context = try OpenCLContext(
        DeviceUnderTest.backend.context.device, traits: traits.map { KernelTraits($0) }, driver: memory.driver,
        keepsMemory: keepsMemory)
    }

    /// A device whose local memory is set, too; to be opened before anything asks for devices. Every thread of PoCL has
    /// local memory of its own, so that one only may run.
    static func onOneThread(_ traits: DeviceTraits? = nil, keepsMemory: Bool = true) throws -> Device {
      for name in ["POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT"] { setenv(name, "1", 1) }
      return try Device(traits, setsLocalMemory: true, keepsMemory: keepsMemory)
    }

    func backend(unwrittenBits bits: UInt64) -> OpenCLBackend {
      memory.set(UInt32(truncatingIfNeeded: bits))
      context.pool.flush()
      return OpenCLBackend(context: context, unwrittenBits: bits)
    }

    /// The outputs of a problem.
    func results(
      _ problem: Problem, _ operands: [Tensor], weightsAreConstant: Bool, unwrittenBits bits: UInt64
    ) async throws -> [Tensor] {
      let graph = try problem.graph(weights: weightsAreConstant ? operands : nil)
      let executable = try await backend(unwrittenBits: bits).compile(Program(graph), options: CompileOptions())
      let written = zip(problem.operands, operands).filter { !($0.0.isWeight && weightsAreConstant) }.map(\.1)
      for (input, tensor) in zip(graph.inputs, written) { try await executable.write(tensor, to: input) }
      try await executable.run(steps: 1)
      var results: [Tensor] = []
      for output in graph.outputs { results.append(try await executable.read(output)) }
      return results
    }

    func check(_ problem: Problem) async throws {
      let operands = try problem.tensors(.reals)
      let expected = try Reference.evaluate(problem.operation, operands)
      for weightsAreConstant in problem.operands.contains(where: \.isWeight) ? [true, false] : [false] {
        var found: [[Tensor]] = []
        for bits in UnwrittenMemoryTests.patterns {
          found.append(
            try await results(problem, operands, weightsAreConstant: weightsAreConstant, unwrittenBits: bits))
        }
        for (index, tensor) in expected.enumerated() {
          if let difference = difference(found[0][index], tensor, tolerance: problemTolerance) {
            Issue.record("\(problem), output \(index), all bits set: \(difference)")
          }
          if !found[0][index].isBitIdentical(to: found[1][index]) {
            Issue.record("\(problem), output \(index): depends on what memory held before")
          }
        }
      }
    }

    func check(_ test: LayerCase, _ method: PruningMethod, sparsity: Double) async throws {
      let name = "\(test.testDescription), \(method), \(sparsity)"
      var found: [PrunedLayer] = []
      for bits in UnwrittenMemoryTests.patterns {
        let solvers = OpenCLSolverBackend(backend(unwrittenBits: bits))
        guard solvers.refusal(of: method) == nil else { return }
        found.append(try await test.solved(method, sparsity: sparsity, inputs: test.parts, on: solvers))
      }
      let expected = try await test.solved(
        method, sparsity: sparsity, inputs: test.parts, on: CPUSolverBackend(threads: 1))
      if let difference = test.difference(found[0], expected, method) {
        Issue.record("\(name), all bits set: \(difference)")
      }
      if !found[0].weights.isBitIdentical(to: found[1].weights) || found[0].loss != found[1].loss {
        Issue.record("\(name): depends on what memory held before")
      }
    }
  }

  @Test func reachesNoResult() async throws {
    let device = try Device()
    for problem in try ProblemFamily.allCases.flatMap({ try problems(for: $0) }) { try await device.check(problem) }
  }

  /// Kernels in the shapes for GPUs; those that share local memory find the bits there, too.
  @Test func reachesNoResultOfKernelsForGraphicsProcessors() async throws {
    await #expect(processExitsWith: .success) {
      let device = try Device.onOneThread(.smallTiles)
      for family in [ProblemFamily.convolution, .convolutionTranspose, .matrix, .gate, .pool] {
        for problem in try problems(for: family) { try await device.check(problem) }
      }
    }
  }

  /// Small layers with windows of all kinds, solved with both algorithms: what they removed and what is left.
  @Test func reachesNoSolution() async throws {
    await #expect(processExitsWith: .success) {
      for traits in [nil, DeviceTraits.smallTiles] {
        let device = try Device.onOneThread(traits, keepsMemory: false)
        for test in LayerCase.small {
          for (method, sparsity) in test.solutions { try await device.check(test, method, sparsity: sparsity) }
        }
      }
    }
  }

  /// Several steps of one program, whose values share memory.
  @Test func reachesNoResultOfGatedSteps() async throws {
    let step = try GatedStep(regions: 3)
    var found: [[Tensor]] = []
    let device = try Device()
    for bits in Self.patterns {
      let backend = device.backend(unwrittenBits: bits)
      let executable = try await step.run(on: backend, steps: 3)
      var tensors: [Tensor] = []
      for value in step.program.graph.outputs + step.carried { tensors.append(try await executable.read(value)) }
      found.append(tensors)
    }
    #expect(zip(found[0], found[1]).allSatisfy { $0.isBitIdentical(to: $1) })
    #expect(found[0].allSatisfy { $0.doubles.allSatisfy(\.isFinite) })
  }

  /// Whether a kernel finds local memory as the last one left it: what PoCL's threads have, but not its device without.
  private static var keepsLocalMemory: Bool {
    guard case .success(let backend) = DeviceUnderTest.result else { return false }
    return DeviceUnderTest.isProcessor && !backend.device.name.hasPrefix("basic")
  }

  /// The bits are seen by a kernel that reads local memory in which it wrote one word only.
  @Test(.enabled(if: keepsLocalMemory, "skipped: the device may clear local memory, or take other memory"))
  func isSeenInLocalMemory() async throws {
    await #expect(processExitsWith: .success) {
      let device = try Device.onOneThread()
      let source = """
        kernel void unwritten(global const uint *source, global uint *target) {
          local uint memory[1024];
          if (get_local_id(0) == 0) memory[source[0]] = 7;
          barrier(CLK_LOCAL_MEM_FENCE);
          target[get_local_id(0)] = memory[get_local_id(0)];
        }
        """
      device.memory.set(0xABCD_EF01)
      let seen = try device.context.run(
        source, kernel: "unwritten", input: [UInt32](repeating: 3, count: 32), resultCount: 32)
      #expect(seen.enumerated().allSatisfy { $0.element == ($0.offset == 3 ? 7 : 0xABCD_EF01) }, "\(seen)")
    }
  }
}
