import CatenaGraph
import CatenaTensors

// What the rules of relevance propagation share.

/// data * weight under a linear operator, added or subtracted; without a weight for operators that have none.
struct LinearTerm {
  var data: ValueID
  var weight: ValueID?
  var isSubtracted = false
}

/// Relevance through operators that select or rearrange, and through activations, which keep the order of their inputs;
/// `nil` for others.
func passedRelevance(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?]? {
  switch site.operation {
  case .unary(let function) where function.isActivation: [site.cotangent]
  case .pool(let pool) where pool.kind == .maximum: try GradientRules().contributions(at: site, in: &graph)
  case .identity, .cast, .concatenate, .split, .slice, .pad, .reshape, .transpose, .expand, .gather:
    try GradientRules().contributions(at: site, in: &graph)
  default: nil
  }
}

extension Graph {
  /// The relevance that the terms of one node's output give back: each term's data times what flows back through the
  /// operator with the term's weight, from `ratio` of the sum of terms and bias. What the bias takes, and outputs whose
  /// ratio is 0, are recorded.
  mutating func sharedRelevance(
    among terms: [LinearTerm], bias: ValueID?, of site: DerivativeSite, leaks: RelevanceLeaks?,
    ratio: (ValueID, inout Graph) throws(GraphError) -> ValueID
  ) throws(GraphError) -> ValueID {
    var outputs: [ValueID] = []
    for term in terms {
      outputs.append(try add(site.operation, inputs: [term.data] + (term.weight.map { [$0] } ?? []))[0])
    }
    var contributions = outputs[0]
    for (term, output) in zip(terms, outputs).dropFirst() {
      contributions = term.isSubtracted ? try subtract(contributions, output) : try sum(contributions, output)
    }
    var total = contributions
    if let bias { total = try sum(contributions, broadcastBias(bias, of: site)) }
    let quotient = try ratio(total, &self)
    leaks?.record(try subtract(site.cotangent, multiply(quotient, contributions)))
    var relevance: ValueID?
    for (term, output) in zip(terms, outputs) {
      // The bounds of z^B have one sample for all; what flows back has them all.
      let back = try linearFlow(
        quotient, through: site.operation, inputs: [site.node.inputs[0]] + (term.weight.map { [$0] } ?? []),
        output: shape(output) == shape(quotient) ? output : site.node.outputs[0])
      let share = try multiply(back, term.data)
      guard let sofar = relevance else {
        relevance = share
        continue
      }
      relevance = term.isSubtracted ? try subtract(sofar, share) : try sum(sofar, share)
    }
    guard let relevance else { preconditionFailure("a node has at least one term") }
    return relevance
  }

  /// A bias, shaped to be added to the node's output.
  private mutating func broadcastBias(_ bias: ValueID, of site: DerivativeSite) throws(GraphError) -> ValueID {
    switch site.operation {
    case .gemm(let gemm): try scaled(bias, by: Double(gemm.beta))
    default: try perChannel(bias, rank: shape(site.node.outputs[0]).rank)
    }
  }

  /// The derivative of an operator that is linear in its first input.
  mutating func linearFlow(
    _ cotangent: ValueID, through operation: Operator, inputs: [ValueID], output: ValueID
  ) throws(GraphError) -> ValueID {
    let site = DerivativeSite(
      node: Node(operation, inputs: inputs, outputs: [output]), incoming: [cotangent],
      wanted: inputs.indices.map { $0 == 0 }, pairedValues: [:])
    guard let flow = try GradientRules().contributions(at: site, in: &self)[0] else {
      preconditionFailure("\(operation.name) is linear in its data")
    }
    return flow
  }

  /// Whether no element of `value` can be negative, as far as the operators that made it say.
  func isNonNegative(_ value: ValueID) -> Bool {
    if let constant = constants[value] { return constant.doubles.allSatisfy { $0 >= 0 } }
    guard let node = nodes.last(where: { $0.outputs.contains(value) }) else { return false }
    switch node.operation {
    case .unary(.relu), .unary(.sigmoid), .unary(.hardSigmoid), .unary(.softplus), .unary(.exponential),
      .unary(.absolute), .unary(.squareRoot), .softmax:
      return true
    case .unary(.clip(let minimum, _)): return minimum >= 0
    case .pool, .reshape, .identity, .slice, .transpose, .split, .expand, .cast:
      return isNonNegative(node.inputs[0])
    case .pad(let pad):
      if case .constant(let number) = pad.mode, number < 0 { return false }
      return isNonNegative(node.inputs[0])
    case .reduce(let reduce): return reduce.kind != .product && isNonNegative(node.inputs[0])
    case .binary(.add), .binary(.multiply), .binary(.maximum), .concatenate:
      return node.inputs.allSatisfy { isNonNegative($0) }
    default: return false
    }
  }

  /// A batch norm with constant parameters as scale * x + shift, per channel.
  func affineNormalization(_ site: DerivativeSite) -> (scale: Tensor, shift: Tensor)? {
    guard case .batchNormalization(let epsilon) = site.operation else { return nil }
    return affineNormalization(site.node, epsilon: epsilon)
  }

  func affineNormalization(_ node: Node, epsilon: Float) -> (scale: Tensor, shift: Tensor)? {
    let parameters = node.inputs.dropFirst().compactMap { constants[$0]?.doubles }
    guard parameters.count == 4, let shape = constants[node.inputs[1]]?.shape else { return nil }
    var (scale, shift) = (parameters[0], parameters[1])
    for channel in scale.indices {
      scale[channel] /= (parameters[3][channel] + Double(epsilon)).squareRoot()
      shift[channel] -= parameters[2][channel] * scale[channel]
    }
    let type = self.type(node.inputs[1]).elementType
    return (
      Tensor(doubles: scale, shape: shape, elementType: type), Tensor(doubles: shift, shape: shape, elementType: type)
    )
  }
}

extension UnaryFunction {
  /// Whether relevance passes unchanged: the function keeps the order of its inputs, as activations do.
  var isActivation: Bool {
    switch self {
    case .relu, .leakyRelu, .elu, .selu, .sigmoid, .hardSigmoid, .hardSwish, .tanh, .softplus, .gelu, .geluTanh, .clip:
      true
    default: false
    }
  }
}

extension Pool {
  var isAverage: Bool {
    if case .average = kind { true } else { false }
  }
}

extension Tensor {
  /// The tensor with a function applied to every element.
  func mapped(_ function: (Double) -> Double) -> Tensor {
    Tensor(doubles: doubles.map(function), shape: shape, elementType: elementType)
  }
}
