import CatenaGraph
import CatenaTensors

/// The literal meaning of every operator.
///
/// Each operator is its formula's loops, slow and plain, so that a reader can hold it against the operator's
/// documentation. Floating-point arithmetic is in double with accumulation in double, and results are rounded once;
/// integers are exact and wrap at their type's width.
public enum Reference {
  /// The outputs of one operator.
  /// - Throws: `GraphError` when the inputs do not fit the operator, when their element type has no meaning for it, or
  ///   when their contents cannot be (an index out of range, an integer division by zero).
  public static func evaluate(_ operation: Operator, _ inputs: [Tensor]) throws(GraphError) -> [Tensor] {
    let types: [TensorType]
    do throws(ShapeError) { types = try operation.outputTypes(of: inputs.map(\.type)) } catch {
      throw .shape(
        operation: operation.name, output: "",
        inputs: inputs.enumerated().map { Value(name: "input \($0)", type: $1.type) }, reason: error.reason)
    }
    do throws(EvaluationError) { return try results(operation, inputs, types) } catch {
      throw .invalid("\(operation.name): \(error.reason)")
    }
  }

  private static func results(
    _ operation: Operator, _ inputs: [Tensor], _ types: [TensorType]
  ) throws(EvaluationError) -> [Tensor] {
    let type = types[0]
    switch operation {
    case .convolution(let geometry): return try [convolution(geometry, inputs, type)]
    case .convolutionTranspose(let transpose): return try [convolutionTranspose(transpose, inputs, type)]
    case .gemm(let parameters): return try [gemm(parameters, inputs, type)]
    case .matmul: return try [matmul(inputs[0], inputs[1], type)]
    case .batchNormalization(let epsilon): return try [batchNormalization(epsilon, inputs, type)]
    case .instanceNormalization(let epsilon): return try [instanceNormalization(epsilon, inputs, type)]
    case .localResponseNormalization(let parameters): return try [responseNormalization(parameters, inputs[0])]
    case .localResponseNormalizationGradient(let parameters):
      return try [responseNormalizationGradient(parameters, inputs, type)]
    case .pool(let geometry): return try [pool(geometry, inputs[0], type)]
    case .poolGradient(let geometry): return try [poolGradient(geometry, inputs, type)]
    case .unary(let function): return try [unary(function, inputs[0])]
    case .unaryGradient(let function): return try [unaryGradient(function, inputs[0], inputs[1])]
    case .binary(let function): return try [binary(function, inputs[0], inputs[1], type)]
    case .select: return try [select(inputs, type)]
    case .cast(let elementType): return [cast(inputs[0], to: elementType)]
    case .identity: return [inputs[0]]
    case .softmax(let axes): return try [softmax(axes, inputs[0], logarithm: false)]
    case .logSoftmax(let axes): return try [softmax(axes, inputs[0], logarithm: true)]
    case .reduce(let parameters): return try [reduce(parameters, inputs[0], type)]
    case .argReduce(let parameters): return try [argReduce(parameters, inputs[0], type)]
    case .concatenate(let axis): return try [concatenate(axis, inputs, type)]
    case .split(let axis, _): return split(axis, inputs[0], types)
    case .slice(let slice): return [inputs[0].gathered(slice.sources(in: inputs[0].shape), shape: type.shape)]
    case .sliceGradient(let slice, let shape):
      return try [scatterSum(inputs[0], to: slice.sources(in: shape), type)]
    case .pad(let pad): return try [padded(pad, inputs[0], type)]
    case .padGradient(let pad, let shape): return try [scatterSum(inputs[0], to: pad.sources(in: shape), type)]
    case .reshape(let shape): return [inputs[0].reshaped(to: shape)]
    case .transpose(let permutation): return [transpose(permutation, inputs[0], type)]
    case .expand: return [expand(inputs[0], type)]
    case .gather(let axis):
      return try [inputs[0].gathered(gatherSources(inputs[0].shape, axis, inputs[1]), shape: type.shape)]
    case .gatherGradient(let axis, let shape):
      return try [scatterSum(inputs[0], to: gatherSources(shape, axis, inputs[1]), type)]
    case .resize(let parameters): return try [resize(parameters, inputs[0], type)]
    case .resizeGradient(let parameters, _): return try [resizeGradient(parameters, inputs[0], type)]
    case .gate(let axis): return try [gate(axis, inputs, type)]
    case .gateGradient(let axis): return try [gateGradient(axis, inputs, type)]
    case .gateGradientFromOutput(let axis): return try [gateGradientFromOutput(axis, inputs, type)]
    case .adam(let parameters): return try adam(parameters, inputs, types)
    }
  }
}

/// Why an operator cannot be evaluated although its operands' shapes fit.
struct EvaluationError: Error {
  let reason: String
}

extension Tensor {
  /// Element type and shape together.
  var type: TensorType { TensorType(elementType, shape) }
}
