import CatenaGraph
import CatenaTensors

/// Layer-wise relevance propagation with the rule alpha = 1, beta = 0 (Bach and others, 2015): an output's relevance is
/// shared among its inputs in proportion to their positive contributions.
///
/// The target's cotangent is the relevance to start with, usually the explained logit at its place. A positive bias
/// takes its share too, unless `biasesShare` is false; what it takes, and the relevance of outputs without any positive
/// contribution, is lost and recorded in `leaks`: relevance that starts = relevance that arrives + leaks. Where `bounds`
/// are given, layers that read the input itself use z^B (Montavon and others, 2017), whose shares take the range of the
/// input into account. A batch norm is a layer of one input per output; those behind a convolution are better folded
/// into it first (`Graph.foldingBatchNormalizations`).
public struct RelevanceRules: DerivativeRules {
  /// The range of the network's input, for z^B.
  public struct Bounds: Sendable {
    /// The input.
    public var input: ValueID
    /// The lowest value that each element can have; of the input's shape, or with a single sample.
    public var lowest: ValueID
    /// The highest.
    public var highest: ValueID

    /// The range of `input`.
    public init(input: ValueID, lowest: ValueID, highest: ValueID) {
      self.input = input
      self.lowest = lowest
      self.highest = highest
    }
  }

  /// Whether positive biases take relevance.
  public var biasesShare: Bool
  /// The range of the input, where z^B is wanted.
  public var bounds: Bounds?
  /// Where lost relevance is recorded.
  public var leaks: RelevanceLeaks?

  /// The rules.
  public init(biasesShare: Bool = true, bounds: Bounds? = nil, leaks: RelevanceLeaks? = nil) {
    self.biasesShare = biasesShare
    self.bounds = bounds
    self.leaks = leaks
  }

  /// The relevance that flows back through one node.
  public func contributions(at site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    switch site.operation {
    case .convolution, .convolutionTranspose, .matmul: return try mixing(site, in: &graph)
    case .gemm(let gemm):
      guard gemm.alpha > 0, gemm.beta >= 0 else { throw .invalid("the rule needs positive factors alpha and beta") }
      return try mixing(site, in: &graph)
    case .batchNormalization: return try normalization(site, in: &graph)
    case .binary(.add): return try sum(site, in: &graph)
    case .binary(.multiply), .binary(.divide): return [try scaling(site)] + [nil]
    case .gate where !site.wanted[1]: return [site.cotangent, nil]
    case .pool(let pool) where pool.isAverage: return [try averaging(site, in: &graph)]
    case .reduce(let reduce) where reduce.kind == .mean || reduce.kind == .sum: return [try averaging(site, in: &graph)]
    default:
      if let passed = try passedRelevance(site, in: &graph) { return passed }
      throw .invalid("there is no alpha-1-beta-0 rule for it")
    }
  }

  /// R_i = sum over j of (x_i w_ij)+ / (sum over i of (x_i w_ij)+ + (b_j)+) * R_j, where
  /// (x w)+ = x+ w+ + x- w-: two passes of the same operator, with the weight's positive and negative parts; one where
  /// x has no negative part. z^B: the contributions are x w - l w+ - h w-, and biases take nothing.
  private func mixing(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    let inputs = site.node.inputs
    guard site.wanted[0], !site.wanted.dropFirst().contains(true), let weight = graph.constants[inputs[1]] else {
      throw .invalid("the rule needs a constant weight")
    }
    let name = graph[inputs[1]].name
    func positivePart() -> ValueID { graph.addConstant("\(name)/positive", weight.mapped { max($0, 0) }) }
    func negativePart() -> ValueID { graph.addConstant("\(name)/negative", weight.mapped { min($0, 0) }) }
    var terms: [LinearTerm] = []
    var bias: ValueID?
    if let bounds, bounds.input == inputs[0] {
      terms = [
        LinearTerm(data: inputs[0], weight: inputs[1]),
        LinearTerm(data: bounds.lowest, weight: positivePart(), isSubtracted: true),
        LinearTerm(data: bounds.highest, weight: negativePart(), isSubtracted: true),
      ]
    } else if graph.isNonNegative(inputs[0]) {
      terms = [LinearTerm(data: inputs[0], weight: positivePart())]
    } else {
      let positive = try graph.add(.unary(.relu), inputs[0])
      let negative = try graph.subtract(inputs[0], positive)
      terms = [
        LinearTerm(data: positive, weight: positivePart()), LinearTerm(data: negative, weight: negativePart()),
      ]
    }
    if inputs.count == 3, biasesShare, bounds?.input != inputs[0] {
      bias = try graph.add(.unary(.relu), inputs[2])
    }
    let relevance = try graph.sharedRelevance(
      among: terms, bias: bias, of: site, leaks: leaks
    ) { (total, graph) throws(GraphError) in
      try graph.safeQuotient(site.cotangent, total)
    }
    return [relevance] + [ValueID?](repeating: nil, count: inputs.count - 1)
  }

  /// One input per output: contribution a x and bias b.
  private func normalization(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    guard let affine = graph.affineNormalization(site) else { throw .invalid("the rule needs constant parameters") }
    let data = site.node.inputs[0]
    let rank = graph.shape(data).rank
    let scale = try graph.perChannel(graph.addConstant("scale", affine.scale), rank: rank)
    let positive = try graph.add(.unary(.relu), graph.multiply(data, scale))
    var total = positive
    if biasesShare {
      let bias = graph.addConstant("shift/positive", affine.shift.mapped { max($0, 0) })
      total = try graph.sum(positive, graph.perChannel(bias, rank: rank))
    }
    let share = try graph.multiply(positive, graph.safeQuotient(site.cotangent, total))
    leaks?.record(try graph.subtract(site.cotangent, share))
    return [share] + [ValueID?](repeating: nil, count: 4)
  }

  /// A sum with non-negative weights: the same rule without the weights.
  private func averaging(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> ValueID {
    let data = site.node.inputs[0]
    let positive = graph.isNonNegative(data) ? data : try graph.add(.unary(.relu), data)
    return try graph.sharedRelevance(
      among: [LinearTerm(data: positive, weight: nil)], bias: nil, of: site, leaks: leaks
    ) { (total, graph) throws(GraphError) in
      try graph.safeQuotient(site.cotangent, total)
    }
  }

  private func sum(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    var positives: [ValueID] = []
    for input in site.node.inputs {
      positives.append(graph.isNonNegative(input) ? input : try graph.add(.unary(.relu), input))
    }
    let ratio = try graph.safeQuotient(site.cotangent, graph.sum(positives[0], positives[1]))
    var result: [ValueID?] = []
    var left = site.cotangent
    for ((input, positive), wanted) in zip(zip(site.node.inputs, positives), site.wanted) {
      let share = try graph.multiply(ratio, positive)
      // A constant summand is a bias: what it takes does not reach the input.
      if wanted { left = try graph.subtract(left, share) }
      result.append(wanted ? try graph.summed(share, to: graph.shape(input)) : nil)
    }
    leaks?.record(left)
    return result
  }

  /// A factor that does not depend on the input: each output has one contribution.
  private func scaling(_ site: DerivativeSite) throws(GraphError) -> ValueID {
    guard site.wanted == [true, false] else { throw .invalid("the rule needs a constant second factor") }
    return site.cotangent
  }
}
