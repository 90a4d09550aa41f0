import CatenaCompute
import CatenaOpenCL
import TestSupport
import Testing

/// Every problem of the shared tables against the reference; none is refused.
@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct ProblemTests {
  @Test(arguments: ProblemFamily.allCases)
  func agreesWithTheReference(_ family: ProblemFamily) async throws {
    let backend = try DeviceUnderTest.backend
    for problem in try problems(for: family) {
      do { try await check(problem, on: backend) } catch { Issue.record("\(problem): \(error)") }
    }
  }

  /// Kernels in the shapes that suit GPUs, wherever the tests run.
  @Test func kernelsForGraphicsProcessorsAgreeWithTheReference() async throws {
    let backend = try Self.graphicsShaped.get()
    for family in [ProblemFamily.convolution, .convolutionTranspose, .matrix, .gate, .pool, .normalization, .axes] {
      for problem in try problems(for: family) {
        do { try await check(problem, on: backend) } catch { Issue.record("\(problem): \(error)") }
      }
    }
  }

  private static let graphicsShaped: Result<OpenCLBackend, ComputeError> = {
    do throws(ComputeError) {
      let device = try DeviceUnderTest.result.get().context.device
      return .success(OpenCLBackend(context: try OpenCLContext(device, traits: KernelTraits(.smallTiles))))
    } catch { return .failure(error) }
  }()
}
