import CatenaGraph
import CatenaTensors

/// The plain derivative of every floating-point operator with respect to its data.
///
/// Weights are frozen: the weights and biases of convolutions and the parameters of normalisations have no derivative.
/// Conventions at kinks: `maximum`, `minimum` and the like reductions share a gradient evenly among equal elements, a
/// maximum pool gives it to a window's first maximum; the derivative of ReLU at 0 is 0.
public struct GradientRules: DerivativeRules {
  /// From which value the gradient of a gate is computed.
  public enum GateGradients: Sendable, Hashable {
    /// From the gate's input: right for every gate.
    case fromInput
    /// From the gate's output, so that the input need not be kept; see `Operator.gateGradientFromOutput` for gates
    /// of 0.
    case fromOutput
  }

  /// From which value the gradient of a gate is computed.
  public var gateGradients: GateGradients

  /// The derivative, with a choice for gates.
  public init(gateGradients: GateGradients = .fromInput) { self.gateGradients = gateGradients }

  /// What flows back through one node.
  public func contributions(at site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    switch site.operation {
    case .convolution, .convolutionTranspose, .gemm, .matmul: try mixing(site, in: &graph)
    case .batchNormalization, .instanceNormalization, .localResponseNormalization, .softmax, .logSoftmax:
      try normalization(site, in: &graph)
    case .pool(let pool):
      [try graph.add(.poolGradient(pool), site.cotangent, site.node.inputs[0], site.node.outputs[0])]
    case .unary(let function): [try unary(function, site, in: &graph)]
    case .binary(let function): try binary(function, site, in: &graph)
    case .select: try select(site, in: &graph)
    case .cast: [try graph.add(.cast(graph.type(site.node.inputs[0]).elementType), site.cotangent)]
    case .identity: [site.cotangent]
    case .reduce(let reduce): [try reduction(reduce, site, in: &graph)]
    case .concatenate, .split, .slice, .sliceGradient, .pad, .padGradient, .reshape, .transpose, .expand, .gather,
      .gatherGradient, .resize, .resizeGradient:
      try movement(site, in: &graph)
    case .gate(let axis): try gate(axis: axis, site, in: &graph)
    case .gateGradient(let axis): try gateGradient(axis: axis, site, in: &graph)
    case .localResponseNormalizationGradient, .poolGradient, .unaryGradient, .gateGradientFromOutput:
      throw .invalid("second derivatives do not exist")
    case .argReduce, .adam: throw .invalid("it is not differentiable")
    }
  }

  /// The gates of R regions: gradient * gate for the data, per-region sums for the gate.
  private func gate(axis: Int, _ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    let (data, gate) = (site.node.inputs[0], site.node.inputs[1])
    var result: [ValueID?] = [nil, nil]
    if site.wanted[0] { result[0] = try graph.add(.gate(axis: axis), site.cotangent, gate) }
    if site.wanted[1] {
      switch gateGradients {
      case .fromInput: result[1] = try graph.add(.gateGradient(axis: axis), site.cotangent, data, gate)
      case .fromOutput:
        result[1] = try graph.add(.gateGradientFromOutput(axis: axis), site.cotangent, site.node.outputs[0], gate)
      }
    }
    return result
  }

  /// The sum over gradient * data is linear in both, with a gate's shape of weights.
  private func gateGradient(axis: Int, _ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    let (gradient, data) = (site.node.inputs[0], site.node.inputs[1])
    return [
      site.wanted[0] ? try graph.add(.gate(axis: axis), data, site.cotangent) : nil,
      site.wanted[1] ? try graph.add(.gate(axis: axis), gradient, site.cotangent) : nil, nil,
    ]
  }

  /// Throws when a derivative with respect to a frozen operand is wanted.
  func requireFrozen(_ site: DerivativeSite, from operand: Int) throws(GraphError) {
    if site.wanted[operand...].contains(true) {
      throw .invalid("its weights are frozen: there is no derivative with respect to them")
    }
  }
}
