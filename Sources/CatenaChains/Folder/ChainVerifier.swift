import CatenaAutodiff
import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors
import Foundation

/// What a verification looked at.
public struct ChainVerification: Sendable, Hashable, Codable {
  /// Constants of the chain compared bit by bit with the source network's.
  public var constants: Int
  /// Their elements.
  public var elements: Int
  /// Elements among them that are structural zeros.
  public var structuralZeros: Int
  /// Samples whose outputs were computed again.
  public var samples: Int
  /// The largest difference between the chain's logits and the gated dense network's, over the range of the logits.
  public var largestDifference: Double
}

/// Proves a chain on disk against its source network: every weight is the original's, bit for bit, and the outputs are
/// those of the dense network with the other units gated to zero.
///
/// The file's constants are made again from the source and the manifest alone; nothing in the folder is trusted.
public struct ChainVerifier {
  /// The largest difference of logits allowed, as a part of their range: sums of float products in another order.
  public static let tolerance = 1e-4

  let folder: String
  let model: ONNXModel
  private let backend: any Backend
  private let options: CompileOptions

  /// A verifier of the chain in `folder`.
  /// - Parameter options: the memory limit of what runs. Outputs are compared in full precision, whatever it says.
  public init(folder: String, model: ONNXModel, backend: any Backend, options: CompileOptions = CompileOptions()) {
    self.folder = folder
    self.model = model
    self.backend = backend
    self.options = CompileOptions(memoryLimit: options.memoryLimit)
  }

  /// Verifies the chain.
  /// - Throws: `ChainError.verification` with every finding; `FileError` for what cannot be read.
  public func verify() async throws -> ChainVerification {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
      throw FileError(.missing, folder, "there is no such folder; give the one that 'catena chain' wrote")
    }
    try checkSums()
    let manifest = try ChainManifest.decoded(from: contents(of: ChainFile.manifest))
    guard manifest.model.sha256 == model.sha256 else {
      throw ChainError.verification([
        "the chain was made from '\(manifest.model.file)' (sha256 \(manifest.model.sha256)), not from this network "
          + "(sha256 \(model.sha256 ?? "unknown"))"
      ])
    }
    let region = try StoredRegion(folder: folder, names: manifest.region.samples)
    let network = try ChainNetwork(model: model, batch: min(region.region.count, 32))
    let selection = try selection(of: manifest, in: network)
    let chain = try storedModel(ChainFile.network)
    let soft = try storedModel(ChainFile.softNetwork)
    var result = try checkConstants(of: chain, in: ChainFile.network, from: network.graph, manifest)
    let sliced = try network.sliced(keeping: selection.units, blocks: selection.blocks)
    try checkStructure(of: network, sliced, selection, manifest)
    let factors = try SoftFactors(folder: folder, network: network, selection)
    let softFactors = try Safetensors.read("\(folder)/\(ChainFile.scores)")
    _ = try checkConstants(
      of: soft, in: ChainFile.softNetwork, from: network.graph, manifest, scores: softFactors)
    try checkSoftStructure(of: network, sliced, factors, manifest)
    let outputs = OutputCheck(
      network: network, chain: chain, soft: soft, stored: region, backend: backend, options: options)
    result.samples = region.region.count
    result.largestDifference = try await outputs.check(manifest, selection, factors)
    return result
  }

  private func storedModel(_ file: String) throws(ChainError) -> ONNXModel {
    try stored { () throws(ONNXError) in try ONNXModel(contentsOf: "\(folder)/\(file)") }
  }

  func contents(of file: String) throws(ChainError) -> [UInt8] {
    try stored { () throws(FileError) in try readFile("\(folder)/\(file)") }
  }

  func checkSums() throws {
    let bytes = try contents(of: ChainFile.sums)
    var findings: [String] = []
    var listed: Set<String> = []
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      let fields = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
      guard fields.count == 2 else { throw ChainError.verification(["\(ChainFile.sums) has a broken line: '\(line)'"]) }
      let file = String(fields[1].drop { $0 == " " })
      guard !file.contains("/"), !file.hasPrefix(".") else {
        throw ChainError.verification(["\(ChainFile.sums) lists '\(file)', which is no file of a chain"])
      }
      listed.insert(file)
      do {
        if try SHA256.hexDigest(of: readFile("\(folder)/\(file)")) != fields[0] {
          findings.append("\(file) has changed since the chain was written")
        }
      } catch { findings.append(error.description) }
    }
    for file in ChainFile.summed where !listed.contains(file) {
      findings.append("\(ChainFile.sums) does not list \(file)")
    }
    guard findings.isEmpty else { throw ChainError.verification(findings) }
  }

  func selection(
    of manifest: ChainManifest, in network: ChainNetwork
  ) throws(ChainError) -> KeptUnits {
    var findings: [String] = []
    var units: [Bool] = []
    let layers = Dictionary(manifest.layers.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    for layer in network.sites.layers {
      var kept = [Bool](repeating: false, count: layer.count)
      if let listed = layers[layer.name], listed.count == layer.count, listed.axis == layer.axis,
        listed.kept.allSatisfy(kept.indices.contains)
      {
        for index in listed.kept { kept[index] = true }
      } else {
        findings.append("the manifest does not list the units of layer '\(layer.name)'")
      }
      units += kept
    }
    if manifest.layers.count != network.sites.layers.count {
      findings.append(
        "the manifest lists \(manifest.layers.count) layers, the network has \(network.sites.layers.count)")
    }
    if manifest.blocks.map(\.name) != network.sites.blocks.map(\.name) {
      findings.append("the manifest lists other residual branches than the network has")
    }
    guard findings.isEmpty else { throw .verification(findings) }
    return KeptUnits(units: units, blocks: manifest.blocks.map(\.kept))
  }

  /// Cuts the source network again: file and manifest must come out the same, byte for byte.
  private func checkStructure(
    of network: ChainNetwork, _ sliced: SlicedGraph, _ selection: KeptUnits, _ manifest: ChainManifest
  ) throws {
    var findings: [String] = []
    let rebuilt = try model.sliced(to: sliced.graph, from: network.graph)
    if try rebuilt.serialized() != contents(of: ChainFile.network) {
      findings.append("\(ChainFile.network) is not the network that its manifest describes")
    }
    let expected = ChainContents(network: network, units: selection.units, blocks: selection.blocks, sliced: sliced)
    findings += expected.differences(from: manifest)
    if try Array(manifest.curveTable.utf8) != contents(of: ChainFile.curve) {
      findings.append("\(ChainFile.curve) is not the curve of the manifest")
    }
    guard findings.isEmpty else { throw ChainError.verification(findings) }
  }

  /// Scales the cut network again by the stored factors.
  private func checkSoftStructure(
    of network: ChainNetwork, _ sliced: SlicedGraph, _ factors: SoftFactors, _ manifest: ChainManifest
  ) throws {
    let soft = try SoftNetwork(
      network: network, sliced: sliced, unitFactors: factors.units, blockFactors: factors.blocks)
    var findings: [String] = []
    if try model.sliced(to: soft.graph, from: network.graph).serialized() != contents(of: ChainFile.softNetwork) {
      findings.append("\(ChainFile.softNetwork) is not the network that \(ChainFile.scores) and the manifest describe")
    }
    if manifest.softFactors != soft.factors {
      findings.append("\(ChainFile.manifest): 'softFactors' is not what scaling the cut network gives")
    }
    guard findings.isEmpty else { throw ChainError.verification(findings) }
  }
}

/// What `read` gives of a chain's folder. What is wrong with a file there is a finding; what is wrong with the source
/// network is the caller's error.
func stored<Value, Failure: Error>(_ read: () throws(Failure) -> Value) throws(ChainError) -> Value {
  do { return try read() } catch { throw .verification(["\(error)"]) }
}

/// The units and blocks that a manifest says are kept.
struct KeptUnits {
  let units: [Bool]
  let blocks: [Bool]
}
