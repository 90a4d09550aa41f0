import CatenaTraces
import Testing

@Suite("trace solvers")
struct TraceSolverTests {
  @Test("have the names that people type", arguments: ["fast", "exact"])
  func names(name: String) { #expect(TraceSolver(rawValue: name) != nil) }
}
