import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors

/// The samples and logits that a chain's folder stores.
struct StoredRegion {
  let region: Region
  let denseLogits: [[Float]]
  let chainLogits: [[Float]]

  init(folder: String, names: [String]) throws {
    let tensors = try stored { () throws(FileError) in try Safetensors.read("\(folder)/\(ChainFile.region)") }
    guard let samples = tensors["samples"], samples.shape.rank > 0, samples.shape[0] == names.count else {
      throw ChainError.verification(["\(ChainFile.region) lacks the \(names.count) samples that the manifest lists"])
    }
    region = try Region(name: "stored", samples: samples, sampleNames: names)
    func logits(_ name: String) throws(ChainError) -> [[Float]] {
      guard let table = tensors[name], table.elementType == .float32, table.shape.rank == 2, table.shape[1] > 0,
        table.shape[0] == names.count
      else { throw .verification(["\(ChainFile.region) lacks '\(name)', one row for each of \(names.count) samples"]) }
      return table.rowsOfFloats()
    }
    denseLogits = try logits("dense_logits")
    chainLogits = try logits("chain_logits")
    guard denseLogits[0].count == chainLogits[0].count else {
      throw ChainError.verification(["\(ChainFile.region) has logits of different numbers of classes"])
    }
  }
}

/// The factors of the soft mode that a chain's folder stores: from 0 to 1 for what is kept, 0 for all else. A unit
/// that is kept only to complete its branch may have 0.
struct SoftFactors {
  let units: [Float]
  let blocks: [Float]

  init(folder: String, network: ChainNetwork, _ kept: KeptUnits) throws {
    let tensors = try stored { () throws(FileError) in try Safetensors.read("\(folder)/\(ChainFile.scores)") }
    var findings: [String] = []
    func factors(_ name: String, kept: some Collection<Bool>) -> [Float] {
      guard let tensor = tensors[name], tensor.elementType == .float32, tensor.shape == [kept.count] else {
        findings.append("\(ChainFile.scores) lacks '\(name)', \(kept.count) factors")
        return []
      }
      let factors = tensor.floats
      if !zip(factors, kept).allSatisfy({ factor, kept in kept ? (0...1).contains(factor) : factor == 0 }) {
        findings.append("\(ChainFile.scores): the factors of '\(name)' are not those of the kept units")
      }
      return factors
    }
    units = zip(network.sites.layers, network.sites.unitOffsets).flatMap { layer, offset in
      factors("units/\(layer.name)", kept: kept.units[offset..<offset + layer.count])
    }
    blocks = kept.blocks.isEmpty ? [] : factors("blocks", kept: kept.blocks)
    guard findings.isEmpty else { throw ChainError.verification(findings) }
  }
}

/// Computes the outputs on the stored region again, and what follows from them.
struct OutputCheck {
  let network: ChainNetwork
  let chain: ONNXModel
  let soft: ONNXModel
  let stored: StoredRegion
  let backend: any Backend
  let options: CompileOptions

  /// Checks logits and fidelity.
  /// - Returns: The largest difference of logits found, over their range.
  func check(_ manifest: ChainManifest, _ kept: KeptUnits, _ factors: SoftFactors) async throws -> Double {
    let evaluator = try await ChainEvaluator(network: network, backend: backend, options: options)
    let region = stored.region
    let dense = try await evaluator.denseLogits(of: region)
    let gated = try await evaluator.logits(
      of: region, unitGates: kept.units.map { $0 ? 1 : 0 }, blockGates: kept.blocks.map { $0 ? 1 : 0 })
    let softlyGated = try await evaluator.logits(of: region, unitGates: factors.units, blockGates: factors.blocks)
    let sliced = try await logits(of: chain)
    let softlySliced = try await logits(of: soft)
    let differences = [
      ("the chain's logits differ from the gated network's", largestDifference(gated, sliced)),
      ("the soft chain's logits differ from the softly gated network's", largestDifference(softlyGated, softlySliced)),
      ("the chain's logits differ from the recorded ones", largestDifference(stored.chainLogits, sliced)),
      ("the dense network's logits differ from the recorded ones", largestDifference(stored.denseLogits, dense)),
    ]
    var findings = differences.filter { !($0.1 <= ChainVerifier.tolerance) }.map { "\($0.0) by \($0.1) of their range" }
    findings += fidelityFindings(manifest, soft: softlyGated)
    guard findings.isEmpty else { throw ChainError.verification(findings) }
    return differences.map(\.1).max() ?? 0
  }

  private func logits(of model: ONNXModel) async throws -> [[Float]] {
    try await NetworkRunner(
      graph: ChainNetwork.graph(of: model, batch: network.batch), backend: backend, options: options
    ).logits(of: stored.region)
  }

  /// The manifest's figures against the stored logits, which they were computed from, and the soft mode's against
  /// logits computed again.
  private func fidelityFindings(_ manifest: ChainManifest, soft softLogits: [[Float]]) -> [String] {
    var findings: [String] = []
    let claimed = manifest.fidelity
    let binary = Fidelity(dense: stored.denseLogits, chain: stored.chainLogits)
    if !binary.isEqual(to: claimed.binary, divergence: 1e-6, samples: 0, of: stored.region.count) {
      findings.append("the fidelity that the manifest states is not that of the stored logits")
    }
    // Logits may be off by the tolerance: a divergence follows them, and a near tie may fall to the other side.
    let margin = ChainVerifier.tolerance * range(of: softLogits.joined())
    let ties = softLogits.count { row in
      let sorted = row.sorted(by: >)
      return sorted.count > 1 && sorted[0] - sorted[1] <= Float(2 * margin)
    }
    let soft = Fidelity(dense: stored.denseLogits, chain: softLogits)
    if !soft.isEqual(to: claimed.soft, divergence: 4 * margin, samples: ties, of: stored.region.count) {
      findings.append("the soft mode's fidelity that the manifest states is not reproduced")
    }
    if !manifest.curve.contains(where: {
      $0.keptUnits == manifest.size.units.kept && $0.fidelity == claimed
    }) {
      findings.append("the manifest's curve does not have the chain as a point")
    }
    let budget = (manifest.request.budget ?? 1) * Double(manifest.size.units.total)
    let isMet =
      Double(manifest.size.units.kept) <= budget
      && claimed.binary.agreement >= manifest.request.leastAgreement ?? 0
    if manifest.met != isMet { findings.append("the manifest says wrongly whether the request is met") }
    return findings
  }
}

extension Fidelity {
  /// Whether another is the same but for `divergence` and the classes of `samples` of all `count` samples.
  fileprivate func isEqual(to other: Fidelity, divergence margin: Double, samples: Int, of count: Int) -> Bool {
    let limit = margin * max(1, divergence)
    return (divergence == other.divergence || abs(divergence - other.divergence) <= limit)
      && (abs(agreement - other.agreement) * Double(count)).rounded() <= Double(samples)
      && abs(predictedClasses - other.predictedClasses) <= samples
  }
}

private func range(of numbers: some Sequence<Float>) -> Double {
  var (low, high) = (Double.infinity, -Double.infinity)
  for number in numbers { (low, high) = (min(low, Double(number)), max(high, Double(number))) }
  return max(high - low, .leastNormalMagnitude)
}

/// The largest difference of two tables, over the range of the first.
private func largestDifference(_ expected: [[Float]], _ actual: [[Float]]) -> Double {
  guard expected.map(\.count) == actual.map(\.count) else { return .infinity }
  let differences = zip(expected.joined(), actual.joined()).map { abs(Double($0) - Double($1)) }
  guard differences.allSatisfy(\.isFinite) else { return .infinity }
  return (differences.max() ?? 0) / range(of: expected.joined())
}
