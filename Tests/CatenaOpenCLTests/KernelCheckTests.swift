import CatenaCompute
import CatenaOpenCL
import Foundation
import TestSupport
import Testing

/// What is to run: `problems`, or `fault` for a kernel that the checker must find wrong.
private let part = ProcessInfo.processInfo.environment["CATENA_KERNEL_CHECK"]

/// A few small problems of every family, each kernel in its shapes for processors and for GPUs: what a slow kernel
/// checker runs (`Tools/check-kernels`). The checker is not safe on several threads.
@Suite(
  .serialized,
  .enabled(if: part != nil && DeviceUnderTest.isAvailable, "CATENA_KERNEL_CHECK is not set")
)
struct KernelCheckTests {
  private static let largestProblem = 700

  /// A device whose kernels are built as they are written: the checker does not know all that an optimiser makes of them.
  private static func context(_ traits: DeviceTraits) throws -> OpenCLContext {
    var driver = Driver()
    let build = driver.buildProgram
    driver.buildProgram = { build($0, $1, $2 + " -cl-opt-disable") }
    let device = try DeviceUnderTest.backend.context.device
    return try OpenCLContext(device, traits: KernelTraits(traits), cache: .off, driver: driver)
  }

  @Test(.enabled(if: part == "problems"), arguments: [OpenCLDevice.Kind.cpu, .gpu])
  func smallProblems(shapesFor kind: OpenCLDevice.Kind) async throws {
    var traits = DeviceTraits(kind: kind)
    if kind == .gpu {
      traits.tile = DeviceTraits.Tile(rows: 16, columns: 8, inner: 4, itemRows: 4, itemColumns: 4)
    }
    let backend = OpenCLBackend(context: try Self.context(traits))
    var count = 0
    for family in ProblemFamily.allCases {
      for problem in try problems(for: family)
      where problem.operands.allSatisfy({ $0.type.shape.elementCount <= Self.largestProblem }) {
        do { try await check(problem, on: backend) } catch { Issue.record("\(problem): \(error)") }
        count += 1
      }
    }
    print("kernel check: \(count) problems in the shapes for \(kind.rawValue)")
    #expect(count > 150)
  }

  /// A read beyond the end of a buffer, which the checker has to report.
  @Test(.enabled(if: part == "fault"))
  func aKernelThatLeavesItsBuffers() async throws {
    let context = try Self.context(DeviceTraits(kind: .cpu))
    let words = 64
    let source = """
      kernel void beyond(global const float *source, global float *target) {
        target[get_global_id(0)] = source[get_global_id(0) + 65536];
      }
      """
    _ = try context.run(source, kernel: "beyond", input: [UInt32](repeating: 0, count: words), resultCount: words)
  }
}
