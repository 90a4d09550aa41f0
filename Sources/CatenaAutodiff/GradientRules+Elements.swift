import CatenaGraph
import CatenaTensors

// Element by element, and reductions.
extension GradientRules {
  func unary(
    _ function: UnaryFunction, _ site: DerivativeSite, in graph: inout Graph
  ) throws(GraphError) -> ValueID? {
    switch function {
    case .floor, .ceiling, .sign: return nil
    case .negate: return try graph.add(.unary(.negate), site.cotangent)
    default:
      let read = function.derivativeReadsOutput ? site.node.outputs[0] : site.node.inputs[0]
      return try graph.add(.unaryGradient(function), site.cotangent, read)
    }
  }

  func binary(
    _ function: BinaryFunction, _ site: DerivativeSite, in graph: inout Graph
  ) throws(GraphError) -> [ValueID?] {
    var result: [ValueID?] = [nil, nil]
    for operand in 0..<2 where site.wanted[operand] {
      let full =
        operand == 0
        ? try leftGradient(of: function, site, in: &graph) : try rightGradient(of: function, site, in: &graph)
      result[operand] = try graph.summed(full, to: graph.shape(site.node.inputs[operand]))
    }
    return result
  }

  /// The derivative with respect to the left operand, before the broadcast is undone.
  private func leftGradient(
    of function: BinaryFunction, _ site: DerivativeSite, in graph: inout Graph
  ) throws(GraphError) -> ValueID {
    let (left, right, cotangent) = (site.node.inputs[0], site.node.inputs[1], site.cotangent)
    switch function {
    case .add, .subtract: return cotangent
    case .multiply: return try graph.multiply(cotangent, right)
    case .divide: return try graph.divide(cotangent, right)
    case .power:
      // b * a^(b - 1), and 0 where b is 0, also at a = 0.
      let lower = try graph.add(.binary(.power), left, graph.subtract(right, graph.scalar(1, like: right)))
      let slope = try graph.multiply(right, lower)
      let zero = graph.scalar(0, like: right)
      let isConstant = try graph.add(.binary(.equal), right, zero)
      return try graph.add(.select, isConstant, zero, graph.multiply(cotangent, slope))
    case .maximum, .minimum:
      return try graph.multiply(cotangent, share(of: left, over: right, function: function, in: &graph))
    case .prelu:
      let isNegative = try graph.add(.binary(.less), left, graph.scalar(0, like: left))
      return try graph.add(.select, isNegative, graph.multiply(cotangent, right), cotangent)
    case .modulo, .equal, .less, .lessOrEqual, .greater, .greaterOrEqual, .and, .or, .xor:
      throw .invalid("\(function) is not differentiable")
    }
  }

  /// The derivative with respect to the right operand, before the broadcast is undone.
  private func rightGradient(
    of function: BinaryFunction, _ site: DerivativeSite, in graph: inout Graph
  ) throws(GraphError) -> ValueID {
    let (left, right, cotangent) = (site.node.inputs[0], site.node.inputs[1], site.cotangent)
    let output = site.node.outputs[0]
    switch function {
    case .add: return cotangent
    case .subtract: return try graph.add(.unary(.negate), cotangent)
    case .multiply: return try graph.multiply(cotangent, left)
    case .divide:
      return try graph.add(.unary(.negate), graph.divide(graph.multiply(cotangent, output), right))
    case .power:
      // a^b * log(a), and 0 at a = 0, where a^b does not change with a positive b.
      let zero = graph.scalar(0, like: left)
      let isZero = try graph.add(.binary(.equal), left, zero)
      let base = try graph.add(.select, isZero, graph.scalar(1, like: left), left)
      let slope = try graph.multiply(output, graph.add(.unary(.logarithm), base))
      return try graph.multiply(cotangent, slope)
    case .maximum, .minimum:
      return try graph.multiply(cotangent, share(of: right, over: left, function: function, in: &graph))
    case .prelu:
      let zero = graph.scalar(0, like: left)
      let isNegative = try graph.add(.binary(.less), left, zero)
      return try graph.add(.select, isNegative, graph.multiply(cotangent, left), zero)
    case .modulo, .equal, .less, .lessOrEqual, .greater, .greaterOrEqual, .and, .or, .xor:
      throw .invalid("\(function) is not differentiable")
    }
  }

  /// 1 where `own` is the extreme of the two, 1/2 where both are equal, else 0.
  private func share(
    of own: ValueID, over other: ValueID, function: BinaryFunction, in graph: inout Graph
  ) throws(GraphError) -> ValueID {
    let wins = try graph.add(.binary(function == .maximum ? .greater : .less), own, other)
    let ties = try graph.add(.binary(.equal), own, other)
    return try graph.sum(
      graph.indicator(wins, like: own), graph.scaled(graph.indicator(ties, like: own), by: 0.5))
  }

  func select(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    let condition = site.node.inputs[0]
    let zero = graph.scalar(0, like: site.cotangent)
    var result: [ValueID?] = [nil, nil, nil]
    if site.wanted[1] {
      let part = try graph.add(.select, condition, site.cotangent, zero)
      result[1] = try graph.summed(part, to: graph.shape(site.node.inputs[1]))
    }
    if site.wanted[2] {
      let part = try graph.add(.select, condition, zero, site.cotangent)
      result[2] = try graph.summed(part, to: graph.shape(site.node.inputs[2]))
    }
    return result
  }

  func reduction(_ reduce: Reduce, _ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> ValueID {
    if reduce.axes.isEmpty { return site.cotangent }
    let data = site.node.inputs[0]
    let shape = graph.shape(data)
    let kept = shape.reduced(reduce.axes, keepsDimensions: true)
    let cotangent = try graph.reshaped(site.cotangent, to: kept)
    switch reduce.kind {
    case .sum: return try graph.add(.expand(shape), cotangent)
    case .mean:
      let count = reduce.axes.map { shape[$0] }.reduce(1, *)
      return try graph.add(.expand(shape), graph.scaled(cotangent, by: 1 / Double(count)))
    case .maximum, .minimum:
      let extreme = try graph.reshaped(site.node.outputs[0], to: kept)
      let attains = try graph.indicator(graph.add(.binary(.equal), data, extreme), like: data)
      let count = try graph.add(.reduce(Reduce(.sum, axes: reduce.axes, keepsDimensions: true)), attains)
      return try graph.multiply(attains, graph.divide(cotangent, count))
    case .product: return try graph.multiply(cotangent, productOfOthers(data, axes: reduce.axes, in: &graph))
    }
  }

  /// For each element the product of the others along `axes`; exact also where elements are 0.
  private func productOfOthers(
    _ data: ValueID, axes: [Int], in graph: inout Graph
  ) throws(GraphError) -> ValueID {
    let zero = graph.scalar(0, like: data)
    let one = graph.scalar(1, like: data)
    let isZero = try graph.add(.binary(.equal), data, zero)
    let factors = try graph.add(.select, isZero, one, data)
    let product = try graph.add(.reduce(Reduce(.product, axes: axes, keepsDimensions: true)), factors)
    let ownZero = try graph.indicator(isZero, like: data)
    let zeros = try graph.add(.reduce(Reduce(.sum, axes: axes, keepsDimensions: true)), ownZero)
    // With the element itself taken out (as factor 1 where it is 0), no other zero may be left.
    let hasOtherZero = try graph.add(.binary(.greater), zeros, ownZero)
    return try graph.add(.select, hasOtherZero, zero, graph.divide(product, factors))
  }
}
