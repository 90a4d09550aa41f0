import CatenaCPU
import CatenaCompute
import CatenaOpenCL
import Foundation
import TestSupport
import Testing

/// What is to run: `problems`, or `fault` for a kernel that the checker must find wrong.
private let part = ProcessInfo.processInfo.environment["CATENA_KERNEL_CHECK"]

/// A few small problems of every family and small layers of traces, each kernel in its shapes for processors and for GPUs:
/// what a slow kernel checker runs (`Tools/check-kernels`). The checker is not safe on several threads.
@Suite(
  .serialized,
  .enabled(if: part != nil && DeviceUnderTest.isAvailable, "CATENA_KERNEL_CHECK is not set")
)
struct KernelCheckTests {
  private static let largestProblem = 700

  private static func context(_ traits: DeviceTraits, keepsMemory: Bool = true) throws -> OpenCLContext {
    try OpenCLContext(
      DeviceUnderTest.backend.context.device, traits: KernelTraits(traits), cache: .off,
      driver: KernelChecker().driver, keepsMemory: keepsMemory)
  }

  @Test(.enabled(if: part == "problems"), arguments: [OpenCLDevice.Kind.cpu, .gpu])
  func smallProblems(shapesFor kind: OpenCLDevice.Kind) async throws {
    let context = try Self.context(kind == .gpu ? .smallTiles : DeviceTraits(kind: kind))
    let backend = OpenCLBackend(context: context)
    var count = 0
    for family in ProblemFamily.allCases {
      for problem in try problems(for: family)
      where problem.operands.allSatisfy({ $0.type.shape.elementCount <= Self.largestProblem }) {
        do { try await check(problem, on: backend) } catch { Issue.record("\(problem): \(error)") }
        // What the next problem gets is new, and known not to be written.
        context.pool.flush()
        count += 1
      }
    }
    print("kernel check: \(count) problems in the shapes for \(kind.rawValue)")
    #expect(count > 150)
  }

  @Test(.enabled(if: part == "problems"), arguments: [OpenCLDevice.Kind.cpu, .gpu], LayerCase.small)
  func smallLayer(shapesFor kind: OpenCLDevice.Kind, _ test: LayerCase) async throws {
    let traits = kind == .gpu ? DeviceTraits.smallTiles : DeviceTraits(kind: kind)
    let solvers = OpenCLSolverBackend(OpenCLBackend(context: try Self.context(traits, keepsMemory: false)))
    var test = test
    if test.layer.columns > 20 { test.images = 2 }
    for (method, sparsity) in Self.solutions(of: test, shapesFor: kind) where solvers.refusal(of: method) == nil {
      let found = try await test.solved(method, sparsity: sparsity, inputs: test.parts, on: solvers)
      let expected = try await test.solved(
        method, sparsity: sparsity, inputs: test.parts, on: CPUSolverBackend(threads: 1))
      let difference = test.difference(found, expected, method)
      #expect(difference == nil, "\(method), \(sparsity)")
    }
  }

  /// Every solution of few columns. Of more, what else is needed for every window, several groups in f64, and a second
  /// late block, for which the interpreter needs longest and whose kernels are the same in all shapes but for the group.
  private static func solutions(
    of test: LayerCase, shapesFor kind: OpenCLDevice.Kind
  ) -> [(method: PruningMethod, sparsity: Double)] {
    let columns = test.layer.columns
    if columns <= 20 { return test.solutions }
    if columns > 100 && kind == .gpu { return [] }
    return test.solutions.filter { method, sparsity in
      method == PruningMethod(.fast) && sparsity > 0
        || method == PruningMethod(.exact(.kernel)) && test.layer.groups > 1
    }
  }

  /// What the checker has to report.
  enum Fault: String, CaseIterable {
    case beyond, race, unwrittenBuffer, unwrittenLocal, unwrittenVariable

    /// The statements of a kernel that has the fault.
    var statements: String {
      switch self {
      case .beyond: "target[item] = source[item + 65536];"
      case .race: "target[item / 2] = source[item] + item;"
      case .unwrittenBuffer: "if (target[item] == 1) target[item] = 2;"
      case .unwrittenLocal:
        """
        local uint words[64];
        words[item] = 1;
        barrier(CLK_LOCAL_MEM_FENCE);
        target[item] = words[item + 1];
        """
      case .unwrittenVariable:
        """
        uint sums[4];
        sums[source[item]] = 1;
        target[item] = sums[source[item] + 1];
        """
      }
    }
  }

  @Test(.enabled(if: part == "fault"), arguments: Fault.allCases)
  func aKernelWithAFault(_ fault: Fault) async throws {
    let context = try Self.context(DeviceTraits(kind: .cpu))
    let words = 64
    let source = """
      kernel void \(fault.rawValue)(global const uint *source, global uint *target) {
        const int item = get_global_id(0);
        \(fault.statements)
      }
      """
    _ = try context.run(
      source, kernel: fault.rawValue, input: [UInt32](repeating: 0, count: words), resultCount: words)
  }
}
