import CatenaGraph
import CatenaTensors

// Normalisations and softmax.
extension GradientRules {
  func normalization(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    let (data, output, cotangent) = (site.node.inputs[0], site.node.outputs[0], site.cotangent)
    switch site.operation {
    case .batchNormalization(let epsilon):
      try requireFrozen(site, from: 1)
      return [try batchNormalization(epsilon: epsilon, site, in: &graph), nil, nil, nil, nil]
    case .instanceNormalization(let epsilon):
      try requireFrozen(site, from: 1)
      return [try instanceNormalization(epsilon: epsilon, site, in: &graph), nil, nil]
    case .localResponseNormalization(let parameters):
      return [try graph.add(.localResponseNormalizationGradient(parameters), cotangent, data, output)]
    case .softmax(let axes):
      // y * (g - sum(g * y))
      let sum = Operator.reduce(Reduce(.sum, axes: axes, keepsDimensions: true))
      let weighted = try graph.multiply(cotangent, output)
      let total = axes.isEmpty ? weighted : try graph.add(sum, weighted)
      return [try graph.multiply(output, graph.subtract(cotangent, total))]
    case .logSoftmax(let axes):
      // g - exp(y) * sum(g)
      let sum = Operator.reduce(Reduce(.sum, axes: axes, keepsDimensions: true))
      let total = axes.isEmpty ? cotangent : try graph.add(sum, cotangent)
      return [try graph.subtract(cotangent, graph.multiply(graph.add(.unary(.exponential), output), total))]
    default: preconditionFailure("\(site.operation.name) does not normalise")
    }
  }

  /// g * scale / sqrt(variance + epsilon); the factor is made of constants, which folding turns into one.
  private func batchNormalization(
    epsilon: Float, _ site: DerivativeSite, in graph: inout Graph
  ) throws(GraphError) -> ValueID {
    let (scale, variance) = (site.node.inputs[1], site.node.inputs[4])
    let shifted = try graph.sum(variance, graph.scalar(Double(epsilon), like: variance))
    let factor = try graph.divide(scale, graph.add(.unary(.squareRoot), shifted))
    return try graph.multiply(
      site.cotangent, graph.perChannel(factor, rank: graph.shape(site.node.inputs[0]).rank))
  }

  /// scale / deviation * (g - mean(g) - x' * mean(g * x')), with x' the normalised data and means over a channel's
  /// elements of one sample.
  private func instanceNormalization(
    epsilon: Float, _ site: DerivativeSite, in graph: inout Graph
  ) throws(GraphError) -> ValueID {
    let data = site.node.inputs[0]
    let rank = graph.shape(data).rank
    let mean = Operator.reduce(Reduce(.mean, axes: Array(2..<rank), keepsDimensions: true))
    let centred = try graph.subtract(data, graph.add(mean, data))
    let variance = try graph.add(mean, graph.multiply(centred, centred))
    let shifted = try graph.sum(variance, graph.scalar(Double(epsilon), like: variance))
    let deviation = try graph.add(.unary(.squareRoot), shifted)
    let normalized = try graph.divide(centred, deviation)
    let direct = try graph.subtract(site.cotangent, graph.add(mean, site.cotangent))
    let correlation = try graph.add(mean, graph.multiply(site.cotangent, normalized))
    let inner = try graph.subtract(direct, graph.multiply(normalized, correlation))
    let factor = try graph.divide(graph.perChannel(site.node.inputs[1], rank: rank), deviation)
    return try graph.multiply(inner, factor)
  }
}
