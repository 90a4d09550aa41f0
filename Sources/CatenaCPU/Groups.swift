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
  func groups(observed: Set<ValueID>, boundary: Int) -> [Group] {
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

private struct Grouping {
  let graph: Graph
  let observed: Set<ValueID>
  let boundary: Int
  let readers: [ValueID: [Int]]
  let producers: [ValueID: Int]
  var groups: [Group] = []
  /// The group of each node, once it has one.
  var owner: [Int?]

  init(graph: Graph, observed: Set<ValueID>, boundary: Int) {
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
    while !observed.contains(value), let next = readers[value], next.count == 1, owner[next[0]] == nil,
      isSameSide(first, next[0])
    {
      let node = graph.nodes[next[0]]
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
      chain.append(next[0])
      value = node.outputs[0]
    }
    return chain
  }

  // MARK: Element-wise operators

  mutating func addElementwiseClusters() {
    for (index, node) in graph.nodes.enumerated() where owner[index] == nil {
      guard graph.lanes(node) != nil else {
        add(Group(kind: .single, nodes: [index]))
        continue
      }
      guard let group = neighbours(of: node).sorted().last(where: { canJoin($0, index) }) else {
        add(Group(kind: .elementwise, nodes: [index]))
        continue
      }
      groups[group].nodes.append(index)
      owner[index] = group
    }
  }

  /// The groups that make what a node reads, or read it too.
  private func neighbours(of node: Node) -> Set<Int> {
    let shape = graph.walkedShape(node)
    var result: Set<Int> = []
    for input in node.inputs {
      if let group = producers[input].flatMap({ owner[$0] }) { result.insert(group) }
      guard graph.shape(input) == shape else { continue }
      result.formUnion((readers[input] ?? []).compactMap { owner[$0] })
    }
    return result
  }

  /// Whether a node can run in a group's pass, which would then run at the node's place.
  private func canJoin(_ group: Int, _ index: Int) -> Bool {
    let node = graph.nodes[index]
    let members = groups[group].nodes
    let first = graph.nodes[members[0]]
    guard groups[group].kind == .elementwise, members.count < maximumNodesPerCluster, isSameSide(members[0], index),
      graph.lanes(first) == graph.lanes(node), graph.walkedShape(first) == graph.walkedShape(node)
    else { return false }
    let nodes = members.map { graph.nodes[$0] } + [node]
    let operands = nodes.reduce(0) { $0 + $1.inputs.count + $1.outputs.count }
    guard operands <= maximumOperandsPerCluster, Set(nodes.compactMap(graph.regions)).count <= 1 else { return false }
    return members.allSatisfy { canRunLater($0, in: group, at: index) }
      && node.inputs.allSatisfy { isUsable($0, in: group) }
  }

  /// Whether nobody outside the group needs a member's result before `position`.
  private func canRunLater(_ member: Int, in group: Int, at position: Int) -> Bool {
    graph.nodes[member].outputs.allSatisfy { output in
      (readers[output] ?? []).allSatisfy { reader in
        guard let readerGroup = owner[reader] else { return reader >= position }
        return readerGroup == group || groups[readerGroup].position > position
      }
    }
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
