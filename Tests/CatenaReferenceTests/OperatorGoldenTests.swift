import CatenaGraph
import CatenaReference
import CatenaTensors
import Foundation
import TestSupport
import Testing

/// What others make of operators whose formula is easy to get wrong. Tools/peers/make_operator_goldens.py writes the
/// files.
@Suite("Operators against PyTorch, numpy and the ONNX project's evaluator")
struct OperatorGoldenTests {
  /// Everything is in double, and sums are short.
  static let tolerance = 1e-12

  struct Case: Decodable {
    var problem: String
    var inputs: [[Double]]
    var outputs: [[Double]]
  }

  @Test(
    "golden numbers",
    arguments: [
      ("convolution", 15), ("pool", 27), ("normalization", 20), ("function", 50), ("movement", 100), ("gate", 9),
    ])
  func goldens(_ family: String, _ least: Int) throws {
    let file = Assets.goldens.appending(path: "Operators/\(family).json")
    let cases = try JSONDecoder().decode([Case].self, from: Data(contentsOf: file))
    #expect(cases.count >= least)
    for golden in cases {
      let problem = try Problem(golden.problem)
      let operands = zip(problem.operands, golden.inputs).map { operand, values in
        Tensor(doubles: values, shape: operand.type.shape, elementType: operand.type.elementType.widened)
      }
      let results = try Reference.evaluate(problem.operation, operands)
      try #require(results.count == golden.outputs.count, "\(problem)")
      for (result, wanted) in zip(results, golden.outputs) {
        let expected = Tensor(doubles: wanted, shape: result.shape, elementType: result.elementType)
        let found = difference(result, expected, tolerance: Self.tolerance)
        #expect(found == nil, "\(problem): \(found ?? "")")
      }
    }
  }
}

extension ElementType {
  /// Double for floating-point types.
  fileprivate var widened: ElementType { isFloatingPoint ? .float64 : self }
}
