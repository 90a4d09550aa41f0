import CatenaGraph
import CatenaReference
import CatenaTensors

/// A gradient is not the function's slope.
package struct GradientFailure: Error, CustomStringConvertible {
  /// Which element, and both numbers.
  package let description: String
}

/// Compares a gradient with central differences, in double on the reference.
///
/// The scalar that is differentiated is the sum of `output` times a fixed random cotangent. `gradientGraph` computes its
/// gradient: it reads the same inputs (by id), and the cotangent as its input `cotangent`.
/// - Parameters:
///   - inputs: A tensor for every input of the forward graph.
///   - elements: At most so many elements are checked, evenly spread.
///   - step: Half the distance of the two points, relative to the element's magnitude but at least 1.
///   - tolerance: Relative to the largest difference quotient found, or to 1 when all are smaller.
/// - Throws: `GradientFailure`; `GraphError` when a graph cannot run.
package func checkGradient(
  of graph: Graph, output: ValueID, withRespectTo input: ValueID, gradientGraph: Graph, gradient: ValueID,
  cotangent: ValueID, inputs: ValueMap<Tensor>, elements: Int = 64, step: Double = 1e-5, tolerance: Double = 1e-6,
  seed: UInt64 = 7
) throws {
  guard let point = inputs[input] else { preconditionFailure("\(input) has no tensor") }
  let weights = randomReals(graph.shape(output), seed: seed)
  var known = inputs
  known[cotangent] = weights
  let found = try Reference.run(gradientGraph, inputs: known, precision: .double, values: [gradient])[gradient]?.doubles
  guard let found, found.count == point.elementCount else {
    throw GradientFailure(description: "the gradient does not have the input's shape \(point.shape)")
  }
  try checkDifferences(
    of: { tensor in
      var moved = inputs
      moved[input] = tensor
      let result = try Reference.run(graph, inputs: moved, precision: .double, values: [output])
      return zip(result[output]?.doubles ?? [], weights.doubles).reduce(0) { $0 + $1.0 * $1.1 }
    }, at: point, gradient: found, elements: elements, step: step, tolerance: tolerance)
}

/// Compares `gradient` with central differences of `function` at `point`.
package func checkDifferences(
  of function: (Tensor) throws -> Double, at point: Tensor, gradient: [Double], elements: Int = 64,
  step: Double = 1e-5, tolerance: Double = 1e-6
) throws {
  let values = point.doubles
  let stride = max(1, values.count / elements)
  var pairs: [(index: Int, quotient: Double)] = []
  for index in Swift.stride(from: 0, to: values.count, by: stride) {
    let half = step * max(1, abs(values[index]))
    var moved = values
    moved[index] = values[index] + half
    let above = try function(Tensor(moved, shape: point.shape))
    moved[index] = values[index] - half
    let below = try function(Tensor(moved, shape: point.shape))
    pairs.append((index, (above - below) / (2 * half)))
  }
  let scale = max(1, pairs.map { abs($0.quotient) }.max() ?? 0)
  for (index, quotient) in pairs where !(abs(gradient[index] - quotient) <= tolerance * scale) {
    throw GradientFailure(
      description: "element \(index) of \(point.shape): the gradient is \(gradient[index]), the central difference "
        + "\(quotient) (the largest is \(scale))")
  }
}

/// Numbers in [-1, 1) in double.
package func randomReals(_ shape: Shape, seed: UInt64) -> Tensor {
  var generator = SeededGenerator(seed: seed)
  return Tensor((0..<shape.elementCount).map { _ in 2 * generator.uniform() - 1 }, shape: shape)
}
