import CatenaCompute
import CatenaOpenCL
import TestSupport
import Testing

@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct ProblemTests {
  /// Problems that have no kernels yet are refused with the node's name; all others agree with the reference.
  @Test(arguments: ProblemFamily.allCases)
  func agreesWithTheReference(_ family: ProblemFamily) async throws {
    let backend = try DeviceUnderTest.backend
    var refused = 0
    for problem in try problems(for: family) {
      do {
        try await check(problem, on: backend)
      } catch ComputeError.unsupported(_, let nodes) {
        #expect(nodes.contains { $0.contains(problem.operation.name) }, "\(problem): \(nodes)")
        refused += 1
      } catch {
        Issue.record("\(error)")
      }
    }
    print("REFUSED \(family): \(refused) of \(try problems(for: family).count)")
  }
}
