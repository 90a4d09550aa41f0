import CatenaAutodiff
import CatenaChains
import CatenaCompute
import CatenaGraph
import CatenaTensors

/// Runs one network under many masks: M masks at a time, each on the same samples, as M regions of one gated program.
///
/// Compiled once. One call at a time: masks and samples of two would mix.
public final class MaskRunner: Sendable {
  /// What is gated; masks have one number per unit of this.
  public let sites: GateSites
  private let executable: any Executable
  private let gated: GatedGraph
  private let samples: ValueID
  private let logits: ValueID
  private let masksPerRun: Int
  private let samplesPerMask: Int

  /// Compiles a graph, made for a batch that divides into `masksPerRun`, whose output is the logits.
  public init(
    graph: Graph, sites: GateSites, masksPerRun: Int, backend: any Backend, options: CompileOptions
  ) async throws {
    self.sites = sites
    self.masksPerRun = masksPerRun
    gated = try graph.gated(sites, regions: masksPerRun, parametrization: .identity)
    samples = gated.graph.inputs[0]
    samplesPerMask = gated.graph.shape(samples)[0] / masksPerRun
    logits = gated.graph.outputs[0]
    var program = gated.graph
    program.outputs = [logits]
    executable = try await backend.compile(Program(program), options: options)
  }

  /// The logits of every sample under every mask: by mask, then by sample.
  /// - Parameters:
  ///   - samples: Preprocessed samples, N first.
  ///   - progress: told the part that is done, from 0 to 1.
  /// - Throws: `ComputeError`, `.cancelled` among them.
  public func logits(
    of samples: Tensor, under masks: [UnitMask], progress: (Double) -> Void = { _ in }
  ) async throws -> [[[Float]]] {
    var rows = [[[Float]]](repeating: [], count: masks.count)
    let chunks = Batches(size: samplesPerMask, count: samples.shape[0]).ranges
    let groups = Batches(size: masksPerRun, count: masks.count).ranges
    for (index, chunk) in chunks.enumerated() {
      let part = samples.rows(chunk, filledTo: samplesPerMask)
      try await executable.write(
        Tensor.concatenatingRows([Tensor](repeating: part, count: masksPerRun)), to: self.samples)
      for (number, group) in groups.enumerated() {
        try await write(group.map { masks[$0] })
        try await executable.run(steps: 1)
        let results = try await executable.read(logits).rowsOfFloats()
        for (place, mask) in group.enumerated() {
          rows[mask] += results[(place * samplesPerMask)..<(place * samplesPerMask + chunk.count)]
        }
        progress(Double(index * groups.count + number + 1) / Double(chunks.count * groups.count))
      }
    }
    return rows
  }

  /// Writes up to `masksPerRun` masks; the last one fills what is left.
  private func write(_ masks: [UnitMask]) async throws {
    let filled = (0..<masksPerRun).map { masks[min($0, masks.count - 1)] }
    try await executable.write(
      Tensor(Array(filled.map(\.units).joined()), shape: [masksPerRun, sites.unitCount]), to: gated.scores)
    if let blockScores = gated.blockScores {
      try await executable.write(
        Tensor(Array(filled.map(\.blocks).joined()), shape: [masksPerRun, sites.blocks.count]), to: blockScores)
    }
  }
}

extension ChainNetwork {
  /// The graph of a chain, physically cut, with gates for the units that are left: masks of a chain cost what the chain
  /// costs, not what the network costs.
  /// - Returns: the cut graph, what can be gated in it, and the index in the whole network of each of those units.
  func cutChain(_ selection: ChainSelection) throws -> (graph: Graph, sites: GateSites, units: [Int]) {
    let sliced = try sliced(keeping: selection.units, blocks: selection.blocks)
    let makers = sliced.graph.producers()
    var layers: [UnitLayer] = []
    var units: [Int] = []
    for (layer, offset) in zip(sites.layers, sites.unitOffsets) {
      guard makers[layer.value] != nil, let mixing = makers[graph.nodes[layer.mixing].outputs[0]] else { continue }
      let kept = sliced.record.kept(layer.value, axis: layer.axis) ?? Array(0..<layer.count)
      var layer = layer
      // Branches that are left are never gated here.
      (layer.mixing, layer.count, layer.block) = (mixing, kept.count, nil)
      layers.append(layer)
      units += kept.map { offset + $0 }
    }
    return (sliced.graph, GateSites(layers: layers, blocks: [], of: sliced.graph), units)
  }
}
