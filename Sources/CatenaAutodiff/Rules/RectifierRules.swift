import CatenaGraph

/// Guided backpropagation (Springenberg and others, 2015): the derivative, but what flows back through a ReLU must be
/// positive, besides the ReLU's input.
public struct GuidedBackpropagationRules: DerivativeRules {
  /// The rules.
  public init() {}

  /// What flows back through one node.
  public func contributions(at site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    let gradients = try GradientRules().contributions(at: site, in: &graph)
    guard site.operation == .unary(.relu), let gradient = gradients[0] else { return gradients }
    return [try graph.add(.unary(.relu), gradient)]
  }
}

/// Deconvolution (Zeiler and Fergus, 2014): the derivative, but a ReLU lets back what is positive, whatever the ReLU's
/// input was.
public struct DeconvolutionRules: DerivativeRules {
  /// The rules.
  public init() {}

  /// What flows back through one node.
  public func contributions(at site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    guard site.operation == .unary(.relu) else { return try GradientRules().contributions(at: site, in: &graph) }
    return [try graph.add(.unary(.relu), site.cotangent)]
  }
}
