import CatenaTensors

/// One slice of a constant operand that is set to zero so that a channel is zero.
struct StructuralZero: Hashable, Sendable {
  var node: Int
  var input: Int
  var axis: Int
  var index: Int
}

/// Finds the constants that make a channel zero at its zeroing point: rows of a weight and their bias entries, scale and
/// bias of a normalisation, per-channel factors. Entries are searched from the zeroing point upstream, through
/// operators that map zero to zero, as long as nobody else reads what becomes zero.
struct StructuralZeroSearch {
  let graph: Graph
  let rules: [AxisRules]
  let states: ChannelStates
  private let producers: ValueMap<Int>
  private let readers: ValueReaders

  init(_ graph: Graph, rules: [AxisRules], states: ChannelStates) {
    self.graph = graph
    self.rules = rules
    self.states = states
    producers = graph.producers()
    readers = graph.readers()
  }

  /// The entries that make `index` on `axis` of `value` zero; `nil` when constants alone cannot.
  func zeros(_ value: ValueID, axis: Int, index: Int) -> [StructuralZero]? {
    if states.isZeroByItself(value, axis: axis, index: index) { return [] }
    guard let node = producers[value] else { return nil }
    if axis >= graph.shape(value).rank { return bundleZeros(node, axis: axis, index) }
    switch graph.nodes[node].operation {
    case .convolution:
      return axis == 1 ? entries(node, [(1, 0), (2, 0)], index) : nil
    case .convolutionTranspose(let transpose):
      return axis == 1 && transpose.convolution.groups == 1 ? entries(node, [(1, 1), (2, 0)], index) : nil
    case .gemm(let gemm): return columnZeros(node, gemm, axis: axis, index)
    case .matmul:
      let rank = rules[node].inputs[1].rank
      return rank >= 2 && axis == rules[node].outputs[0].rank - 1 ? entries(node, [(1, rank - 1)], index) : nil
    case .batchNormalization, .instanceNormalization:
      return axis == 1 ? entries(node, [(1, 0), (2, 0)], index) : nil
    case .unary(let function):
      return function.value(at: 0) == 0 ? operandZeros(node, 0, axis: axis, index) : nil
    case .binary(let function): return binaryZeros(node, function, axis: axis, index)
    case .gate(let gateAxis):
      let gate = axis == gateAxis ? entries(node, [(1, 1)], index) : nil
      return gate ?? operandZeros(node, 0, axis: axis, index)
    case .pool: return axis < 2 ? linkedZeros(node, axis: axis, index) : nil
    case .pad(let pad): return pad.mode == .constant(0) ? linkedZeros(node, axis: axis, index) : nil
    case .reduce(let reduce) where reduce.kind != .product: return linkedZeros(node, axis: axis, index)
    case .identity, .cast, .expand: return operandZeros(node, 0, axis: axis, index)
    case .reshape, .transpose, .resize: return linkedZeros(node, axis: axis, index)
    case .concatenate(axis): return linkedZeros(node, axis: axis, index)
    default: return nil
    }
  }

  /// A bundle is followed where data only moves; no constant has one.
  private func bundleZeros(_ node: Int, axis: Int, _ index: Int) -> [StructuralZero]? {
    switch graph.nodes[node].operation {
    case .reshape, .transpose, .identity, .cast: linkedZeros(node, axis: axis, index)
    default: nil
    }
  }

  /// The listed (input, axis) pairs at `index`, when those that the node has are constants.
  private func entries(_ node: Int, _ places: [(input: Int, axis: Int)], _ index: Int) -> [StructuralZero]? {
    let inputs = graph.nodes[node].inputs
    let present = places.filter { $0.input < inputs.count }
    guard present.allSatisfy({ graph.constants[inputs[$0.input]] != nil }) else { return nil }
    return present.map { StructuralZero(node: node, input: $0.input, axis: $0.axis, index: index) }
  }

  private func columnZeros(_ node: Int, _ gemm: Gemm, axis: Int, _ index: Int) -> [StructuralZero]? {
    guard axis == 1, let column = entries(node, [(1, gemm.transposeB ? 0 : 1)], index) else { return nil }
    if rules[node].inputs.count < 3 { return column }
    guard let bias = operandZeros(node, 2, axis: axis, index) else { return nil }
    return column + bias
  }

  private func binaryZeros(_ node: Int, _ function: BinaryFunction, axis: Int, _ index: Int) -> [StructuralZero]? {
    func operand(_ input: Int) -> [StructuralZero]? { operandZeros(node, input, axis: axis, index) }
    switch function {
    case .multiply:
      // A constant factor first: it changes least.
      let isConstant = graph.constants[graph.nodes[node].inputs[1]] != nil
      return isConstant ? operand(1) ?? operand(0) : operand(0) ?? operand(1)
    case .divide: return graph.constants[graph.nodes[node].inputs[1]] != nil ? operand(0) : nil
    case .prelu: return operand(0)
    case .add, .subtract, .minimum, .maximum:
      guard let left = operand(0), let right = operand(1) else { return nil }
      return left + right
    default: return nil
    }
  }

  /// What makes an operand zero where the result has `index` on `axis`.
  private func operandZeros(_ node: Int, _ input: Int, axis: Int, _ index: Int) -> [StructuralZero]? {
    let value = graph.nodes[node].inputs[input]
    let shape = rules[node].inputs[input]
    let own = axis - (rules[node].outputs[0].rank - shape.rank)
    let isAligned = own >= 0 && shape.dimensions[own] == rules[node].outputs[0].dimensions[axis]
    if isAligned, states.isZero(value, axis: own, index: index) { return [] }
    if states.isZero(value) { return [] }
    guard isAligned else { return nil }
    if graph.constants[value] != nil { return entries(node, [(input, own)], index) }
    return onlyReaderZeros(value, axis: own, index: index)
  }

  /// What makes all that the node's rules link to an index of its result zero.
  private func linkedZeros(_ node: Int, axis: Int, _ index: Int) -> [StructuralZero]? {
    var result: [StructuralZero] = []
    let sources = rules[node].sources(axis: axis, index: index)
    // Where the rules link nothing, nothing is known.
    if sources.isEmpty { return nil }
    for source in sources {
      let value = graph.nodes[node].inputs[source.input]
      if states.isZero(value, axis: source.axis, index: source.index) { continue }
      guard graph.constants[value] == nil,
        let zeros = onlyReaderZeros(value, axis: source.axis, index: source.index)
      else { return nil }
      result += zeros
    }
    return result
  }

  private func onlyReaderZeros(_ value: ValueID, axis: Int, index: Int) -> [StructuralZero]? {
    if states.isZero(value, axis: axis, index: index) { return [] }
    guard readers[value].count == 1, !graph.outputs.contains(value) else { return nil }
    return zeros(value, axis: axis, index: index)
  }
}
