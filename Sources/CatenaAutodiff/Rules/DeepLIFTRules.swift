import CatenaGraph

/// DeepLIFT's rescale rule (Shrikumar and others, 2017): through an element-wise function flows
/// (y - y0) / (x - x0), the slope between a run and a reference run, in place of the derivative.
///
/// The gradients that result are multipliers: their product with x - x0 sums to y - y0 over the inputs (completeness).
/// They need `pairedValues`, from `Graph.appendingCopy(replacing:)` with the baseline for the input. Maximum pools move
/// differences to the positions of the two runs' maxima, Captum's formula; what overlapping windows send to one position
/// is added. Captum itself loses this rule where a pool reads the output of a ReLU or of another pool.
public struct DeepLIFTRules: DerivativeRules {
  /// Differences of inputs below this, where a slope would be noise, get the derivative (Captum's figure).
  private static let smallestDifference = 1e-10

  /// The rules.
  public init() {}

  /// The multiplier that flows back through one node.
  public func contributions(at site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    let gradients = try GradientRules().contributions(at: site, in: &graph)
    switch site.operation {
    case .unary(.negate), .batchNormalization: return gradients
    case .unary:
      let difference = try graph.subtract(site.node.outputs[0], site.paired(site.node.outputs[0]))
      return [try slope(graph.multiply(site.cotangent, difference), or: gradients[0], site, in: &graph)]
    case .pool(let pool) where pool.kind == .maximum:
      return [try slope(maximumFlow(pool, site, in: &graph), or: gradients[0], site, in: &graph)]
    case .softmax, .logSoftmax, .instanceNormalization, .localResponseNormalization, .select, .gather:
      throw .invalid("the rescale rule treats linear and element-wise operators: explain a value before it")
    case .pool(let pool):
      if case .norm = pool.kind { throw .invalid("there is no rescale rule for Lp pools") }
      return gradients
    case .reduce(let reduce) where reduce.kind != .sum && reduce.kind != .mean:
      throw .invalid("there is no rescale rule for this reduction")
    case .binary(.add), .binary(.subtract): return gradients
    case .binary(.multiply), .convolution, .convolutionTranspose, .gemm, .matmul, .gate:
      try requireOneVaryingFactor(site)
      return gradients
    case .binary(.divide) where !varies(site.node.inputs[1], site): return gradients
    case .binary: throw .invalid("there is no rescale rule for it")
    default: return gradients
    }
  }

  private func varies(_ value: ValueID, _ site: DerivativeSite) -> Bool { site.paired(value) != value }

  private func requireOneVaryingFactor(_ site: DerivativeSite) throws(GraphError) {
    if site.node.inputs.prefix(2).allSatisfy({ varies($0, site) }) {
      throw .invalid("both factors differ between the two runs, and the rescale rule has nothing for products")
    }
  }

  /// flow / (x - x0), or the derivative where the inputs hardly differ.
  private func slope(
    _ flow: ValueID, or gradient: ValueID?, _ site: DerivativeSite, in graph: inout Graph
  ) throws(GraphError) -> ValueID {
    let input = site.node.inputs[0]
    let difference = try graph.subtract(input, site.paired(input))
    let size = try graph.add(.unary(.absolute), difference)
    let isSmall = try graph.add(.binary(.less), size, graph.scalar(Self.smallestDifference, like: size))
    let divisor = try graph.add(.select, isSmall, graph.scalar(1, like: difference), difference)
    let fallback = gradient ?? graph.scalar(0, like: difference)
    return try graph.add(.select, isSmall, fallback, graph.divide(flow, divisor))
  }

  /// With m = max(y, y0): m - y0 at the place of the run's maximum, y - m at that of the reference's.
  private func maximumFlow(
    _ pool: Pool, _ site: DerivativeSite, in graph: inout Graph
  ) throws(GraphError) -> ValueID {
    let (input, output) = (site.node.inputs[0], site.node.outputs[0])
    let (otherInput, otherOutput) = (site.paired(input), site.paired(output))
    let larger = try graph.add(.binary(.maximum), output, otherOutput)
    let rise = try graph.multiply(site.cotangent, graph.subtract(larger, otherOutput))
    let fall = try graph.multiply(site.cotangent, graph.subtract(output, larger))
    return try graph.sum(
      graph.add(.poolGradient(pool), rise, input, output),
      graph.add(.poolGradient(pool), fall, otherInput, otherOutput))
  }
}
