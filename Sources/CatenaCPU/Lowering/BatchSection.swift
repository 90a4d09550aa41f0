import CatenaGraph
import CatenaTensors

/// The part of a graph that computes every sample by itself: the network, forward and backward, without what makes its
/// gates and without what becomes of its gradients.
///
/// It can run block by block, and the memory of a block serves the next. Results do not depend on the blocks but for
/// the order in which gradients of gates are added up.
struct BatchSection {
  /// How a value goes into the section or comes out of it.
  enum Crossing {
    /// Whole, to every block.
    case whole
    /// By its first axis, which walks the samples.
    case samples
    /// A row per region, to the blocks of that region.
    case regions
    /// Out, as sum over the blocks of a region: one row per region.
    case sums
  }
  /// Samples, and regions that they are divided into.
  let samples: Int
  let regions: Int
  /// What is read from outside, and what is read there, in a fixed order.
  let inputs: [(value: ValueID, crossing: Crossing)]
  let outputs: [(value: ValueID, crossing: Crossing)]
  /// The section with all samples.
  private let nodes: [Node]
  private let graph: Graph
  /// Values whose first axis walks the samples.
  private let batched: ValueSet
  /// Everything else, its nodes before the section and behind it.
  let before: [Node]
  let behind: [Node]

  /// Finds the section of `graph`; `nil` when there is none, or when it leaves out an operator that mixes channels.
  init?(of graph: Graph, observed: ValueSet) {
    guard let first = graph.inputs.first, graph.shape(first).rank > 1, graph.shape(first)[0] > 1 else { return nil }
    var search = SectionSearch(graph: graph, samples: graph.shape(first)[0], first: first)
    guard search.divide(), search.samples % search.regions == 0 else { return nil }
    self.graph = graph
    (samples, regions) = (search.samples, search.regions)
    (nodes, before, behind) = (search.members, search.before, search.behind)
    batched = search.batched
    inputs = search.crossings.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    let readOutside = ValueSet(search.behind.flatMap(\.inputs)).union(observed)
    outputs = search.members.flatMap(\.outputs).filter(readOutside.contains).map { value in
      (value, search.batched.contains(value) ? .samples : .sums)
    }
  }

  /// The section for a block of `size` samples of one region; `nil` if an operator's rule does not allow it.
  func body(blockOf size: Int) -> Graph? {
    var types: ValueMap<TensorType> = [:]
    func shrink(_ value: ValueID, to crossing: Crossing) {
      var type = graph.type(value)
      switch crossing {
      case .whole: return
      case .samples: type.shape[0] = type.shape[0] / samples * size
      case .regions, .sums: type.shape[0] = 1
      }
      types[value] = type
    }
    for value in batched { shrink(value, to: .samples) }
    for (value, crossing) in inputs + outputs { shrink(value, to: crossing) }
    let made = ValueSet(nodes.flatMap(\.outputs))
    for value in made where !batched.contains(value) { shrink(value, to: .sums) }
    var nodes = nodes
    for index in nodes.indices {
      nodes[index].operation = nodes[index].operation.resized { $0 / samples * size }
    }
    let crossing = ValueSet(inputs.map(\.value))
    let read = ValueSet(nodes.flatMap(\.inputs)).subtracting(crossing)
    var body = graph
    body.rebuild(
      nodes: nodes, constants: graph.constants.filter { read.contains($0.key) }, types: types,
      inputs: inputs.map(\.value))
    body.outputs = outputs.map(\.value)
    // The operators' own shape rules prove that a smaller batch is the same computation on fewer samples.
    do throws(GraphError) { try body.checkInvariants() } catch { return nil }
    return body
  }

  /// The bytes of weights that a block reads, and those that the mixing operators read and write per sample.
  func traffic() -> (weightBytes: Int, bytesPerSample: Int) {
    var (weights, values) = (0, 0)
    for node in nodes where node.operation.mixesChannels {
      let weight = graph.shape(node.inputs[1])
      // Minimal filtering makes 36 numbers of 9.
      let growth = weight.dimensions.dropFirst(2) == [3, 3] ? 4 : 1
      weights += growth * graph.type(node.inputs[1]).byteCount
      values += (graph.type(node.inputs[0]).byteCount + graph.type(node.outputs[0]).byteCount) / samples
    }
    return (weights, values)
  }

  /// The graph without the section, whose results are inputs.
  var outside: Graph {
    var outside = graph
    outside.rebuild(
      nodes: before + behind, constants: graph.constants, inputs: graph.inputs + outputs.map(\.value))
    return outside
  }
}

/// The walk that tells a section's nodes from the others.
private struct SectionSearch {
  let graph: Graph
  let samples: Int
  private(set) var regions = 1
  private(set) var batched: ValueSet
  private(set) var crossings: ValueMap<BatchSection.Crossing> = [:]
  private(set) var members: [Node] = []
  private(set) var before: [Node] = []
  private(set) var behind: [Node] = []
  /// Values that need the section's results.
  private var late: ValueSet = []
  /// Those of them that follow from values of single samples, not from sums alone.
  private var lateSamples: ValueSet = []

  init(graph: Graph, samples: Int, first: ValueID) {
    self.graph = graph
    self.samples = samples
    batched = [first]
    crossings[first] = .samples
  }

  /// Sorts all nodes. Returns whether the section has every operator that mixes channels of samples, and one at least.
  mutating func divide() -> Bool {
    var mixers = 0
    for node in graph.nodes {
      if !node.inputs.contains(where: late.contains), !node.inputs.contains(where: batched.contains) {
        before.append(node)
      } else if !node.inputs.contains(where: late.contains), join(node) {
        members.append(node)
        mixers += node.operation.mixesChannels ? 1 : 0
      } else {
        let readsSamples = node.inputs.contains { batched.contains($0) || lateSamples.contains($0) }
        if readsSamples, node.operation.mixesChannels { return false }
        behind.append(node)
        late.formUnion(node.outputs)
        if readsSamples { lateSamples.formUnion(node.outputs) }
      }
    }
    return mixers > 0
  }

  /// Makes a node part of the section, if it can be.
  private mutating func join(_ node: Node) -> Bool {
    guard let uses = uses(of: node) else { return false }
    if node.operation.isSumOverSamples, graph.type(node.outputs[0]).elementType != .float32 { return false }
    for (value, use) in uses where !batched.contains(value) || crossings[value] != nil {
      let use = batched.contains(value) ? .samples : use
      if case .regions = use {
        let count = graph.shape(value)[0]
        guard count == 1 || regions == 1 || regions == count else { return false }
        regions = max(regions, count)
      }
      // What is only read whole may be a constant of the section.
      if case .whole = use, graph.constants[value] != nil, crossings[value] == nil { continue }
      guard crossings[value].map({ $0 == use }) ?? true else { return false }
      crossings[value] = use
    }
    if node.operation.isSumOverSamples { late.formUnion(node.outputs) } else { batched.formUnion(node.outputs) }
    return true
  }

  /// How the operands are read, when the node computes every sample by itself.
  private func uses(of node: Node) -> [(ValueID, BatchSection.Crossing)]? {
    let lead = graph.shape(node.outputs[0]).rank > 0 ? graph.shape(node.outputs[0])[0] : 1
    let count = node.inputs.count
    switch node.operation {
    case .convolution, .convolutionTranspose, .batchNormalization, .instanceNormalization: return firstOnly(node)
    case .gemm(let gemm):
      guard !gemm.transposeA, var uses = firstOnly(node) else { return nil }
      if count > 2, graph.shape(node.inputs[2]).rank == 2, graph.shape(node.inputs[2])[0] > 1 { uses[2].1 = .samples }
      return uses
    case .matmul:
      guard isBatched(node.inputs[0]), graph.shape(node.inputs[0]).rank == graph.shape(node.outputs[0]).rank else {
        return nil
      }
      let right = graph.shape(node.inputs[1])
      if !isBatched(node.inputs[1]), right.rank <= 2 { return firstOnly(node) }
      return right.rank > 2 ? aligned(node, lead) : nil
    case .unary, .unaryGradient, .binary, .select, .cast, .identity, .localResponseNormalization,
      .localResponseNormalizationGradient, .pool, .poolGradient:
      return node.outputs.count == 1 ? aligned(node, lead) : nil
    case .softmax(let axes), .logSoftmax(let axes): return axes.contains(0) ? nil : aligned(node, lead)
    case .reduce(let reduce):
      return reduce.axes.contains(0) || reduce.axes.isEmpty ? nil : firstOnly(node)
    case .argReduce(let reduce): return reduce.axis == 0 ? nil : firstOnly(node)
    case .concatenate(let axis): return axis == 0 ? nil : aligned(node, lead)
    case .split(let axis, _): return axis == 0 ? nil : firstOnly(node)
    case .gather(let axis), .gatherGradient(let axis, _): return axis == 0 ? nil : firstOnly(node)
    case .slice(let slice), .sliceGradient(let slice, _):
      return slice.starts[0] == 0 && slice.steps[0] == 1 && slice.sizes[0] == graph.shape(node.inputs[0])[0]
        && lead == slice.sizes[0] ? firstOnly(node) : nil
    case .pad(let pad), .padGradient(let pad, _):
      return pad.begins[0] == 0 && pad.ends[0] == 0 ? firstOnly(node) : nil
    case .reshape: return lead % samples == 0 && lead > 0 ? firstOnly(node) : nil
    case .transpose(let permutation): return permutation[0] == 0 ? firstOnly(node) : nil
    case .expand(let shape):
      return shape.rank == graph.shape(node.inputs[0]).rank && lead == graph.shape(node.inputs[0])[0]
        ? firstOnly(node) : nil
    case .resize(let resize), .resizeGradient(let resize, _):
      return resize.scales[0] == 1 && lead == graph.shape(node.inputs[0])[0] ? firstOnly(node) : nil
    case .gate(let axis):
      guard axis != 0, isBatched(node.inputs[0]), !isBatched(node.inputs[1]) else { return nil }
      return [(node.inputs[0], .samples), (node.inputs[1], .regions)]
    case .gateGradient(let axis), .gateGradientFromOutput(let axis):
      guard axis != 0, !isBatched(node.inputs[2]) else { return nil }
      return [(node.inputs[0], .samples), (node.inputs[1], .samples), (node.inputs[2], .regions)]
    case .adam: return nil
    }
  }

  private func isBatched(_ value: ValueID) -> Bool { batched.contains(value) }

  /// The first operand has the samples; all others are the same for all of them.
  private func firstOnly(_ node: Node) -> [(ValueID, BatchSection.Crossing)]? {
    guard isBatched(node.inputs[0]), !node.inputs.dropFirst().contains(where: isBatched) else { return nil }
    return node.inputs.enumerated().map { ($1, $0 == 0 ? .samples : .whole) }
  }

  /// Operands are aligned along their axes, as in broadcasting: one that is as long as the result walks its samples.
  private func aligned(_ node: Node, _ lead: Int) -> [(ValueID, BatchSection.Crossing)]? {
    let ranks = node.inputs.map { graph.shape($0).rank }
    let rank = ranks.max() ?? 0
    guard rank > 0, lead % samples == 0 else { return nil }
    var uses: [(ValueID, BatchSection.Crossing)] = []
    for (input, own) in zip(node.inputs, ranks) {
      let walks = own == rank && graph.shape(input)[0] > 1
      if isBatched(input), !walks || graph.shape(input)[0] % samples != 0 { return nil }
      if walks, graph.shape(input)[0] % samples != 0 { return nil }
      uses.append((input, walks ? .samples : .whole))
    }
    return uses
  }
}

extension TensorType {
  fileprivate var byteCount: Int { shape.elementCount * elementType.byteCount }
}

extension Operator {
  /// Whether most of a network's work is in such operators.
  fileprivate var mixesChannels: Bool {
    switch self {
    case .convolution, .convolutionTranspose, .gemm, .matmul: true
    default: false
    }
  }

  fileprivate var isSumOverSamples: Bool {
    switch self {
    case .gateGradient, .gateGradientFromOutput: true
    default: false
    }
  }

  /// The operator for another extent of the first axis, where it names one.
  fileprivate func resized(_ extent: (Int) -> Int) -> Operator {
    func resized(_ shape: Shape) -> Shape {
      var shape = shape
      shape[0] = extent(shape[0])
      return shape
    }
    func resized(_ slice: Slice) -> Slice {
      var slice = slice
      slice.sizes[0] = extent(slice.sizes[0])
      return slice
    }
    switch self {
    case .reshape(let shape): return .reshape(resized(shape))
    // A target's extent of 1 leaves the data's own.
    case .expand(let shape): return .expand(shape[0] == 1 ? shape : resized(shape))
    case .slice(let slice): return .slice(resized(slice))
    case .sliceGradient(let slice, let shape): return .sliceGradient(resized(slice), inputShape: resized(shape))
    case .padGradient(let pad, let shape): return .padGradient(pad, inputShape: resized(shape))
    case .gatherGradient(let axis, let shape): return .gatherGradient(axis: axis, inputShape: resized(shape))
    case .resize(var resize):
      resize.sizes[0] = extent(resize.sizes[0])
      return .resize(resize)
    case .resizeGradient(var resize, let shape):
      resize.sizes[0] = extent(resize.sizes[0])
      return .resizeGradient(resize, inputShape: resized(shape))
    default: return self
    }
  }
}
