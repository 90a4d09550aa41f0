import CatenaGraph
import CatenaTensors

/// What the search for units and blocks asks again and again about a graph.
struct ChannelStructure {
  let graph: Graph
  let producers: ValueMap<Int>
  let readers: ValueReaders
  /// Values that depend on the graph's inputs.
  let active: ValueSet
  /// Active values whose first axis runs over the samples, in order.
  private let batched: ValueSet
  /// Values that another mixing operator reads, directly or not.
  private let mixedLater: ValueSet

  init(_ graph: Graph) {
    self.graph = graph
    producers = graph.producers()
    readers = graph.readers()
    var active = ValueSet(graph.inputs)
    for node in graph.nodes where node.inputs.contains(where: active.contains) { active.formUnion(node.outputs) }
    self.active = active
    batched = graph.valuesWithSamplesFirst(active: active)
    var mixedLater: ValueSet = []
    for node in graph.nodes.reversed()
    where graph.mixesChannels(node, active: active) || node.outputs.contains(where: mixedLater.contains) {
      mixedLater.formUnion(node.inputs)
    }
    self.mixedLater = mixedLater
  }

  /// The units of the operator at `index`, when it has any; their block is not looked for.
  func unitLayer(mixedAt index: Int) -> UnitLayer? {
    let node = graph.nodes[index]
    guard graph.mixesChannels(node, active: active), let axis = unitAxis(of: node),
      batched.contains(node.outputs[0]), mixedLater.contains(node.outputs[0])
    else { return nil }
    let end = chainEnd(of: node.outputs[0], axis: axis, madeAt: index)
    if isInside(end.value) || scalesOwnAncestor(end.value) || isDivisor(end.value) || embedsPatches(node, endingIn: end)
    {
      return nil
    }
    return UnitLayer(
      name: graph[node.outputs[0]].name, mixing: index, value: end.value, axis: end.axis,
      count: graph.shape(node.outputs[0])[axis], block: nil)
  }

  /// The axis of the output that runs over the rows of a constant weight.
  private func unitAxis(of node: Node) -> Int? {
    guard active.contains(node.inputs[0]), !active.contains(node.inputs[1]) else { return nil }
    switch node.operation {
    case .convolution, .convolutionTranspose: return 1
    case .gemm(let gemm): return gemm.transposeA ? nil : 1
    case .matmul:
      let rank = graph.shape(node.inputs[0]).rank
      return rank >= 2 && graph.shape(node.inputs[1]).rank == 2 ? rank - 1 : nil
    default: return nil
    }
  }

  /// A patch embedding: windows that do not overlap, and whose channels become the entries of tokens. It writes the
  /// stream that everything reads, as an embedding does, so its channels are never units.
  private func embedsPatches(_ node: Node, endingIn end: (value: ValueID, axis: Int)) -> Bool {
    guard case .convolution(let convolution) = node.operation else { return false }
    let kernel = graph.shape(node.inputs[1]).dimensions.dropFirst(2)
    let isSequence = graph.shape(end.value).rank == 3 && end.axis == 2
    return isSequence && Array(kernel) == convolution.strides && kernel.contains { $0 > 1 }
  }

  /// Whether a value exists inside one of the file's nodes alone, where nothing can be put behind it.
  func isInside(_ value: ValueID) -> Bool {
    guard let producer = producers[value], let source = graph.nodes[producer].source else { return false }
    return readers[value].contains { graph.nodes[$0].source == source }
  }

  /// Whether something is divided by the value, or its logarithm is taken: without its units nothing would be left that is a
  /// number.
  private func isDivisor(_ value: ValueID) -> Bool {
    readers[value].contains { reader in
      switch graph.nodes[reader].operation {
      case .binary(.divide), .binary(.modulo): graph.nodes[reader].inputs[1] == value
      case .unary(.reciprocal), .unary(.logarithm): true
      default: false
      }
    }
  }

  /// Squeeze-and-excite: the value's only use is to multiply something that it was computed from.
  private func scalesOwnAncestor(_ value: ValueID) -> Bool {
    guard readers[value].count == 1, let node = readers[value].first.map({ graph.nodes[$0] }),
      node.operation == .binary(.multiply), let scaled = node.inputs.first(where: { $0 != value })
    else { return false }
    return active.contains(scaled) && ancestors(of: value).contains(scaled)
  }

  /// The value itself and all active values that it depends on.
  func ancestors(of value: ValueID) -> ValueSet {
    guard let producer = producers[value] else { return [value] }
    var result: ValueSet = [value]
    for node in graph.nodes[...producer].reversed() where node.outputs.contains(where: result.contains) {
      result.formUnion(node.inputs.filter(active.contains))
    }
    return result
  }

  // MARK: Chains

  /// The last value, behind `start`, through which all that depends on `start` must pass, and which is computed from it
  /// channel by channel.
  private func chainEnd(of start: ValueID, axis: Int, madeAt index: Int) -> (value: ValueID, axis: Int) {
    var axes: ValueMap = [start: axis]
    var absorbed: Set<Int> = []
    var members = [(value: start, madeAt: index)]
    for later in graph.nodes.indices[(index + 1)...] {
      let node = graph.nodes[later]
      guard node.inputs.contains(where: { axes[$0] != nil }),
        node.inputs.allSatisfy({ axes[$0] != nil || !active.contains($0) }),
        let outputAxis = graph.channelAxis(after: node, axes: axes), batched.contains(node.outputs[0])
      else { continue }
      axes[node.outputs[0]] = outputAxis
      absorbed.insert(later)
      members.append((node.outputs[0], later))
    }
    var end = start
    var lastReader = index
    for member in members {
      if lastReader <= member.madeAt, !isInside(member.value) { end = member.value }
      let uses = readers[member.value]
      if graph.outputs.contains(member.value) || !uses.allSatisfy(absorbed.contains) { break }
      lastReader = max(lastReader, uses.max() ?? index)
    }
    return (end, axes[end] ?? axis)
  }
}

extension Graph {
  /// Whether a node that depends on the graph's inputs computes channels from several others.
  func mixesChannels(_ node: Node, active: ValueSet) -> Bool {
    guard node.inputs.contains(where: active.contains) else { return false }
    switch node.operation {
    case .convolution(let convolution): return convolution.groups == 1 || shape(node.inputs[1])[1] > 1
    case .convolutionTranspose(let transpose):
      return transpose.convolution.groups == 1 || shape(node.inputs[1])[0] > transpose.convolution.groups
    case .gemm, .matmul: return true
    default: return false
    }
  }

  /// The channel axis of a node's output when each of its channels is computed from the same channel of the inputs that
  /// `axes` lists and from nothing else that varies; `nil` when that cannot be told.
  fileprivate func channelAxis(after node: Node, axes: ValueMap<Int>) -> Int? {
    guard let output = node.outputs.first, node.outputs.count == 1, type(output).elementType.isFloatingPoint else {
      return nil
    }
    let result = shape(output)
    if case .binary = node.operation { return elementwiseAxis(node.inputs, axes: axes, result: result) }
    guard let axis = axes[node.inputs[0]], node.inputs.dropFirst().allSatisfy({ axes[$0] == nil }) else { return nil }
    let data = shape(node.inputs[0])
    switch node.operation {
    case .unary, .identity, .cast: return axis
    case .batchNormalization, .instanceNormalization, .pool: return axis == 1 ? 1 : nil
    case .convolution, .convolutionTranspose:
      // A depthwise convolution with one filter per channel.
      return axis == 1 && groups(of: node.operation) == data[1] && result[1] == data[1] ? 1 : nil
    case .reduce(let reduce):
      if reduce.axes.contains(axis) || reduce.axes.contains(0) { return nil }
      return reduce.keepsDimensions ? axis : axis - reduce.axes.filter { $0 < axis }.count
    case .reshape:
      let before = data.count(of: 0..<axis)
      return result.dimensions.indices.dropFirst().first {
        result.count(of: 0..<$0) == before && result[$0] == data[axis]
      }
    case .transpose(let permutation): return permutation.firstIndex(of: axis)
    case .slice(let slice): return slice.steps[axis] > 0 && result[axis] == data[axis] ? axis : nil
    case .pad(let pad): return pad.begins[axis] == 0 && pad.ends[axis] == 0 ? axis : nil
    case .resize, .expand: return result.rank == data.rank && result[axis] == data[axis] ? axis : nil
    default: return nil
    }
  }

  private func groups(of operation: Operator) -> Int? {
    switch operation {
    case .convolution(let convolution): convolution.groups
    case .convolutionTranspose(let transpose): transpose.convolution.groups
    default: nil
    }
  }

  /// Operands of full rank with one common channel axis, against constants that only repeat along the data.
  private func elementwiseAxis(_ operands: [ValueID], axes: ValueMap<Int>, result: Shape) -> Int? {
    let channelled = operands.compactMap { operand in axes[operand].map { (operand, $0) } }
    guard let (first, axis) = channelled.first else { return nil }
    let agree = channelled.allSatisfy { operand, other in
      other == axis && shape(operand).rank == result.rank && shape(operand)[axis] == result[axis]
    }
    return agree && shape(first)[0] == result[0] ? axis : nil
  }
}
