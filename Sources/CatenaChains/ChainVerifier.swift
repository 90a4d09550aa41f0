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

  private let folder: String
  private let model: ONNXModel
  private let backend: any Backend

  /// A verifier of the chain in `folder`.
  public init(folder: String, model: ONNXModel, backend: any Backend) {
    self.folder = folder
    self.model = model
    self.backend = backend
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
    guard !manifest.region.samples.isEmpty else { throw ChainError.verification(["the manifest lists no samples"]) }
    let network = try ChainNetwork(model: model, batch: min(manifest.region.samples.count, 32))
    let selection = try selection(of: manifest, in: network)
    let chain = try storedNetwork()
    var result = try checkConstants(of: chain, manifest)
    try checkStructure(of: network, selection)
    let outputs = try await checkOutputs(of: chain, network, selection)
    result.samples = outputs.samples
    result.largestDifference = outputs.difference
    return result
  }

  // What is wrong with a file of the chain is a finding; what is wrong with the source network is the caller's error.

  private func contents(of file: String) throws(ChainError) -> [UInt8] {
    do { return try readFile("\(folder)/\(file)") } catch { throw .verification([error.description]) }
  }

  private func storedNetwork() throws(ChainError) -> ONNXModel {
    do { return try ONNXModel(contentsOf: "\(folder)/\(ChainFile.network)") } catch {
      throw .verification(["\(ChainFile.network): \(error)"])
    }
  }

  private func storedRegion() throws(ChainError) -> Safetensors {
    do { return try Safetensors.read("\(folder)/\(ChainFile.region)") } catch {
      throw .verification([error.description])
    }
  }

  private func checkSums() throws {
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
    for file in [ChainFile.network, ChainFile.scores, ChainFile.region, ChainFile.manifest] where !listed.contains(file)
    {
      findings.append("\(ChainFile.sums) does not list \(file)")
    }
    guard findings.isEmpty else { throw ChainError.verification(findings) }
  }

  private func selection(
    of manifest: ChainManifest, in network: ChainNetwork
  ) throws(ChainError) -> (units: [Bool], blocks: [Bool]) {
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
    return (units, manifest.blocks.map(\.kept))
  }

  /// Makes every floating-point constant again from the source's initialisers and the manifest.
  private func checkConstants(
    of chain: ONNXModel, _ manifest: ChainManifest
  ) throws(ChainError) -> ChainVerification {
    let sources = model.initializers
    let slices = Dictionary(manifest.constants.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let factors = Dictionary(manifest.factors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    var findings: [String] = []
    var result = ChainVerification(constants: 0, elements: 0, structuralZeros: 0, samples: 0, largestDifference: 0)
    for (name, tensor) in chain.initializers.sorted(by: { $0.key < $1.key }) where tensor.elementType.isFloatingPoint {
      if let slice = slices[name], let source = sources[slice.source], let expected = slice.constant(from: source) {
        if !expected.isBitIdentical(to: tensor) {
          findings.append("'\(name)' is not what the source and the manifest say")
        }
        result.structuralZeros += slice.structuralZeroCount(in: source.shape)
      } else if let source = sources[name], slices[name] == nil {
        if !source.isBitIdentical(to: tensor) { findings.append("'\(name)' differs from the source network's") }
      } else if factors[name] != nil {
        if !tensor.floats.allSatisfy({ $0 == 0 || $0 == 1 }) { findings.append("the factor '\(name)' is not 0 or 1") }
      } else {
        findings.append("'\(name)' comes from nowhere: neither the source nor the manifest has it")
      }
      result.constants += 1
      result.elements += tensor.elementCount
    }
    guard findings.isEmpty else { throw .verification(findings) }
    return result
  }

  /// Cuts the source network again: the file must come out the same, byte for byte.
  private func checkStructure(of network: ChainNetwork, _ selection: (units: [Bool], blocks: [Bool])) throws {
    let sliced = try network.sliced(keeping: selection.units, blocks: selection.blocks)
    let rebuilt = try model.sliced(to: sliced.graph, from: network.graph)
    guard try rebuilt.serialized() == contents(of: ChainFile.network) else {
      throw ChainError.verification(["\(ChainFile.network) is not the network that its manifest describes"])
    }
  }

  private func checkOutputs(
    of chain: ONNXModel, _ network: ChainNetwork, _ selection: (units: [Bool], blocks: [Bool])
  ) async throws -> (samples: Int, difference: Double) {
    let stored = try storedRegion()
    guard let samples = stored["samples"], let recorded = stored["chain_logits"]?.rowsOfFloats() else {
      throw ChainError.verification(["\(ChainFile.region) lacks the samples or the chain's logits"])
    }
    let region = try Region(
      name: "stored", samples: samples, sampleNames: (0..<samples.shape[0]).map(String.init))
    let evaluator = try await ChainEvaluator(network: network, backend: backend, options: CompileOptions())
    let gated = try await evaluator.logits(
      of: region, unitGates: selection.units.map { $0 ? 1 : 0 }, blockGates: selection.blocks.map { $0 ? 1 : 0 })
    let runner = try await NetworkRunner(model: chain, batch: network.batch, backend: backend)
    let sliced = try await runner.logits(of: region)
    var findings: [String] = []
    let difference = largestDifference(gated, sliced)
    if difference > Self.tolerance {
      findings.append("the chain's logits differ from the gated network's by \(difference) of their range")
    }
    let drift = largestDifference(recorded, sliced)
    if drift > Self.tolerance {
      findings.append("the chain's logits differ from the recorded ones by \(drift) of their range")
    }
    guard findings.isEmpty else { throw ChainError.verification(findings) }
    return (region.count, max(difference, drift))
  }
}

extension ChainManifest.Constant {
  /// The constant, made from the source's; `nil` when the record does not fit it.
  func constant(from source: Tensor) -> Tensor? {
    guard kept.count == source.shape.rank, zeros.count == source.shape.rank else { return nil }
    for axis in 0..<source.shape.rank {
      let valid = (0..<source.shape[axis])
      guard (kept[axis] ?? []).allSatisfy(valid.contains), zeros[axis].allSatisfy(valid.contains) else { return nil }
    }
    guard (keptByGroup ?? []).joined().allSatisfy({ source.shape.rank > 1 && (0..<source.shape[1]).contains($0) }),
      Set((keptByGroup ?? []).map(\.count)).count <= 1
    else { return nil }
    let slice = ConstantSlice(
      original: ValueID(index: 0), kept: kept, keptByGroup: keptByGroup, zeros: zeros, renumbered: renumbered)
    return slice.applied(to: source)
  }

  /// Elements of the constant that are structural zeros.
  func structuralZeroCount(in shape: Shape) -> Int {
    var nonzero = 1
    var all = 1
    for axis in 0..<shape.rank {
      let indices = axis == 1 && keptByGroup != nil ? keptByGroup?.first ?? [] : kept[axis] ?? Array(0..<shape[axis])
      all *= indices.count
      nonzero *= indices.count { !zeros[axis].contains($0) }
    }
    return all - nonzero
  }
}

/// The largest difference of two tables, over the range of the first.
func largestDifference(_ expected: [[Float]], _ actual: [[Float]]) -> Double {
  let numbers = expected.joined()
  let range = Double(numbers.max() ?? 0) - Double(numbers.min() ?? 0)
  let difference = zip(numbers, actual.joined()).reduce(0.0) { max($0, abs(Double($1.0) - Double($1.1))) }
  guard expected.count == actual.count, difference.isFinite else { return .infinity }
  return difference / max(range, .leastNormalMagnitude)
}
