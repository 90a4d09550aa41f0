import CatenaCompute
import CatenaOpenCL
import Foundation
import TestSupport
import Testing

/// A few small problems of every family, each kernel in its shapes for processors and for GPUs: what a slow kernel
/// checker runs (`Tools/check-kernels`).
@Suite(
  .enabled(
    if: ProcessInfo.processInfo.environment["CATENA_KERNEL_CHECK"] == "1" && DeviceUnderTest.isAvailable,
    "CATENA_KERNEL_CHECK is not 1"))
struct KernelCheckTests {
  private static let largestProblem = 700

  @Test(arguments: [OpenCLDevice.Kind.cpu, .gpu])
  func smallProblems(shapesFor kind: OpenCLDevice.Kind) async throws {
    var traits = DeviceTraits(kind: kind)
    if kind == .gpu {
      traits.tile = DeviceTraits.Tile(rows: 16, columns: 8, inner: 4, itemRows: 4, itemColumns: 4)
    }
    let device = try DeviceUnderTest.backend.context.device
    let backend = OpenCLBackend(context: try OpenCLContext(device, traits: KernelTraits(traits), cache: .off))
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
}
