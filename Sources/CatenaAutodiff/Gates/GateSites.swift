import CatenaGraph

/// The units of one channel-mixing operator: one per output channel, with everything per-channel behind it.
public struct UnitLayer: Sendable, Hashable {
  /// The name of the operator's output in the source file; together with axis and index it names a unit.
  public var name: String
  /// The index, in the graph that was searched, of the convolution or matrix product.
  public var mixing: Int
  /// The last value that is still one channel per unit: where a unit's gate multiplies, so that a zero removes the unit.
  public var value: ValueID
  /// The channel axis of `value`.
  public var axis: Int
  /// The number of units.
  public var count: Int
  /// The index, in `GateSites.blocks`, of the innermost residual branch that the operator lies in.
  public var block: Int?
}

/// A residual branch: y = shortcut + alpha * branch.
public struct Block: Sendable, Hashable {
  /// The name of the sum in the source file.
  public var name: String
  /// The index, in the graph that was searched, of the node that adds branch and shortcut.
  public var add: Int
  /// The branch's result, read by the sum only.
  public var branch: ValueID
  /// The other operand of the sum: the block's input, or a projection of it.
  public var shortcut: ValueID
  /// The indices of the branch's nodes, ascending.
  public var nodes: [Int]
}

/// Everything in a graph that can be gated.
public struct GateSites: Sendable, Hashable {
  /// The layers that have units, in the order of their nodes.
  public var layers: [UnitLayer]
  /// The residual branches, in the order of their sums.
  public var blocks: [Block]
  /// What the output needs in order to depend on the input.
  public let paths: SignalPaths

  /// Layers and blocks of `graph`.
  /// - Precondition: The layers' `block` are indices into `blocks`, also when only some are taken.
  public init(layers: [UnitLayer], blocks: [Block], of graph: Graph) {
    precondition(layers.allSatisfy { $0.block.map(blocks.indices.contains) ?? true }, "a layer's block is missing")
    self.layers = layers
    self.blocks = blocks
    paths = SignalPaths(graph, layers: layers, blocks: blocks)
  }

  /// The number of units.
  public var unitCount: Int { layers.map(\.count).reduce(0, +) }

  /// The index of each layer's first unit when the units of all layers are numbered in order.
  public var unitOffsets: [Int] {
    var next = 0
    return layers.map { layer in
      defer { next += layer.count }
      return next
    }
  }
}

extension Graph {
  /// Finds the units and the residual branches.
  ///
  /// A unit is a channel of a convolution or of a product with a constant matrix, together with what follows channel by
  /// channel: bias, batch norm, activation, depthwise convolution, pooling, scaling, reshaping that keeps the channel
  /// axis. It ends before the next operator that mixes channels, adds another path, concatenates, splits, or before a
  /// fork whose paths do not come together again channel by channel (x * sigmoid(x) does). No units have:
  /// - depthwise convolutions: their channels belong to the layer before;
  /// - the classifier: a mixing operator behind which there is no other;
  /// - the last layer of a squeeze-and-excite path: its output scales channels that have units already, so that a zero
  ///   would remove those;
  /// - what something is divided by, or whose logarithm is taken: without it there would be no number;
  /// - operators whose output does not have samples first and a channel axis that can be told. Samples may be elsewhere on
  ///   the way there, as in attention, which puts queries, keys and values or tokens in front of them.
  public func gateSites() -> GateSites {
    let structure = ChannelStructure(self)
    let blocks = nodes.indices.compactMap { structure.block(addedAt: $0) }
    let layers = nodes.indices.compactMap { index in
      structure.unitLayer(mixedAt: index).map { layer in
        var layer = layer
        layer.block =
          blocks.indices.filter { blocks[$0].nodes.contains(index) }
          .min { blocks[$0].nodes.count < blocks[$1].nodes.count }
        return layer
      }
    }
    return GateSites(layers: layers, blocks: blocks, of: self)
  }
}
