import CatenaTensors

/// Makes the sliced graph that a plan describes, and its record.
struct SliceBuilder {
  let plan: CutPlan
  let requested: Zeroing
  let zeros: Set<StructuralZero>
  let original: Graph
  private let producers: ValueMap<Int>

  init(plan: CutPlan, requested: Zeroing, zeros: Set<StructuralZero>, original: Graph) {
    self.plan = plan
    self.requested = requested
    self.zeros = zeros
    self.original = original
    producers = plan.graph.producers()
  }

  private var graph: Graph { plan.graph }

  func build(_ started: SliceRecord, explains: Bool) throws(GraphError) -> SlicedGraph {
    var record = started
    var result = graph
    var nodes: [Node] = []
    var constants: ValueMap<Tensor> = graph.constants.filter { graph.outputs.contains($0.key) }
    var types: ValueMap<TensorType> = [:]
    var instances: [ConstantSlice: ValueID] = [:]
    for (id, tensor) in constants { instances[ConstantSlice(original: id, rank: tensor.shape.rank)] = id }
    for (index, node) in graph.nodes.enumerated() where node.outputs.contains(where: plan.needed.contains) {
      var sliced = node
      sliced.operation = operation(index)
      sliced.inputs = []
      for (input, value) in node.inputs.enumerated() where !plan.isDropped(index, input: input) {
        guard let tensor = graph.constants[value] else {
          sliced.inputs.append(value)
          continue
        }
        let slice = constantSlice(index, input: input)
        if instances[slice] == nil {
          let made = slice.isIdentity ? tensor : slice.applied(to: tensor)
          var instance = slice
          if constants[value] == nil {
            types[value] = TensorType(made.elementType, made.shape)
          } else {
            instance.result = result.addConstant("\(graph[value].name)/\(graph[node.outputs[0]].name)", made)
          }
          instances[slice] = instance.result
          constants[instance.result] = made
          if original.values.indices.contains(value.index) { record.constants.append(instance) }
        }
        sliced.inputs.append(instances[slice]!)
      }
      for output in node.outputs {
        types[output] = TensorType(graph.type(output).elementType, keptShape(output))
      }
      nodes.append(sliced)
    }
    result.rebuild(nodes: nodes, constants: constants, types: types)
    try result.checkInvariants()
    describe(result, &record)
    if explains { explain(result, &record) }
    return SlicedGraph(graph: result, record: record)
  }

  private func keptShape(_ value: ValueID) -> Shape {
    Shape((0..<graph.shape(value).rank).map { plan.kept(value, axis: $0).count })
  }

  // MARK: Constants

  private func constantSlice(_ node: Int, input: Int) -> ConstantSlice {
    let shape = plan.rules[node].inputs[input]
    var slice = ConstantSlice(original: graph.nodes[node].inputs[input], rank: shape.rank)
    for axis in 0..<shape.rank {
      let kept = plan.kept(node, .input(input, axis))
      if kept.count < shape.dimensions[axis] { slice.kept[axis] = kept }
      slice.zeros[axis] = kept.filter {
        zeros.contains(StructuralZero(node: node, input: input, axis: axis, index: $0))
      }
    }
    if plan.rules[node].groups != nil, input == 1 {
      let channels = plan.keptGroups(node).channels
      if Set(channels).count > 1 {
        slice.keptByGroup = channels
      } else if let common = channels.first, common.count < shape.dimensions[1] {
        slice.kept[1] = common
      }
    }
    if case .gather(let axis) = graph.nodes[node].operation, input == 1 {
      slice.renumbered = renumberedIndices(node, axis: axis)
    }
    return slice
  }

  /// A gather's indices into what is left of its data, when something is missing.
  private func renumberedIndices(_ node: Int, axis: Int) -> [Int]? {
    let extent = plan.rules[node].inputs[0].dimensions[axis]
    let kept = plan.kept(node, .input(0, axis))
    guard kept.count < extent, let indices = graph.constants[graph.nodes[node].inputs[1]]?.integers else { return nil }
    let picked = indices.map { $0 < 0 ? $0 + extent : $0 }
    let results = plan.rules[node].inputs[1].rank == 0 ? [0] : plan.kept(node, .output(axis))
    return ChannelMap.selection(picked, of: extent).restricted(to: results, sources: kept).sources.compactMap { $0 }
  }

  // MARK: Parameters

  /// The node's operator for what is left of its operands.
  private func operation(_ node: Int) -> Operator {
    let rules = plan.rules[node]
    func kept(_ place: Place) -> [Int] { plan.kept(node, place) }
    func keptShape(_ output: Int = 0) -> [Int] {
      (0..<rules.outputs[output].rank).map { kept(.output($0, of: output)).count }
    }
    switch graph.nodes[node].operation {
    case .convolution(var convolution) where rules.groups != nil:
      convolution.groups = plan.keptGroups(node).groups.count
      return .convolution(convolution)
    case .split(let axis, let sizes):
      return .split(axis: axis, sizes: sizes.indices.map { kept(.output(axis, of: $0)).count })
    case .slice(var slice):
      for axis in slice.starts.indices where slice.steps[axis] == 1 {
        let start = slice.starts[axis]
        slice.starts[axis] = kept(.input(0, axis)).count { $0 < start }
        slice.sizes[axis] = kept(.output(axis)).count
      }
      return .slice(slice)
    case .pad(var pad):
      guard case .constant = pad.mode else { return .pad(pad) }
      for axis in pad.begins.indices { restrict(&pad, axis, kept(.input(0, axis)), kept(.output(axis)), rules) }
      return .pad(pad)
    case .reshape: return .reshape(Shape(keptShape()))
    case .expand(let target):
      // An extent of 1 leaves the data's own, as a batch that is to stay open.
      let kept = keptShape().suffix(target.rank)
      return .expand(Shape(zip(target.dimensions, kept).map { $0 == 1 ? 1 : $1 }))
    case .resize(var resize):
      resize.sizes = keptShape()
      return .resize(resize)
    case let other: return other
    }
  }

  /// Padded channels that are left are new again; cropped ones count only where they are left in the input.
  private func restrict(_ pad: inout Pad, _ axis: Int, _ inputs: [Int], _ outputs: [Int], _ rules: AxisRules) {
    let (begin, extent) = (pad.begins[axis], rules.inputs[0].dimensions[axis])
    let end = extent + pad.ends[axis]
    pad.begins[axis] = begin < 0 ? -inputs.count { $0 < -begin } : outputs.count { $0 < begin }
    pad.ends[axis] = end < extent ? -inputs.count { $0 >= end } : outputs.count { $0 >= begin + extent }
  }

  // MARK: Record

  private func describe(_ result: Graph, _ record: inout SliceRecord) {
    let left = result.nodes.flatMap(\.outputs)
    let leftSet = ValueSet(left)
    record.removedNodes = original.nodes.map { $0.outputs[0] }.filter { !leftSet.contains($0) }
    for value in left {
      for (axis, extent) in graph.shape(value).dimensions.enumerated()
      where plan.innerCount(value, axis: axis) == nil {
        let kept = plan.kept(value, axis: axis)
        if kept.count < extent {
          record.values.append(.init(value: value, axis: axis, originalExtent: extent, indices: kept))
        }
      }
    }
  }

  private func explain(_ result: Graph, _ record: inout SliceRecord) {
    let left = ValueSet(result.nodes.flatMap(\.outputs))
    record.uncut = uncut(left)
    record.unread = unread(left)
  }

  private func uncut(_ left: ValueSet) -> [SliceRecord.UncutChannels] {
    struct Key: Hashable {
      var reason: KeepReason
      var demandedBy: ValueID?
    }
    var result: [SliceRecord.UncutChannels] = []
    let whole = requested.values.sorted().filter { graph.shape($0).rank > 0 }.map { value in
      let axis = min(1, graph.shape(value).rank - 1)
      return ZeroedChannels(value: value, axis: axis, indices: Array(0..<graph.shape(value)[axis]))
    }
    for channels in requested.channels + whole where left.contains(channels.value) {
      var indices: [Key: [Int]] = [:]
      for index in channels.indices {
        guard let cause = plan.cause(channels.value, axis: channels.axis, index: index) else { continue }
        let reason = cause.live.map { explain($0.value, $0.axis, $0.index) } ?? cause.reason
        indices[Key(reason: reason, demandedBy: cause.node.map { graph.nodes[$0].outputs[0] }), default: []]
          .append(index)
      }
      for (key, indices) in indices.sorted(by: { $0.value[0] < $1.value[0] }) {
        result.append(
          .init(
            value: channels.value, axis: channels.axis, indices: indices, reason: key.reason,
            demandedBy: key.demandedBy))
      }
    }
    return result
  }

  /// Filters that went although nobody asked: only dead channels read them.
  private func unread(_ left: ValueSet) -> [ZeroedChannels] {
    var deadClasses: Set<Int> = []
    for channels in requested.channels where plan.needed.contains(channels.value) {
      for index in channels.indices {
        deadClasses.insert(plan.classOf(channels.value, axis: channels.axis, index: index))
      }
    }
    var result: [ZeroedChannels] = []
    for node in graph.nodes where left.contains(node.outputs[0]) {
      guard let axis = node.operation.filterAxis(rank: graph.shape(node.outputs[0]).rank) else { continue }
      let value = node.outputs[0]
      // The channels of attention's heads are those of queries, keys and values.
      if plan.innerCount(value, axis: axis) != nil { continue }
      let indices = (0..<graph.shape(value).dimensions[axis]).filter { index in
        plan.cause(value, axis: axis, index: index) == nil
          && !deadClasses.contains(plan.classOf(value, axis: axis, index: index))
      }
      if !indices.isEmpty { result.append(ZeroedChannels(value: value, axis: axis, indices: indices)) }
    }
    return result
  }

  /// Where a zero was lost on the way to a sum that reads the channel live.
  private func explain(_ value: ValueID, _ axis: Int, _ index: Int) -> KeepReason {
    var (value, axis, index) = (value, axis, index)
    while let node = producers[value] {
      let sources = plan.rules[node].sources(
        axis: axis, index: index, output: graph.nodes[node].outputs.firstIndex(of: value)!
      )
      .map { (value: graph.nodes[node].inputs[$0.input], axis: $0.axis, index: $0.index) }
      .filter { graph.constants[$0.value] == nil }
      if let lost = sources.first(where: { plan.states.isZero($0.value, axis: $0.axis, index: $0.index) }) {
        let hasLiveOperand = sources.contains { $0.value != lost.value }
        return graph.nodes[node].operation.lossOfZero(hasLiveOperand: hasLiveOperand)
      }
      guard let next = sources.first else {
        return plan.rules[node].groups == nil ? .otherWriter : .convolutionBias
      }
      (value, axis, index) = next
    }
    return .otherWriter
  }
}

extension AxisRules {
  /// The operands' indices that the rules link to an index of a result.
  func sources(axis: Int, index: Int, output: Int = 0) -> [(input: Int, axis: Int, index: Int)] {
    var found: [(input: Int, axis: Int, index: Int)] = []
    let place = Place.output(axis, of: output)
    for link in links {
      if link.to == place, case .input(let input) = link.from.operand {
        if let source = link.map.sources[index] { found.append((input, link.from.axis, source)) }
      } else if link.from == place, case .input(let input) = link.to.operand {
        for (target, source) in link.map.sources.enumerated() where source == index {
          found.append((input, link.to.axis, target))
        }
      }
    }
    return found
  }
}

extension Operator {
  /// The axis of the result that a mixing operator's filters make.
  fileprivate func filterAxis(rank: Int) -> Int? {
    switch self {
    case .convolution, .convolutionTranspose, .gemm: 1
    case .matmul: rank - 1
    default: nil
    }
  }

  /// Why a zero operand does not make the result zero.
  fileprivate func lossOfZero(hasLiveOperand: Bool) -> KeepReason {
    switch self {
    case .batchNormalization, .instanceNormalization: .normalization
    case .unary: .activation
    case .binary: hasLiveOperand ? .otherWriter : .addition
    case .pad: .padding
    default: .otherWriter
    }
  }
}
