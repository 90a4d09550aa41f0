import CatenaGraph

/// The sub-network in soft mode: the binary one with explicit products behind its units and branches.
package struct SoftNetwork {
  package let graph: Graph
  /// Where each factor comes from.
  let factors: [ChainManifest.SoftFactor]

  /// Scales what is left in `sliced` by the gates of units (S) and branches (alpha).
  package init(
    network: ChainNetwork, sliced: SlicedGraph, unitFactors: [Float], blockFactors: [Float]
  ) throws(GraphError) {
    let present = sliced.graph.producers()
    var scales: [ChannelFactors] = []
    var sources: [(scores: String, indices: [Int])] = []
    for (layer, offset) in zip(network.sites.layers, network.sites.unitOffsets) where present[layer.value] != nil {
      let indices = sliced.record.kept(layer.value, axis: layer.axis) ?? Array(0..<layer.count)
      scales.append(
        ChannelFactors(value: layer.value, axis: layer.axis, factors: indices.map { unitFactors[offset + $0] }))
      sources.append(("units/\(layer.name)", indices))
    }
    for (index, block) in network.sites.blocks.enumerated()
    where blockFactors[index] > 0 && present[block.branch] != nil {
      scales.append(ChannelFactors(value: block.branch, axis: nil, factors: [blockFactors[index]]))
      sources.append(("blocks", [index]))
    }
    let scaled = try sliced.graph.scaling(scales)
    graph = scaled.graph
    factors = zip(zip(scales, scaled.constants), sources).map { scale, source in
      .init(
        name: scaled.graph[scale.1].name, value: network.graph[scale.0.value].name, axis: scale.0.axis,
        scores: source.scores, indices: source.indices)
    }
  }
}
