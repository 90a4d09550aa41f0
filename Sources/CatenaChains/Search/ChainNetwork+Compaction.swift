import CatenaAutodiff
import CatenaGraph

/// A network without the units that a search has given up, and which units of the whole network are left.
package struct CompactNetwork {
  /// The smaller network. Its sites are those of the whole network that still exist.
  package let network: ChainNetwork
  /// The index, in the whole network, of each unit.
  package let units: [Int]
  /// The index, in the whole network, of each block.
  package let blocks: [Int]

  /// The whole network.
  package init(whole network: ChainNetwork) {
    self.network = network
    units = Array(0..<network.sites.unitCount)
    blocks = Array(network.sites.blocks.indices)
  }

  /// Cuts the units and branches that are not kept out of `network`.
  ///
  /// The result computes exactly what `network` does with their gates 0. Of dead channels that have to stay, because the
  /// residual stream that they are added to has others there, some are still computed, and units of the result; the
  /// others are not (see `Narrowing`). Units that nobody reads any more are gone.
  package init(
    of network: ChainNetwork, keeping kept: (units: [Bool], blocks: [Bool])
  ) throws(GraphError) {
    let (keptUnits, keptBlocks) = kept
    let sliced = try network.sliced(keeping: keptUnits, blocks: keptBlocks, explains: false)
    let made = sliced.graph.producers()
    let indexOfBlock = Dictionary(
      uniqueKeysWithValues: network.sites.blocks.indices.filter { block in
        keptBlocks[block] && made[network.sites.blocks[block].branch] != nil
      }.enumerated().map { ($1, $0) })
    var layers: [UnitLayer] = []
    var unitsOfLayers: [[Int]] = []
    for (layer, offset) in zip(network.sites.layers, network.sites.unitOffsets) {
      guard let last = made[layer.value] else { continue }
      let indices = sliced.record.kept(layer.value, axis: layer.axis) ?? Array(0..<layer.count)
      var layer = layer
      layer.count = indices.count
      layer.mixing = made[network.graph.nodes[layer.mixing].outputs[0]] ?? last
      layer.block = layer.block.flatMap { indexOfBlock[$0] }
      layers.append(layer)
      unitsOfLayers.append(indices.map { offset + $0 })
    }
    blocks = indexOfBlock.keys.sorted()
    let left = blocks.map { index in
      var block = network.sites.blocks[index]
      block.nodes = block.nodes.compactMap { made[network.graph.nodes[$0].outputs[0]] }
      // A sum whose shortcut was zero is gone: the branch is what is left of it.
      block.add = made[network.graph.nodes[block.add].outputs[0]] ?? made[block.branch] ?? block.add
      return block
    }
    var narrowing = Narrowing(graph: sliced.graph, layers: layers, blocks: left, units: unitsOfLayers)
    try narrowing.narrow { keptUnits[$0] }
    self.units = Array(narrowing.units.joined())
    self.network = ChainNetwork(
      graph: narrowing.graph,
      sites: GateSites(layers: narrowing.layers, blocks: narrowing.blocks, of: narrowing.graph), batch: network.batch,
      model: network.model)
  }
}
