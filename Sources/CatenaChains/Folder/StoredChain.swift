import CatenaTensors

/// A chain as its folder describes it, read but not proven.
public struct StoredChain: Sendable {
  /// Everything that is known of the chain.
  public let manifest: ChainManifest
  /// The samples that it serves.
  public let region: Region
  /// What it keeps.
  public let selection: ChainSelection
}

extension ChainVerifier {
  /// Reads the chain: the sums must hold and the parts must fit each other and the network; outputs are not computed
  /// again, which `verify` does.
  /// - Throws: `ChainError.verification` with every finding; `FileError` for what cannot be read.
  public func read() throws -> StoredChain {
    try checkSums()
    let manifest = try ChainManifest.decoded(from: contents(of: ChainFile.manifest))
    guard manifest.model.sha256 == model.sha256 else {
      throw ChainError.verification([
        "the chain in '\(folder)' was made from '\(manifest.model.file)' (sha256 \(manifest.model.sha256)), not from "
          + "this network (sha256 \(model.sha256 ?? "unknown"))"
      ])
    }
    let stored = try StoredRegion(folder: folder, names: manifest.region.samples)
    let network = try ChainNetwork(model: model, batch: 1)
    let kept = try selection(of: manifest, in: network)
    let factors = try SoftFactors(folder: folder, network: network, kept)
    var region = stored.region
    region.name = manifest.region.name
    return StoredChain(
      manifest: manifest, region: region,
      selection: ChainSelection(
        units: kept.units, blocks: kept.blocks, unitFactors: factors.units, blockFactors: factors.blocks))
  }
}
