import CatenaCompute
import CatenaOpenCL
import TestSupport
import Testing

@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct ProblemTests {
  /// How many problems of a family have no kernels yet: element types other than f32, three spatial axes, norms over
  /// space, argmax, select, cast, resize, padding other than constant.
  static let refusals: [ProblemFamily: Int] = [
    .convolution: 1, .convolutionTranspose: 1, .matrix: 2, .normalization: 8, .pool: 2, .unary: 4, .binary: 53,
    .axes: 8,
    .movement: 24, .resize: 26,
  ]

  /// Problems without kernels are refused with the node's name; all others agree with the reference.
  @Test(arguments: ProblemFamily.allCases)
  func agreesWithTheReference(_ family: ProblemFamily) async throws {
    let backend = try DeviceUnderTest.backend
    var refused: [String] = []
    for problem in try problems(for: family) {
      do {
        try await check(problem, on: backend)
      } catch ComputeError.unsupported(_, let nodes) {
        #expect(nodes.contains { $0.contains(problem.operation.name) }, "\(problem): \(nodes)")
        refused.append("\(problem): \(nodes[0])")
      } catch {
        Issue.record("\(error)")
      }
    }
    let allowed = Self.refusals[family, default: 0]
    #expect(refused.count <= allowed, "\(allowed) may be refused:\n\(refused.joined(separator: "\n"))")
  }
}
