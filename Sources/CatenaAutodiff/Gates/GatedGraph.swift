import CatenaGraph
import CatenaTensors

/// How a gate follows from its score, element by element.
public struct GateParametrization: Sendable {
  /// Adds the nodes that turn scores into gates of the same type.
  public var gates: @Sendable (_ scores: ValueID, _ graph: inout Graph) throws(GraphError) -> ValueID

  /// A parametrisation.
  public init(
    gates: @escaping @Sendable (_ scores: ValueID, _ graph: inout Graph) throws(GraphError) -> ValueID
  ) {
    self.gates = gates
  }

  /// gate = sigmoid(score). The slope is 0 where the gate is, so that gradients may be computed from a gate's output.
  public static let sigmoid = GateParametrization { scores, graph throws(GraphError) in
    try graph.add(.unary(.sigmoid), scores, name: "\(graph[scores].name)/sigmoid")
  }

  /// gate = score: for masks, and for gates that are given.
  public static let identity = GateParametrization { scores, _ throws(GraphError) in scores }
}

/// A graph whose units and residual branches are multiplied by gates, of R regions at once.
///
/// U units in the order of `sites.layers`, B blocks. The samples of region r are part r of R equal parts of the batch.
/// In the forward pass a unit's channel is multiplied by its gate S at the end of the unit's chain, and a block's
/// *branch* once by the block's gate alpha, at its end: y = shortcut + alpha * branch. Where the branch ends in a layer
/// of the same block, one gate node multiplies by alpha * S. The units in the middle of a branch are multiplied by S
/// alone. `effectiveGates` is alpha * S for *every* unit of a block: what the sparsity objective counts and a chain's
/// selection ranks, not what each gate node reads.
public struct GatedGraph: Sendable {
  /// The gated graph. Ids of the ungated graph keep their meaning: `UnitLayer.value` is the value before its gate.
  public var graph: Graph
  /// What is gated; node indices are those of the ungated graph.
  public var sites: GateSites
  /// The number R of regions.
  public var regions: Int
  /// Input, R x U: the units' scores.
  public var scores: ValueID
  /// Input, R x B: the blocks' scores; `nil` without blocks.
  public var blockScores: ValueID?
  /// R x U: the units' gates S.
  public var unitGates: ValueID
  /// R x B: the blocks' gates alpha; `nil` without blocks.
  public var blockGates: ValueID?
  /// R x U: alpha of the unit's block (1 outside blocks) times S.
  public var effectiveGates: ValueID
  /// The gated value of each layer, which replaces `UnitLayer.value` for its readers: times S, or alpha * S.
  public var gatedValues: [ValueID]
}

extension Graph {
  /// Multiplies units and residual branches by gates that follow from scores, two new inputs of type f32.
  ///
  /// With all gates 1 the graph computes what it did.
  /// - Parameters:
  ///   - sites: What is gated: all or some of what `gateSites()` found in this very graph.
  ///   - regions: R, a divisor of the batch size.
  ///   - parametrization: How the units' gates follow from their scores.
  ///   - blockParametrization: How the blocks' gates do; `nil` for the same way.
  /// - Throws: `GraphError` when there is nothing to gate or the batch does not divide into regions.
  public func gated(
    _ sites: GateSites, regions: Int = 1, parametrization: GateParametrization = .sigmoid,
    blockParametrization: GateParametrization? = nil
  ) throws(GraphError) -> GatedGraph {
    guard !sites.layers.isEmpty else { throw .invalid("the network has no units to gate") }
    var gating = Gating(graph: self, sites: sites)
    let values = try gating.addScores(
      regions: regions, parametrization: parametrization,
      blockParametrization: blockParametrization ?? parametrization)
    try gating.insertGates(regions: regions)
    return GatedGraph(
      graph: gating.ordered(), sites: sites, regions: regions, scores: values.scores, blockScores: values.blockScores,
      unitGates: values.unitGates, blockGates: values.blockGates, effectiveGates: values.effectiveGates,
      gatedValues: gating.gatedValues)
  }
}

/// The work of inserting gates. New nodes are appended first and put in order at the end.
private struct Gating {
  private let original: Graph
  private let sites: GateSites
  private let producers: ValueMap<Int>
  private var graph: Graph
  /// S of each layer and alpha of each block, as columns.
  private var layerGates: [ValueID] = []
  private var blockGates: [ValueID] = []
  /// Gate nodes by the index of the node behind which they belong.
  private var inserted: [Int: [Node]] = [:]
  private var replacements: ValueMap<ValueID> = [:]
  private(set) var gatedValues: [ValueID] = []

  init(graph: Graph, sites: GateSites) {
    original = graph
    self.graph = graph
    self.sites = sites
    producers = graph.producers()
  }

  mutating func addScores(
    regions: Int, parametrization: GateParametrization, blockParametrization: GateParametrization
  ) throws(GraphError) -> (
    scores: ValueID, blockScores: ValueID?, unitGates: ValueID, blockGates: ValueID?, effectiveGates: ValueID
  ) {
    let counts = sites.layers.map(\.count)
    let scores = graph.addInput("unit scores", TensorType(.float32, [regions, sites.unitCount]))
    let unitGates = try parametrization.gates(scores, &graph)
    // One split, not many slices: its derivative is one concatenation.
    layerGates = try columns(of: unitGates, counts: counts)
    guard !sites.blocks.isEmpty else { return (scores, nil, unitGates, nil, unitGates) }
    let blockScores = graph.addInput("block scores", TensorType(.float32, [regions, sites.blocks.count]))
    let alphas = try blockParametrization.gates(blockScores, &graph)
    blockGates = try columns(of: alphas, counts: [Int](repeating: 1, count: sites.blocks.count))
    let ones = graph.addFilled(1, TensorType(.float32, [regions, 1]), name: "no block")
    let extended = try graph.add(.concatenate(axis: 1), alphas, ones)
    let blockOfUnit = sites.layers.flatMap { layer in
      [Int64](repeating: Int64(layer.block ?? sites.blocks.count), count: layer.count)
    }
    let indices = graph.addConstant("block of unit", Tensor(blockOfUnit, shape: [blockOfUnit.count]))
    let effective = try graph.multiply(unitGates, graph.add(.gather(axis: 1), extended, indices))
    return (scores, blockScores, unitGates, alphas, effective)
  }

  private mutating func columns(of gates: ValueID, counts: [Int]) throws(GraphError) -> [ValueID] {
    counts.count == 1 ? [gates] : try graph.add(.split(axis: 1, sizes: counts), inputs: [gates])
  }

  mutating func insertGates(regions: Int) throws(GraphError) {
    var gatedBlocks: Set<Int> = []
    for (layer, gate) in zip(sites.layers, layerGates) {
      var gate = gate
      if let block = layer.block, sites.blocks[block].branch == layer.value {
        gate = try graph.multiply(gate, blockGates[block])
        gatedBlocks.insert(block)
      }
      gatedValues.append(try insert(gate, at: layer.value, axis: layer.axis, name: "\(layer.name)/gated"))
    }
    for (index, block) in sites.blocks.enumerated() where !gatedBlocks.contains(index) {
      let shape = graph.shape(block.branch)
      // Alpha is the same for all channels, so that any axis but the samples' would do: images have theirs second,
      // tokens last.
      let axis = shape.rank == 3 ? 2 : 1
      let gate = try graph.add(.expand([regions, shape[axis]]), blockGates[index])
      _ = try insert(gate, at: block.branch, axis: axis, name: "\(block.name)/gated branch")
    }
  }

  private mutating func insert(
    _ gate: ValueID, at value: ValueID, axis: Int, name: String
  ) throws(GraphError) -> ValueID {
    guard let producer = producers[value] else { throw .invalid("'\(graph[value].name)' is made by no node") }
    let elementType = graph.type(value).elementType
    let typed = graph.type(gate).elementType == elementType ? gate : try graph.add(.cast(elementType), gate)
    let gated = try graph.add(.gate(axis: axis), replacements[value] ?? value, typed, name: name)
    inserted[producer, default: []].append(graph.nodes[graph.nodes.count - 1])
    replacements[value] = gated
    return gated
  }

  /// The nodes in order: what makes the gates, then the network's nodes, each followed by its gates.
  func ordered() -> Graph {
    let gateOutputs = ValueSet(inserted.values.joined().map { $0.outputs[0] })
    var nodes = graph.nodes[original.nodes.count...].filter { !gateOutputs.contains($0.outputs[0]) }
    for (index, node) in original.nodes.enumerated() {
      var node = node
      node.inputs = node.inputs.map { replacements[$0] ?? $0 }
      nodes.append(node)
      nodes.append(contentsOf: inserted[index] ?? [])
    }
    var result = graph
    result.rebuild(nodes: nodes, constants: graph.constants)
    result.outputs = graph.outputs.map { replacements[$0] ?? $0 }
    return result
  }
}
