import CatenaGraph
import CatenaTensors

/// Layer-wise relevance propagation with the epsilon rule (Bach and others, 2015) everywhere: an output's relevance is
/// shared among its inputs in proportion to their contributions, whatever their sign.
///
/// R_i = sum over j of x_i w_ij / (z_j + epsilon * sign(z_j)) * R_j with z_j = sum over i of x_i w_ij + b_j, and the sign
/// of 0 is 1: Captum's `LRP` with its default rules. What biases and epsilon take is recorded in `leaks`. ReLUs and other
/// activations pass relevance unchanged.
public struct EpsilonRelevanceRules: DerivativeRules {
  /// The stabiliser.
  public var epsilon: Double
  /// Where lost relevance is recorded.
  public var leaks: RelevanceLeaks?

  /// The rules; Captum's `epsilon` by default.
  public init(epsilon: Double = 1e-9, leaks: RelevanceLeaks? = nil) {
    self.epsilon = epsilon
    self.leaks = leaks
  }

  /// The relevance that flows back through one node.
  public func contributions(at site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    switch site.operation {
    case .convolution, .convolutionTranspose, .gemm, .matmul:
      guard site.wanted[0], !site.wanted.dropFirst().contains(true) else {
        throw .invalid("the rule needs a constant weight")
      }
      return [try linear(site, weight: site.node.inputs[1], in: &graph)]
        + [ValueID?](repeating: nil, count: site.node.inputs.count - 1)
    case .pool(let pool) where pool.isAverage: return [try linear(site, weight: nil, in: &graph)]
    case .reduce(let reduce) where reduce.kind == .mean || reduce.kind == .sum:
      return [try linear(site, weight: nil, in: &graph)]
    case .batchNormalization: return try normalization(site, in: &graph)
    case .binary(.add): return try sum(site, in: &graph)
    case .binary(.multiply), .binary(.divide):
      guard site.wanted == [true, false] else { throw .invalid("the rule needs a constant second factor") }
      return [site.cotangent, nil]
    case .gate where !site.wanted[1]: return [site.cotangent, nil]
    default:
      if let passed = try passedRelevance(site, in: &graph) { return passed }
      throw .invalid("there is no epsilon rule for it")
    }
  }

  private func linear(
    _ site: DerivativeSite, weight: ValueID?, in graph: inout Graph
  ) throws(GraphError) -> ValueID {
    let data = site.node.inputs[0]
    let ratio = try stabilized(site.cotangent, over: site.node.outputs[0], in: &graph)
    let back = try graph.linearFlow(
      ratio, through: site.operation, inputs: [data] + (weight.map { [$0] } ?? []), output: site.node.outputs[0])
    let share = try graph.multiply(data, back)
    if leaks != nil {
      var received = site.node.outputs[0]
      if site.node.inputs.count == 3 {
        received = try graph.add(site.operation, inputs: Array(site.node.inputs.prefix(2)))[0]
      }
      leaks?.record(try graph.subtract(site.cotangent, graph.multiply(ratio, received)))
    }
    return share
  }

  private func normalization(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    guard let affine = graph.affineNormalization(site) else { throw .invalid("the rule needs constant parameters") }
    let data = site.node.inputs[0]
    let scale = try graph.perChannel(graph.addConstant("scale", affine.scale), rank: graph.shape(data).rank)
    let ratio = try stabilized(site.cotangent, over: site.node.outputs[0], in: &graph)
    let share = try graph.multiply(graph.multiply(data, scale), ratio)
    leaks?.record(try graph.subtract(site.cotangent, share))
    return [share] + [ValueID?](repeating: nil, count: 4)
  }

  private func sum(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    let ratio = try stabilized(site.cotangent, over: site.node.outputs[0], in: &graph)
    var result: [ValueID?] = []
    var left = site.cotangent
    for (input, wanted) in zip(site.node.inputs, site.wanted) {
      let share = try graph.multiply(ratio, input)
      if wanted { left = try graph.subtract(left, share) }
      result.append(wanted ? try graph.summed(share, to: graph.shape(input)) : nil)
    }
    leaks?.record(left)
    return result
  }

  /// relevance / (output + epsilon * sign(output))
  private func stabilized(
    _ relevance: ValueID, over output: ValueID, in graph: inout Graph
  ) throws(GraphError) -> ValueID {
    let isNegative = try graph.add(.binary(.less), output, graph.scalar(0, like: output))
    let shift = try graph.add(
      .select, isNegative, graph.scalar(-epsilon, like: output), graph.scalar(epsilon, like: output))
    return try graph.divide(relevance, graph.sum(output, shift))
  }
}
