import CatenaGraph
import CatenaTensors

/// Nodes that become one step, as far as kernels can.
struct Group {
  enum Kind {
    /// A convolution, transposed convolution or matrix product, and what follows it on the same elements.
    case mixing
    /// Element-wise operators of one shape, and sums over their results.
    case elementwise
    case single
  }
  var kind: Kind
  /// Indices of the nodes, ascending.
  var nodes: [Int]
  /// Where in the graph's order the group runs: at its last node.
  var position: Int { nodes[nodes.count - 1] }
}

/// Which numbers an element-wise operator computes with.
enum Lanes { case float, integer }

extension Graph {
  /// All nodes in groups, in an order in which the groups can run. Values of `observed` are made, even inside groups;
  /// no group has nodes on both sides of `boundary`, the index of a node.
  func groups(observed: ValueSet, boundary: Int) -> [Group] {
    var grouping = Grouping(graph: self, observed: observed, boundary: boundary)
    grouping.addMixingChains()
    grouping.addElementwiseClusters()
    return grouping.groups.sorted { $0.position < $1.position }
  }

  /// How an element-wise operator computes; `nil` for other operators.
  func lanes(_ node: Node) -> Lanes? {
    switch node.operation {
    case .unary, .unaryGradient, .binary, .select, .cast, .gate, .batchNormalization, .gateGradient,
      .gateGradientFromOutput:
      break
    case .reduce(let reduce):
      guard reduce.kind == .sum || reduce.kind == .mean, type(node.inputs[0]).elementType.isFloatingPoint,
        !reduce.axes.isEmpty, shape(node.outputs[0]).elementCount <= maximumCells
      else { return nil }
    default: return nil
    }
    let types = (node.inputs + node.outputs).map { type($0).elementType }
    // Integers of more digits than f32 has come to and from doubles whole.
    if case .cast = node.operation, types.contains(.float64), types.contains(where: \.isInteger) { return .integer }
    if types.contains(where: \.isFloatingPoint) { return .float }
    return types.contains(where: \.isInteger) ? .integer : .float
  }

  /// The shape that an element-wise operator walks.
  func walkedShape(_ node: Node) -> Shape {
    switch node.operation {
    case .reduce, .gateGradient, .gateGradientFromOutput: shape(node.inputs[0])
    default: shape(node.outputs[0])
    }
  }

  /// The regions that an element-wise operator tells apart, `nil` when it does not care.
  func regions(_ node: Node) -> Int? {
    switch node.operation {
    case .gate: shape(node.inputs[1])[0]
    case .gateGradient, .gateGradientFromOutput: shape(node.inputs[2])[0]
    default: nil
    }
  }
}

/// Sums with more results than this have a kernel of their own: every thread keeps partial sums of all of them.
private let maximumCells = 1 << 16
/// Element-wise operators per pass: a block of all operands and registers stays in the first-level cache.
private let maximumNodesPerCluster = 10
/// Operands per pass.
private let maximumOperandsPerCluster = 24

/// What a pass has to do with, while nodes join it.
private struct Pass {
  let lanes: Lanes
  let shape: Shape
  var operands: Int
  var regions: Int?

  mutating func add(_ other: Pass) {
    operands += other.operands
    regions = regions ?? other.regions
  }
}

private struct Grouping {
  let graph: Graph
  let observed: ValueSet
  let boundary: Int
  let readers: ValueReaders
  let producers: ValueMap<Int>
  var groups: [Group] = []
  /// The element-wise groups' passes, by group.
  private var passes: [Int: Pass] = [:]
  /// The group of each node, once it has one.
  var owner: [Int?]

  init(graph: Graph, observed: ValueSet, boundary: Int) {
    self.graph = graph
    self.observed = observed
    self.boundary = boundary
    readers = graph.readers()
    producers = graph.producers()
    owner = [Int?](repeating: nil, count: graph.nodes.count)
  }

  private func isSameSide(_ left: Int, _ right: Int) -> Bool { (left < boundary) == (right < boundary) }

  private mutating func add(_ group: Group) {
    for node in group.nodes { owner[node] = groups.count }
    groups.append(group)
  }

  // MARK: Mixing operators

  mutating func addMixingChains() {
    for (index, node) in graph.nodes.enumerated() {
      switch node.operation {
      case .convolution, .convolutionTranspose, .gemm: add(Group(kind: .mixing, nodes: chain(from: index)))
      default: break
      }
    }
  }

  /// The mixing node and every node behind it that could be done on its results before they are stored.
  private func chain(from first: Int) -> [Int] {
    var chain = [first]
    var value = graph.nodes[first].outputs[0]
    var hasResidual = false
    guard graph.type(value).elementType == .float32 else { return chain }
    while !observed.contains(value), readers[value].count == 1, let next = readers[value].first, owner[next] == nil,
      isSameSide(first, next)
    {
      let node = graph.nodes[next]
      guard graph.shape(node.outputs[0]) == graph.shape(value), chain.count < 6 else { break }
      switch node.operation {
      case .batchNormalization:
        guard chain.count == 1, node.inputs.dropFirst().allSatisfy({ graph.constants[$0] != nil }) else { return chain }
      case .unary(let function): guard function.postOperation != nil else { return chain }
      case .gate(axis: 1): guard node.inputs[0] == value else { return chain }
      case .binary(.add):
        guard !hasResidual, node.inputs.allSatisfy({ graph.type($0) == graph.type(value) }) else { return chain }
        hasResidual = true
      default: return chain
      }
      chain.append(next)
      value = node.outputs[0]
    }
    return chain
  }

  // MARK: Element-wise operators

  mutating func addElementwiseClusters() {
    for (index, node) in graph.nodes.enumerated() where owner[index] == nil {
      guard let lanes = graph.lanes(node) else {
        add(Group(kind: .single, nodes: [index]))
        continue
      }
      let alone = Pass(
        lanes: lanes, shape: graph.walkedShape(node), operands: node.inputs.count + node.outputs.count,
        regions: graph.regions(node))
      guard let group = neighbours(of: node, alone.shape).last(where: { canJoin($0, index, alone) }) else {
        passes[groups.count] = alone
        add(Group(kind: .elementwise, nodes: [index]))
        continue
      }
      groups[group].nodes.append(index)
      owner[index] = group
      passes[group]?.add(alone)
    }
  }

  /// The groups that make what a node reads, or read it too, ascending.
  private func neighbours(of node: Node, _ shape: Shape) -> [Int] {
    var result: [Int] = []
    for input in node.inputs {
      if let producer = producers[input], let group = owner[producer] { result.append(group) }
      guard graph.shape(input) == shape else { continue }
      for reader in readers[input] { if let group = owner[reader] { result.append(group) } }
    }
    return result.sorted()
  }

  /// Whether a node can run in a group's pass, which would then run at the node's place.
  private func canJoin(_ group: Int, _ index: Int, _ alone: Pass) -> Bool {
    guard let pass = passes[group] else { return false }
    let members = groups[group].nodes
    guard members.count < maximumNodesPerCluster, isSameSide(members[0], index),
      pass.operands + alone.operands <= maximumOperandsPerCluster, pass.lanes == alone.lanes,
      (pass.regions ?? alone.regions) == (alone.regions ?? pass.regions), pass.shape == alone.shape
    else { return false }
    return members.allSatisfy { canRunLater($0, in: group, at: index) }
      && graph.nodes[index].inputs.allSatisfy { isUsable($0, in: group) } && !readsGates(index, madeIn: group)
  }

  /// Whether nobody outside the group needs a member's result before `position`.
  private func canRunLater(_ member: Int, in group: Int, at position: Int) -> Bool {
    graph.nodes[member].outputs.allSatisfy { output in
      readers[output].allSatisfy { reader in
        guard let readerGroup = owner[reader] else { return reader >= position }
        return readerGroup == group || groups[readerGroup].position > position
      }
    }
  }

  /// Whether a node reads gates, which are found by channel and not element by element, of the group's own.
  private func readsGates(_ index: Int, madeIn group: Int) -> Bool {
    let node = graph.nodes[index]
    let gates: ValueID
    switch node.operation {
    case .gate: gates = node.inputs[1]
    case .gateGradient, .gateGradientFromOutput: gates = node.inputs[2]
    default: return false
    }
    return producers[gates].map { owner[$0] == group } ?? false
  }

  /// Whether a value is available element by element inside the group's pass.
  private func isUsable(_ value: ValueID, in group: Int) -> Bool {
    guard let producer = producers[value], owner[producer] == group else { return true }
    switch graph.nodes[producer].operation {
    case .reduce, .gateGradient, .gateGradientFromOutput: return false
    default: break
    }
    // f32 lanes do not hold integers exactly: they are read back from memory.
    return graph.lanes(graph.nodes[producer]) == .integer || !graph.type(value).elementType.isInteger
  }
}
