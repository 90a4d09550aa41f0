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

  /// Kernels in the shapes that suit GPUs, wherever the tests run; in a process of their own, since PoCL 3.1 breaks off
  /// where more than 128 builds of kernels are known to one process and some of them are under way.
  @Test func kernelsForGraphicsProcessorsAgreeWithTheReference() async throws {
    await #expect(processExitsWith: .success) {
      let backend = try Self.graphicsShaped.get()
      for family in [ProblemFamily.convolution, .convolutionTranspose, .matrix, .gate, .pool] {
        for problem in try problems(for: family) {
          do { try await check(problem, on: backend) } catch { Issue.record("\(problem): \(error)") }
        }
      }
    }
  }

  /// In new memory with all bits set results are the same. The pool hands one problem's memory on to the next, so that
  /// this sees reads of unwritten memory in a buffer's first use only.
  @Test func memoryThatWasNeverWrittenReachesNoResult() async throws {
    await #expect(processExitsWith: .success) {
      let device = try DeviceUnderTest.backend.context.device
      let backend = OpenCLBackend(context: try OpenCLContext(device, driver: .settingAllBits))
      for problem in try ProblemFamily.allCases.flatMap({ try problems(for: $0) }) {
        do { try await check(problem, on: backend) } catch { Issue.record("\(problem): \(error)") }
      }
    }
  }

  private static let graphicsShaped: Result<OpenCLBackend, ComputeError> = {
    do throws(ComputeError) {
      var traits = DeviceTraits(kind: .gpu)
      // Small, so that small problems have several tiles and use them.
      traits.tile = DeviceTraits.Tile(rows: 16, columns: 8, inner: 4, itemRows: 4, itemColumns: 4)
      let device = try DeviceUnderTest.result.get().context.device
      return .success(
        OpenCLBackend(context: try OpenCLContext(device, traits: KernelTraits(traits), driver: .settingAllBits)))
    } catch { return .failure(error) }
  }()
}
