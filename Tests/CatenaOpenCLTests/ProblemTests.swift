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
}
