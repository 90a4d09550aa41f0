import CatenaGraph

/// How what a network reads gets to what it answers, layer by layer: what must not be empty for the output to depend on
/// the input.
///
/// A layer without units is zero at its gate, a residual branch that is left out is zero at its sum. What is computed
/// from zeros alone is a constant (a bias) or zero. A sum or a concatenation carries a signal when one operand does; a
/// product also needs all others not to be zero. Layers are followed as wholes: whether the groups of a grouped
/// convolution or the channels of a depthwise product fit together is not looked at.
public struct SignalPaths: Sendable, Hashable {
  /// What is known of a value: `zero`, a constant, or something that depends on the input.
  fileprivate enum Signal: Int, Comparable {
    case zero, constant, live

    static func < (left: Signal, right: Signal) -> Bool { left.rawValue < right.rawValue }
  }

  /// One value that depends on the network's input.
  fileprivate struct Step: Hashable {
    /// The index of the node that makes the value.
    var node: Int
    /// The steps that it is computed from; an empty list for the network's input.
    var operands: [Int]
    var isProduct: Bool
    /// Whether zeros give zero, not another constant.
    var keepsZero: Bool
    /// The layer whose gate stands behind the value.
    var layer: Int?
    /// The block whose branch the value is.
    var block: Int?
  }

  private var steps: [Step] = []
  private var outputs: [Int] = []
  /// The steps of each block's branch, ascending.
  private var branches: [[Int]] = []

  init(_ graph: Graph, layers: [UnitLayer], blocks: [Block]) {
    let layerOfValue = ValueMap(layers.enumerated().map { ($1.value, $0) }) { first, _ in first }
    let blockOfBranch = ValueMap(blocks.enumerated().map { ($1.branch, $0) }) { first, _ in first }
    var indices: ValueMap<Int> = [:]
    for input in graph.inputs {
      indices[input] = steps.count
      steps.append(Step(node: -1, operands: [], isProduct: false, keepsZero: true, layer: nil, block: nil))
    }
    for (index, node) in graph.nodes.enumerated() {
      let operands = node.inputs.compactMap { indices[$0] }
      guard !operands.isEmpty else { continue }
      for output in node.outputs {
        indices[output] = steps.count
        steps.append(
          Step(
            node: index, operands: operands, isProduct: node.operation.isProduct,
            keepsZero: node.operation.keepsZero
              && (operands.count == node.inputs.count || !node.operation.addsConstants),
            layer: layerOfValue[output], block: blockOfBranch[output]))
      }
    }
    outputs = graph.outputs.compactMap { indices[$0] }
    branches = blocks.map { block in
      let nodes = Set(block.nodes)
      return steps.indices.filter { nodes.contains(steps[$0].node) }
    }
  }

  /// Whether the output depends on the input.
  /// - Parameters:
  ///   - layers: Per layer, whether it has units.
  ///   - blocks: Per block, whether its branch is there.
  public func isConnected(layers: [Bool], blocks: [Bool]) -> Bool {
    let signals = signals(layers: layers, blocks: blocks)
    return outputs.contains { signals[$0] == .live }
  }

  /// Whether a block's branch carries a signal where its start does, whatever becomes of the branch itself.
  public func isConnected(branchOf block: Int, layers: [Bool], blocks: [Bool]) -> Bool {
    let signals = signals(layers: layers, blocks: blocks, within: block)
    return branches[block].contains { steps[$0].block == block && signals[$0] == .live }
  }

  /// The cheapest layers without which the output cannot depend on the input; `nil` where no layers can connect them.
  ///
  /// Cheapest along the paths that are cheapest for each operand of a product by itself.
  /// - Parameters:
  ///   - costs: Per layer, what it costs that it has units; 0 for layers that have.
  ///   - blocks: Per block, whether its branch is there.
  public func cheapestConnection(costs: [Double], blocks: [Bool]) -> Set<Int>? {
    let ways = ways(costs: costs, blocks: blocks)
    return cheapest(outputs.map { ways[$0].live })?.layers
  }

  /// The same from a block's start to the end of its branch.
  public func cheapestConnection(branchOf block: Int, costs: [Double], blocks: [Bool]) -> Set<Int>? {
    let ways = ways(costs: costs, blocks: blocks, within: block)
    return cheapest(branches[block].filter { steps[$0].block == block }.map { ways[$0].live })?.layers
  }

  /// The layers and blocks that carry the signal and are heard at the output.
  public func used(layers: [Bool], blocks: [Bool]) -> (layers: [Bool], blocks: [Bool]) {
    let signals = signals(layers: layers, blocks: blocks)
    var heard = [Bool](repeating: false, count: steps.count)
    for output in outputs { heard[output] = true }
    var usedLayers = [Bool](repeating: false, count: layers.count)
    var usedBlocks = [Bool](repeating: false, count: blocks.count)
    for index in steps.indices.reversed() where heard[index] && signals[index] != .zero {
      let step = steps[index]
      for operand in step.operands { heard[operand] = true }
      guard signals[index] == .live else { continue }
      if let layer = step.layer { usedLayers[layer] = true }
      if let block = step.block { usedBlocks[block] = true }
    }
    return (usedLayers, usedBlocks)
  }

  // MARK: Following the graph

  /// The signal of every step, behind its gates; with a block, that of its branch's steps where all that enters is live.
  private func signals(layers: [Bool], blocks: [Bool], within block: Int? = nil) -> [Signal] {
    var signals = [Signal](repeating: .live, count: steps.count)
    for index in block.map({ branches[$0] }) ?? Array(steps.indices) {
      let step = steps[index]
      guard let first = step.operands.first else { continue }
      var (weakest, strongest) = (signals[first], signals[first])
      for operand in step.operands.dropFirst() {
        weakest = min(weakest, signals[operand])
        strongest = max(strongest, signals[operand])
      }
      let isZero = (step.isProduct ? weakest : strongest) == .zero
      signals[index] = isZero ? (step.keepsZero ? .zero : .constant) : strongest
      if let layer = step.layer, !layers[layer] { signals[index] = .zero }
      if let inner = step.block, inner != block, !blocks[inner] { signals[index] = .zero }
    }
    return signals
  }

  /// Layers that are to have units, and what that costs.
  private struct Choice {
    var layers: Set<Int> = []
    var cost = 0.0

    func adding(_ layer: Int, _ costs: [Double]) -> Choice {
      Choice(layers: layers.union([layer]), cost: layers.contains(layer) ? cost : cost + costs[layer])
    }

    func adding(_ other: Choice, _ costs: [Double]) -> Choice {
      other.layers.sorted().reduce(self) { $0.adding($1, costs) }
    }
  }

  /// The layers that make a value live, and those that keep it from being zero; `nil` where none can.
  private struct Way {
    var live: Choice? = Choice()
    var nonzero: Choice? = Choice()
  }

  private func ways(costs: [Double], blocks: [Bool], within block: Int? = nil) -> [Way] {
    var ways = [Way](repeating: Way(), count: steps.count)
    for index in block.map({ branches[$0] }) ?? Array(steps.indices) {
      let step = steps[index]
      guard !step.operands.isEmpty else { continue }
      var way = joined(step, ways, costs)
      if let layer = step.layer, costs[layer] > 0 {
        way = Way(live: way.live?.adding(layer, costs), nonzero: way.nonzero?.adding(layer, costs))
      }
      if let inner = step.block, inner != block, !blocks[inner] { way = Way(live: nil, nonzero: nil) }
      ways[index] = way
    }
    return ways
  }

  private func joined(_ step: Step, _ ways: [Way], _ costs: [Double]) -> Way {
    let operands = step.operands
    guard step.isProduct, operands.count > 1 else {
      return Way(
        live: cheapest(operands.map { ways[$0].live }),
        nonzero: step.keepsZero ? cheapest(operands.map { ways[$0].nonzero }) : Choice())
    }
    func together(liveAt live: Int?) -> Choice? {
      operands.indices.reduce(Choice()) { result, index in
        let way = ways[operands[index]]
        guard let result, let choice = index == live ? way.live : way.nonzero else { return nil }
        return result.adding(choice, costs)
      }
    }
    return Way(live: cheapest(operands.indices.map { together(liveAt: $0) }), nonzero: together(liveAt: nil))
  }

  private func cheapest(_ choices: [Choice?]) -> Choice? {
    choices.compactMap { $0 }.min { $0.cost < $1.cost }
  }
}

extension Operator {
  /// Whether one operand that is zero makes the result zero.
  fileprivate var isProduct: Bool {
    switch self {
    case .matmul, .binary(.multiply), .gate: true
    default: false
    }
  }

  /// Whether operands that are zero give zero, leaving constants aside that are added.
  fileprivate var keepsZero: Bool {
    switch self {
    case .unary(let function): function.value(at: 0) == 0
    case .batchNormalization, .instanceNormalization, .softmax, .logSoftmax: false
    default: true
    }
  }

  /// Whether operands that do not vary are added: biases.
  fileprivate var addsConstants: Bool {
    switch self {
    case .binary(.add), .binary(.subtract), .concatenate: true
    default: false
    }
  }
}
