import CatenaAutodiff
import CatenaGraph
import CatenaTensors

/// Computes only the living channels of convolutions that end in a residual stream.
///
/// A branch's last convolution has as many channels as the stream, also when all but a few of its own units are dead: it
/// is then made of the living units' rows alone, and a node behind it puts each of their channels where it belongs, with
/// zeros between them. A few channels instead of many are what is gated, and what the gradient is taken at.
struct Narrowing {
  private(set) var graph: Graph
  private(set) var layers: [UnitLayer]
  private(set) var blocks: [Block]
  /// The units of each layer, as the caller numbers them.
  private(set) var units: [[Int]]

  init(graph: Graph, layers: [UnitLayer], blocks: [Block], units: [[Int]]) {
    (self.graph, self.layers, self.blocks, self.units) = (graph, layers, blocks, units)
  }

  /// Narrows every layer in which that is worth it.
  mutating func narrow(isAlive: (Int) -> Bool) throws(GraphError) {
    var nodes = graph.nodes
    var narrowed: [(layer: UnitLayer, living: [Int])] = []
    var types: ValueMap<TensorType> = [:]
    for index in layers.indices {
      let layer = layers[index]
      let living = units[index].indices.filter { isAlive(units[index][$0]) }
      guard canBeNarrowed(layer, to: living.count) else { continue }
      for input in nodes[layer.mixing].inputs.indices.dropFirst() {
        nodes[layer.mixing].inputs[input] = graph.addRows(living, of: nodes[layer.mixing].inputs[input])
      }
      types[layer.value] = graph.type(layer.value)
      types[layer.value]?.shape[1] = living.count
      narrowed.append((layer, living))
      units[index] = living.map { units[index][$0] }
      layers[index].count = living.count
    }
    guard !narrowed.isEmpty else { return }
    graph.rebuild(nodes: nodes, constants: graph.constants, types: types)
    var placed: [Int: Node] = [:]
    for (layer, living) in narrowed {
      placed[layer.mixing] = try graph.addPlaces(of: layer.value, living, among: layer.count)
    }
    insert(placed, into: nodes)
    try graph.checkInvariants()
  }

  /// Whether the layer's units are a convolution's very results, and fewer of them are worth the placing.
  private func canBeNarrowed(_ layer: UnitLayer, to count: Int) -> Bool {
    let node = graph.nodes[layer.mixing]
    guard count > 0, layer.axis == 1, node.outputs == [layer.value],
      case .convolution(let convolution) = node.operation,
      convolution.groups == 1, !graph.outputs.contains(layer.value), graph.type(layer.value).elementType == .float32,
      node.inputs.dropFirst().allSatisfy({ graph.constants[$0] != nil })
    else { return false }
    return 8 * count <= 7 * layer.count
  }

  /// Puts every node of `placed` behind the one of that index, whose result is read from there.
  private mutating func insert(_ placed: [Int: Node], into nodes: [Node]) {
    let replaced = ValueMap(uniqueKeysWithValues: placed.values.map { ($0.inputs[0], $0.outputs[0]) })
    var indices: [Int] = []
    var ordered: [Node] = []
    for (index, node) in nodes.enumerated() {
      indices.append(ordered.count)
      var node = node
      node.inputs = node.inputs.map { replaced[$0] ?? $0 }
      ordered.append(node)
      if let node = placed[index] { ordered.append(node) }
    }
    graph.rebuild(nodes: ordered, constants: graph.constants)
    for index in layers.indices { layers[index].mixing = indices[layers[index].mixing] }
    for index in blocks.indices {
      blocks[index].add = indices[blocks[index].add]
      blocks[index].nodes = blocks[index].nodes.map { indices[$0] }
    }
  }
}

extension Graph {
  /// Some rows of a constant, as another one.
  fileprivate mutating func addRows(_ indices: [Int], of constant: ValueID) -> ValueID {
    guard let tensor = constants[constant] else { preconditionFailure("\(constant) is a constant") }
    let rows = Tensor.concatenatingRows(indices.map { tensor.rows($0..<($0 + 1), filledTo: 1) })
    return addConstant("\(self[constant].name)/living", rows)
  }

  /// Adds the node that puts the channels of `value` at `channels` among `count`, zeros elsewhere.
  fileprivate mutating func addPlaces(of value: ValueID, _ channels: [Int], among count: Int) throws(GraphError) -> Node
  {
    let indices = addConstant(
      "\(self[value].name)/channels", Tensor(channels.map(Int64.init), shape: [channels.count]))
    var placed = shape(value)
    placed[1] = count
    _ = try add(.gatherGradient(axis: 1, inputShape: placed), value, indices, name: "\(self[value].name)/placed")
    return nodes[nodes.count - 1]
  }
}
