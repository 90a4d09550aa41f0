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
  /// The result computes exactly what `network` does with their gates 0. Channels that had to stay although they are
  /// dead are units of the result; units that nobody reads any more are not.
  package init(
    of network: ChainNetwork, keeping kept: (units: [Bool], blocks: [Bool])
  ) throws(GraphError) {
    let (keptUnits, keptBlocks) = kept
    let sliced = try network.sliced(keeping: keptUnits, blocks: keptBlocks)
    let made = sliced.graph.producers()
    let indexOfBlock = Dictionary(
      uniqueKeysWithValues: network.sites.blocks.indices.filter { block in
        keptBlocks[block] && made[network.sites.blocks[block].branch] != nil
      }.enumerated().map { ($1, $0) })
    var layers: [UnitLayer] = []
    var units: [Int] = []
    for (layer, offset) in zip(network.sites.layers, network.sites.unitOffsets) {
      guard let last = made[layer.value] else { continue }
      let indices = sliced.record.kept(layer.value, axis: layer.axis) ?? Array(0..<layer.count)
      var layer = layer
      layer.count = indices.count
      layer.mixing = made[network.graph.nodes[layer.mixing].outputs[0]] ?? last
      layer.block = layer.block.flatMap { indexOfBlock[$0] }
      layers.append(layer)
      units += indices.map { offset + $0 }
    }
    blocks = indexOfBlock.keys.sorted()
    self.units = units
    let left = blocks.map { index in
      var block = network.sites.blocks[index]
      block.nodes = block.nodes.compactMap { made[network.graph.nodes[$0].outputs[0]] }
      // A sum whose shortcut was zero is gone: the branch is what is left of it.
      block.add = made[network.graph.nodes[block.add].outputs[0]] ?? made[block.branch] ?? block.add
      return block
    }
    self.network = ChainNetwork(
      graph: sliced.graph, sites: GateSites(layers: layers, blocks: left, of: sliced.graph), batch: network.batch,
      model: network.model)
  }
}
