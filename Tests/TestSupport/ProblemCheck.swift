import CatenaCompute
import CatenaGraph
@_exported import CatenaProblems
import CatenaReference
import CatenaTensors

/// A back end computes something else than the reference.
package struct ProblemFailure: Error, CustomStringConvertible {
  /// The line that reproduces the failure, where it is and what was computed.
  package let description: String
}

/// Runs a problem on a back end and compares it with the reference: integer data exactly where sums are exact, reals
/// relative to the output's magnitude. Weights are constants of the graph once, and inputs once.
/// - Parameter integerTolerance: what replaces exactness where a kernel divides, as minimal filtering does.
/// - Throws: `ProblemFailure` that shows the line.
package func check(
  _ problem: Problem, on backend: any Backend, tolerance: Double = problemTolerance, integerTolerance: Double = 0,
  seed: UInt64 = 1
) async throws {
  for data in ProblemData.allCases {
    let operands = try problem.tensors(data, seed: seed)
    let expected = try Reference.evaluate(problem.operation, operands)
    let isExact = data == .integers && problem.isExactOnIntegers
    for weightsAreConstant in problem.operands.contains(where: \.isWeight) ? [true, false] : [false] {
      let graph = try problem.graph(weights: weightsAreConstant ? operands : nil)
      let executable = try await backend.compile(Program(graph), options: CompileOptions())
      // The inputs are the operands that are no constants, in order.
      let written = zip(problem.operands, operands).filter { !($0.0.isWeight && weightsAreConstant) }.map(\.1)
      for (input, tensor) in zip(graph.inputs, written) { try await executable.write(tensor, to: input) }
      try await executable.run(steps: 1)
      for (index, output) in graph.outputs.enumerated() {
        let result = try await executable.read(output)
        if let difference = difference(result, expected[index], tolerance: isExact ? integerTolerance : tolerance) {
          throw ProblemFailure(
            description:
              "'\(problem)' (\(data.rawValue), seed \(seed)\(weightsAreConstant ? ", constant weights" : "")),"
              + " output \(index): \(difference)")
        }
      }
    }
  }
}

/// How `result` differs from `expected`; `nil` when it does not. Integers and bools must be equal; fractions may differ
/// by `tolerance` times the largest finite magnitude expected; what is not finite must be the same.
package func difference(_ result: Tensor, _ expected: Tensor, tolerance: Double) -> String? {
  guard result.elementType == expected.elementType, result.shape == expected.shape else {
    return "\(result.elementType) \(result.shape) instead of \(expected.elementType) \(expected.shape)"
  }
  if !expected.elementType.isFloatingPoint {
    return result.isBitIdentical(to: expected) ? nil : "\(result.doubles) instead of \(expected.doubles)"
  }
  let (found, wanted) = (result.doubles, expected.doubles)
  let magnitude = wanted.lazy.filter(\.isFinite).map(abs).max() ?? 0
  var worst: (index: Int, error: Double)?
  for index in wanted.indices where found[index] != wanted[index] && !(found[index].isNaN && wanted[index].isNaN) {
    let distance = abs(found[index] - wanted[index])
    let error = distance.isNaN ? .infinity : distance
    if error > tolerance * magnitude, error > worst?.error ?? -1 { worst = (index, error) }
  }
  return worst.map { worst in
    "element \(worst.index) of \(expected.shape) is \(found[worst.index]) instead of \(wanted[worst.index]) "
      + "(the largest magnitude is \(magnitude))"
  }
}
