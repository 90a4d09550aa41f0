import CatenaAutodiff
import CatenaGraph

/// What a manifest says of a sub-network: it follows from the network and the kept units alone, so that the writer and
/// the verifier both make it.
struct ChainContents: Hashable {
  let layers: [ChainManifest.Layer]
  let blocks: [ChainManifest.Block]
  let size: ChainManifest.Size
  let constants: [ChainManifest.Constant]
  let factors: [ChainManifest.Factor]
  let uncut: [ChainManifest.Uncut]

  init(network: ChainNetwork, units: [Bool], blocks keptBlocks: [Bool], sliced: SlicedGraph) {
    func name(_ id: ValueID) -> String { network.graph[id].name }
    layers = zip(network.sites.layers, network.sites.unitOffsets).map { layer, offset in
      .init(
        name: layer.name, axis: layer.axis, count: layer.count, block: layer.block,
        kept: (0..<layer.count).filter { units[offset + $0] })
    }
    blocks = zip(network.sites.blocks, keptBlocks).map { .init(name: $0.name, kept: $1) }
    size = .init(
      units: .init(kept: units.count { $0 }, total: units.count),
      blocks: .init(kept: keptBlocks.count { $0 }, total: keptBlocks.count),
      parameters: .init(kept: sliced.graph.parameterCount, total: network.graph.parameterCount),
      multiplyAdds: .init(
        kept: sliced.graph.multiplyAddCount / network.batch, total: network.graph.multiplyAddCount / network.batch))
    constants = sliced.record.constants.map { slice in
      .init(
        source: name(slice.original), name: sliced.graph[slice.result].name, kept: slice.kept,
        keptByGroup: slice.keptByGroup, zeros: slice.zeros, renumbered: slice.renumbered)
    }
    factors = sliced.record.factors.map { factor in
      .init(name: sliced.graph[factor.factor].name, value: name(factor.value), axis: factor.axis, zeros: factor.zeros)
    }
    uncut = sliced.record.uncut.map { uncut in
      .init(value: name(uncut.value), axis: uncut.axis, indices: uncut.indices, reason: uncut.reason.rawValue)
    }
  }

  /// What `manifest` says otherwise.
  func differences(from manifest: ChainManifest) -> [String] {
    let claims = [
      ("layers", manifest.layers == layers), ("blocks", manifest.blocks == blocks), ("size", manifest.size == size),
      ("constants", manifest.constants == constants), ("factors", manifest.factors == factors),
      ("uncut", manifest.uncut == uncut),
    ]
    return claims.filter { !$0.1 }.map {
      "\(ChainFile.manifest): '\($0.0)' is not what cutting the network to the kept units gives"
    }
  }
}
