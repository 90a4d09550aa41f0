import CatenaTensors

extension Graph {
  /// The physical sub-network: the graph without its dead channels.
  ///
  /// The result computes what `zeroing(channels, values:)` computes, with the same values and nodes but smaller types,
  /// constants and parameters. A channel is cut from a reader only where it is zero there, or where nobody reads it.
  /// Dead channels that cannot be cut stay, fed by zeros in the constants in front of the zeroing point; where no
  /// constant can do that, an explicit product is inserted. Nothing else changes. Inputs and outputs are never cut, and
  /// a value that is read keeps at least one channel.
  /// - Parameters:
  ///   - channels: Dead channels.
  ///   - values: Values that are dead as a whole: residual branches. A sum of which one operand is all zero is removed.
  ///   - explains: Whether the record says why dead channels stay, and what goes because nobody reads it.
  /// - Throws: when a channel does not exist.
  public func sliced(
    _ channels: [ZeroedChannels], values: [ValueID] = [], explains: Bool = true
  ) throws(GraphError) -> SlicedGraph {
    let requested = try Zeroing(channels, values: values, in: self)
    var zeroing = requested
    var record = SliceRecord()
    var ownRules = nodes.map { $0.axisRules(in: self) }
    var rules = AxisBundles.applied(to: ownRules, of: self)
    var states = ChannelStates(self, rules: rules, zeroing: zeroing)
    // A sum's readers find in the other operand what they found in the sum: the states stay as they are.
    var graph = removingZeroOperands(zeroing, states, &record)
    ownRules = graph.rules(from: ownRules, of: self)
    rules = graph.rules(from: rules, of: self)
    while true {
      let plan = CutPlan(graph, rules: rules, states: states)
      let zeros = plan.structuralZeros(for: zeroing)
      if zeros.impossible.isEmpty && zeros.impossibleValues.isEmpty {
        let builder = SliceBuilder(plan: plan, requested: requested, zeros: zeros.found, original: self)
        return try builder.build(record, explains: explains)
      }
      // What constants cannot zero becomes a product in the graph, and everything is planned again with it.
      let explicit = try Zeroing(zeros.impossible, values: zeros.impossibleValues, in: graph)
      zeroing.remove(zeros.impossible, values: zeros.impossibleValues)
      let inserted = try graph.insertingFactors(explicit)
      ownRules = inserted.graph.rules(from: ownRules, of: graph)
      graph = inserted.graph
      rules = AxisBundles.applied(to: ownRules, of: graph)
      record.factors += inserted.factors
      states = ChannelStates(graph, rules: rules, zeroing: zeroing)
    }
  }

  /// What the nodes demand of cuts. Those that were in `earlier`, whose rules are known, at most read other values of the
  /// same types.
  private func rules(from known: [AxisRules], of earlier: Graph) -> [AxisRules] {
    let indices = earlier.producers()
    return nodes.map { node in indices[node.outputs[0]].map { known[$0] } ?? node.axisRules(in: self) }
  }

  /// The graph without the sums whose one operand is zero: their readers read the other operand.
  private func removingZeroOperands(
    _ zeroing: Zeroing, _ states: ChannelStates, _ record: inout SliceRecord
  ) -> Graph {
    let producers = producers()
    var replaced: ValueMap<ValueID> = [:]
    var kept: [Node] = []
    // What is read inside the node of the file that makes it: readers there are parts of one operator.
    let inner = ValueSet(
      nodes.flatMap { node in
        node.source == nil ? [] : node.inputs.filter { producers[$0].map { nodes[$0].source } == node.source }
      })
    for node in nodes {
      var node = node
      // Inside one of the file's nodes an operand has no name that readers could give instead.
      if let operand = node.survivingOperand(in: self, states, zeroing), case let other = replaced[operand] ?? operand,
        node.source == nil
          || producers[other].flatMap({ nodes[$0].source }) != node.source && !inner.contains(node.outputs[0])
      {
        replaced[node.outputs[0]] = other
        record.rewired.append(.init(from: node.outputs[0], to: other))
      } else {
        node.inputs = node.inputs.map { replaced[$0] ?? $0 }
        kept.append(node)
      }
    }
    var result = self
    result.rebuild(nodes: kept, constants: constants)
    return result.pruned()
  }
}

extension Node {
  /// The operand that a sum or difference equals because the other is all zero.
  fileprivate func survivingOperand(in graph: Graph, _ states: ChannelStates, _ zeroing: Zeroing) -> ValueID? {
    guard case .binary(let function) = operation, function == .add || function == .subtract,
      !graph.outputs.contains(outputs[0]), !zeroing.touches(outputs[0])
    else { return nil }
    let candidates = function == .add ? [(inputs[0], inputs[1]), (inputs[1], inputs[0])] : [(inputs[1], inputs[0])]
    return candidates.first { zero, other in
      states.isZero(zero) && graph.type(other) == graph.type(outputs[0]) && graph.constants[zero] == nil
    }?.1
  }
}

extension CutPlan {
  /// Structural zeros for all dead channels that stay, and the channels that constants cannot make zero.
  fileprivate func structuralZeros(
    for zeroing: Zeroing
  ) -> (found: Set<StructuralZero>, impossible: [ZeroedChannels], impossibleValues: [ValueID]) {
    let search = StructuralZeroSearch(graph, rules: rules, states: states)
    let present = ValueSet(graph.inputs + graph.nodes.flatMap(\.outputs)).intersection(needed)
    var found: Set<StructuralZero> = []
    var impossible: [ZeroedChannels] = []
    for channels in zeroing.channels where present.contains(channels.value) {
      let kept = Set(kept(channels.value, axis: channels.axis))
      var failed: [Int] = []
      for index in channels.indices where kept.contains(index) {
        if let zeros = search.zeros(channels.value, axis: channels.axis, index: index) {
          found.formUnion(zeros)
        } else {
          failed.append(index)
        }
      }
      if !failed.isEmpty {
        impossible.append(ZeroedChannels(value: channels.value, axis: channels.axis, indices: failed))
      }
    }
    var impossibleValues: [ValueID] = []
    for value in zeroing.values.sorted() where present.contains(value) {
      if let zeros = wholeZeros(value, search) { found.formUnion(zeros) } else { impossibleValues.append(value) }
    }
    return (found, impossible, impossibleValues)
  }

  /// A value is zero when it is zero on every index of one of its axes.
  private func wholeZeros(_ value: ValueID, _ search: StructuralZeroSearch) -> [StructuralZero]? {
    for axis in 0..<graph.shape(value).rank where innerCount(value, axis: axis) == nil {
      var zeros: [StructuralZero] = []
      let isZero = kept(value, axis: axis).allSatisfy { index in
        guard let more = search.zeros(value, axis: axis, index: index) else { return false }
        zeros += more
        return true
      }
      if isZero { return zeros }
    }
    return nil
  }
}
