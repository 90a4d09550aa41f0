import CatenaGraph
import CatenaTensors

/// Layer-wise relevance propagation with the rule alpha = 1, beta = 0 (Bach and others, 2015): an output's relevance is
/// shared among its inputs in proportion to their positive contributions.
///
/// A positive bias takes its share too, so that relevance is conserved where biases are not positive and every output
/// with relevance has a positive contribution. The target's cotangent is the relevance to start with, usually the
/// explained logit at its place. Batch norms must have been folded into convolutions.
public struct RelevanceRules: DerivativeRules {
  /// The rules.
  public init() {}

  /// The relevance that flows back through one node.
  public func contributions(at site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    switch site.operation {
    case .convolution, .convolutionTranspose, .matmul: return try mixing(site, in: &graph)
    case .gemm(let gemm):
      guard gemm.alpha > 0, gemm.beta >= 0 else { throw .invalid("the rule needs positive factors alpha and beta") }
      return try mixing(site, in: &graph)
    case .binary(.add): return try sum(site, in: &graph)
    case .unary(let function) where function.isActivation: return [site.cotangent]
    case .gate where !site.wanted[1]: return [site.cotangent, nil]
    case .pool(let pool) where pool.kind == .maximum: return try GradientRules().contributions(at: site, in: &graph)
    case .pool(let pool) where pool.isAverage: return [try averaging(site, in: &graph)]
    case .reduce(let reduce) where reduce.kind == .mean || reduce.kind == .sum: return [try averaging(site, in: &graph)]
    case .identity, .cast, .concatenate, .split, .slice, .pad, .reshape, .transpose, .expand, .gather:
      return try GradientRules().contributions(at: site, in: &graph)
    default: throw .invalid("there is no alpha-1-beta-0 rule for it")
    }
  }

  /// R_i = sum over j of (x_i w_ij)+ / (sum over i of (x_i w_ij)+ + (b_j)+) * R_j, where
  /// (x w)+ = x+ w+ + x- w-: two passes of the same operator, with the weight's positive and negative parts.
  private func mixing(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    let inputs = site.node.inputs
    guard site.wanted[0], !site.wanted.dropFirst().contains(true), let weight = graph.constants[inputs[1]] else {
      throw .invalid("the rule needs a constant weight")
    }
    let positive = try graph.add(.unary(.relu), inputs[0])
    let negative = try graph.subtract(inputs[0], positive)
    let name = graph[inputs[1]].name
    let parts = [
      (positive, graph.addConstant("\(name)/positive", weight.mapped { max($0, 0) })),
      (negative, graph.addConstant("\(name)/negative", weight.mapped { min($0, 0) })),
    ]
    var operands = parts.map { [$0, $1] }
    if inputs.count == 3 { operands[0].append(try graph.add(.unary(.relu), inputs[2])) }
    var outputs: [ValueID] = []
    for operands in operands { outputs.append(try graph.add(site.operation, inputs: operands)[0]) }
    let ratio = try graph.safeQuotient(site.cotangent, graph.sum(outputs[0], outputs[1]))
    var shares: [ValueID] = []
    for (operands, output) in zip(parts.map({ [$0, $1] }), outputs) {
      let back = try linearFlow(ratio, through: site.operation, inputs: operands, output: output, in: &graph)
      shares.append(try graph.multiply(operands[0], back))
    }
    return [try graph.sum(shares[0], shares[1])] + [ValueID?](repeating: nil, count: inputs.count - 1)
  }

  /// A sum with non-negative weights: the same rule without the weights.
  private func averaging(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> ValueID {
    let positive = try graph.add(.unary(.relu), site.node.inputs[0])
    let output = try graph.add(site.operation, positive)
    let ratio = try graph.safeQuotient(site.cotangent, output)
    let back = try linearFlow(ratio, through: site.operation, inputs: [positive], output: output, in: &graph)
    return try graph.multiply(positive, back)
  }

  private func sum(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    var positives: [ValueID] = []
    for input in site.node.inputs { positives.append(try graph.add(.unary(.relu), input)) }
    let ratio = try graph.safeQuotient(site.cotangent, graph.sum(positives[0], positives[1]))
    var result: [ValueID?] = []
    for (input, positive) in zip(site.node.inputs, positives) {
      result.append(try graph.summed(graph.multiply(ratio, positive), to: graph.shape(input)))
    }
    return result
  }

  /// The derivative of an operator that is linear in its first input.
  private func linearFlow(
    _ cotangent: ValueID, through operation: Operator, inputs: [ValueID], output: ValueID, in graph: inout Graph
  ) throws(GraphError) -> ValueID {
    let site = DerivativeSite(
      node: Node(operation, inputs: inputs, outputs: [output]), incoming: [cotangent],
      wanted: inputs.indices.map { $0 == 0 }, pairedValues: [:])
    guard let flow = try GradientRules().contributions(at: site, in: &graph)[0] else {
      preconditionFailure("\(operation.name) is linear in its data")
    }
    return flow
  }
}

extension UnaryFunction {
  /// Whether relevance passes unchanged: the function keeps the order of its inputs, as activations do.
  fileprivate var isActivation: Bool {
    switch self {
    case .relu, .leakyRelu, .elu, .selu, .sigmoid, .hardSigmoid, .hardSwish, .tanh, .softplus, .gelu, .geluTanh, .clip:
      true
    default: false
    }
  }
}

extension Pool {
  fileprivate var isAverage: Bool {
    if case .average = kind { true } else { false }
  }
}

extension Tensor {
  /// The tensor with a function applied to every element.
  fileprivate func mapped(_ function: (Double) -> Double) -> Tensor {
    Tensor(doubles: doubles.map(function), shape: shape, elementType: elementType)
  }
}
