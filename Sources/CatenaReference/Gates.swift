import CatenaGraph
import CatenaTensors
import Foundation

/// Which element of the gate each element of gated data meets.
private struct GateGeometry {
  /// The offset in the gate, in row-major order of the data.
  let offsets: [Int]

  init(_ data: Shape, gate: Shape, axis: Int) {
    let (samples, regions, channels) = (data[0], gate[0], gate[1])
    var positions = data.dimensions.map { [Int](repeating: 0, count: $0) }
    positions[0] = (0..<samples).map { sample in sample * regions / samples }
    positions[axis] = Array(0..<channels)
    var strides = [Int](repeating: 0, count: data.rank)
    strides[0] = channels
    strides[axis] = 1
    offsets = CatenaReference.offsets(positions: positions, strides: strides)
  }
}

extension Reference {
  static func gate(_ axis: Int, _ inputs: [Tensor], _ type: TensorType) throws(EvaluationError) -> Tensor {
    let data = try inputs[0].reals()
    let gate = try inputs[1].reals("the gate")
    let offsets = GateGeometry(inputs[0].shape, gate: inputs[1].shape, axis: axis).offsets
    return Tensor(reals: makeReals(data.count) { data[$0] * gate[offsets[$0]] }, type)
  }

  static func gateGradient(_ axis: Int, _ inputs: [Tensor], _ type: TensorType) throws(EvaluationError) -> Tensor {
    try Tensor(reals: gatedSums(axis, inputs, type), type)
  }

  static func gateGradientFromOutput(
    _ axis: Int, _ inputs: [Tensor], _ type: TensorType
  ) throws(EvaluationError) -> Tensor {
    let sums = try gatedSums(axis, inputs, type)
    let gate = try inputs[2].reals("the gate")
    return Tensor(reals: makeReals(sums.count) { gate[$0] == 0 ? 0 : sums[$0] / gate[$0] }, type)
  }

  /// The sum of gradient * value over all elements that meet each element of the gate.
  private static func gatedSums(
    _ axis: Int, _ inputs: [Tensor], _ type: TensorType
  ) throws(EvaluationError) -> [Double] {
    let gradient = try inputs[0].reals("the gradient")
    let values = try inputs[1].reals()
    var sums = [Double](repeating: 0, count: type.shape.elementCount)
    let offsets = GateGeometry(inputs[0].shape, gate: type.shape, axis: axis).offsets
    for (index, offset) in offsets.enumerated() { sums[offset] += gradient[index] * values[index] }
    return sums
  }

  static func adam(_ parameters: Adam, _ inputs: [Tensor], _ types: [TensorType]) throws(EvaluationError) -> [Tensor] {
    var parameter = try inputs[0].reals("the parameter")
    let gradient = try inputs[1].reals("the gradient")
    var first = try inputs[2].reals("the first moment")
    var second = try inputs[3].reals("the second moment")
    guard inputs[4].elementCount == 1 else { throw EvaluationError(reason: "the step count must be one number") }
    let step = try inputs[4].reals("the step count")[0] + 1
    let mask = inputs[5].convertedToDoubles()
    let maskOffsets = broadcastOffsets(inputs[5].shape, to: inputs[0].shape)

    let (beta1, beta2) = (Double(parameters.beta1), Double(parameters.beta2))
    for index in parameter.indices where mask[maskOffsets[index]] != 0 {
      first[index] = beta1 * first[index] + (1 - beta1) * gradient[index]
      second[index] = beta2 * second[index] + (1 - beta2) * gradient[index] * gradient[index]
      let firstCorrected = first[index] / (1 - pow(beta1, step))
      let secondCorrected = second[index] / (1 - pow(beta2, step))
      parameter[index] -=
        Double(parameters.learningRate) * firstCorrected / (secondCorrected.squareRoot() + Double(parameters.epsilon))
    }
    return [
      Tensor(reals: parameter, types[0]), Tensor(reals: first, types[1]), Tensor(reals: second, types[2]),
      Tensor(reals: [step], types[3]),
    ]
  }
}
