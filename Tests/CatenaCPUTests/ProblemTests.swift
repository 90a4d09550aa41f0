import CatenaCPU
import CatenaCompute
import TestSupport
import Testing

/// Every problem of the shared tables against the reference.
struct ProblemTests {
  @Test(arguments: ProblemFamily.allCases)
  func agreesWithReference(_ family: ProblemFamily) async throws {
    for problem in try problems(for: family) {
      do { try await check(problem, on: CPUBackend(), integerTolerance: rounding(of: family)) } catch {
        Issue.record(error)
      }
    }
  }

  @Test func oneThreadAgreesWithReference() async throws {
    for family in [ProblemFamily.convolution, .gate, .pool] {
      for problem in try problems(for: family) {
        try await check(problem, on: CPUBackend(threads: 1), integerTolerance: rounding(of: family))
      }
    }
  }

  /// Minimal filtering has fractions on the way to sums of integers.
  private func rounding(of family: ProblemFamily) -> Double { family == .convolution ? 5e-6 : 0 }
}
