import CatenaAutodiff
import CatenaGraph
import CatenaTensors

extension GateSites {
  /// Per block, the layers without any of which its units carry nothing: those that every path through its branch, or
  /// through a branch that it lies in, has to take.
  fileprivate var neededLayers: [[Int]] {
    let all = [Bool](repeating: true, count: blocks.count)
    let own = blocks.indices.map { block in
      layers.indices.filter { layer in
        layers[layer].block == block
          && !paths.isConnected(branchOf: block, layers: layers.indices.map { $0 != layer }, blocks: all)
      }
    }
    return blocks.map { block in
      blocks.indices.filter { blocks[$0].add == block.add || blocks[$0].nodes.contains(block.add) }.flatMap { own[$0] }
    }
  }
}

extension Graph {
  /// Per unit, the highest offset at which its branch still has units in all layers that it needs, R x U: the least of
  /// these layers' largest scores, and a large number outside branches; `nil` for a network without branches.
  mutating func branchLimits(_ scores: ValueID, _ sites: GateSites) throws(GraphError) -> ValueID? {
    guard !sites.blocks.isEmpty else { return nil }
    let regions = shape(scores)[0]
    let (units, layers) = (sites.unitCount, sites.layers.count)
    let far: Float = 1e6
    let needed = sites.neededLayers
    var outside = [Float](repeating: -far, count: layers * units)
    // Negated, since reductions have a largest element but no least one.
    var needless = [Float](repeating: -far, count: units * layers)
    for (index, (layer, offset)) in zip(sites.layers, sites.unitOffsets).enumerated() {
      for unit in offset..<(offset + layer.count) {
        outside[index * units + unit] = 0
        for other in layer.block.map({ needed[$0] }) ?? [] { needless[unit * layers + other] = 0 }
      }
    }
    // Sums and largest elements alone: their results are some unit's very score.
    let ofLayers = try sum(
      reshaped(scores, to: [regions, 1, units]),
      addConstant("units outside layers", Tensor(outside, shape: [1, layers, units])))
    let largest = try add(.reduce(Reduce(.maximum, axes: [2], keepsDimensions: false)), ofLayers)
    let negated = try subtract(
      addConstant("layers not needed", Tensor(needless, shape: [1, units, layers])),
      reshaped(largest, to: [regions, 1, layers]))
    return try add(.unary(.negate), add(.reduce(Reduce(.maximum, axes: [2], keepsDimensions: false)), negated))
  }

  /// The scores, no higher than their branches' limits.
  mutating func scoresInBranches(_ scores: ValueID, _ sites: GateSites) throws(GraphError) -> ValueID {
    guard let limits = try branchLimits(scores, sites) else { return scores }
    return try add(.binary(.minimum), scores, limits)
  }
}
