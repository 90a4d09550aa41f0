import CatenaAutodiff
import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors

/// The files of a chain on disk.
public enum ChainFile {
  /// The sub-network in binary mode.
  public static let network = "chain.onnx"
  /// The sub-network in soft mode: the same constants, and separate factors.
  public static let softNetwork = "chain.soft.onnx"
  /// S of every unit and alpha of every branch: the factors of the soft mode.
  public static let scores = "scores.safetensors"
  /// The region's samples, the dense network's logits and the chain's.
  public static let region = "region.safetensors"
  /// The sparsity-fidelity curve, for spreadsheets.
  public static let curve = "curve.csv"
  /// The sparsity-fidelity curve, for people.
  public static let picture = "curve.svg"
  /// Everything that is known of the chain.
  public static let manifest = "manifest.json"
  /// SHA-256 of all the others, in the form of `sha256sum`.
  public static let sums = "SHA256SUMS"

  /// The files that `sums` lists, in its order.
  static let summed = [network, softNetwork, scores, region, curve, picture, manifest]
}

/// What a chain's folder says of its making besides the result itself.
public struct ChainOrigin: Sendable {
  /// The source network's file name.
  public var modelFile: String
  /// The preprocessing description.
  public var preprocessing: String
  /// The device.
  public var device: DeviceDescription
  /// The program's version.
  public var version: String

  /// An origin.
  public init(modelFile: String, preprocessing: String, device: DeviceDescription, version: String) {
    self.modelFile = modelFile
    self.preprocessing = preprocessing
    self.device = device
    self.version = version
  }
}

/// Writes a chain: all files or none.
public struct ChainWriter {
  private let network: ChainNetwork
  private let result: ChainResult
  private let sliced: SlicedGraph
  private let soft: SoftNetwork
  private let origin: ChainOrigin

  /// Slices the network for a result.
  public init(network: ChainNetwork, result: ChainResult, origin: ChainOrigin) throws(GraphError) {
    self.network = network
    self.result = result
    self.origin = origin
    let selection = result.point.selection
    sliced = try network.sliced(keeping: selection.units, blocks: selection.blocks)
    soft = try SoftNetwork(
      network: network, sliced: sliced, unitFactors: selection.unitFactors, blockFactors: selection.blockFactors)
  }

  /// Writes everything into `directory` and gives it its name.
  /// - Returns: what the manifest says.
  public func write(into directory: consuming AtomicDirectory) throws -> ChainManifest {
    let manifest = manifest()
    let folder = directory.temporaryPath
    try network.model.sliced(to: sliced.graph, from: network.graph).write(to: "\(folder)/\(ChainFile.network)")
    try network.model.sliced(to: soft.graph, from: network.graph).write(to: "\(folder)/\(ChainFile.softNetwork)")
    try scores().write(to: "\(folder)/\(ChainFile.scores)")
    try region().write(to: "\(folder)/\(ChainFile.region)")
    try AtomicFile.write(Array(manifest.curveTable.utf8), to: "\(folder)/\(ChainFile.curve)")
    try AtomicFile.write(Array(CurvePicture(result).svg.utf8), to: "\(folder)/\(ChainFile.picture)")
    try AtomicFile.write(manifest.encoded(), to: "\(folder)/\(ChainFile.manifest)")
    var sums = ""
    for file in ChainFile.summed { sums += "\(try SHA256.hexDigest(of: readFile("\(folder)/\(file)")))  \(file)\n" }
    try AtomicFile.write(Array(sums.utf8), to: "\(folder)/\(ChainFile.sums)")
    try directory.commit()
    return manifest
  }

  private func scores() -> Safetensors {
    let selection = result.point.selection
    var tensors = zip(network.sites.layers, network.sites.unitOffsets).map { layer, offset in
      NamedTensor(
        name: "units/\(layer.name)",
        tensor: Tensor(Array(selection.unitFactors[offset..<(offset + layer.count)]), shape: [layer.count]))
    }
    if !selection.blockFactors.isEmpty {
      tensors.append(
        NamedTensor(
          name: "blocks", tensor: Tensor(selection.blockFactors, shape: [selection.blockFactors.count])))
    }
    return Safetensors(
      tensors: tensors,
      metadata: ["format": "catena-scores", "formatVersion": "1.0", "model": network.model.sha256 ?? ""])
  }

  private func region() -> Safetensors {
    func table(_ rows: [[Float]]) -> Tensor {
      Tensor(Array(rows.joined()), shape: [rows.count, rows.first?.count ?? 0])
    }
    return Safetensors(
      tensors: [
        NamedTensor(name: "samples", tensor: result.region.samples),
        NamedTensor(name: "dense_logits", tensor: table(result.denseLogits)),
        NamedTensor(name: "chain_logits", tensor: table(result.binaryLogits)),
      ], metadata: ["format": "catena-region", "formatVersion": "1.0"])
  }
}

extension ChainWriter {
  private func manifest() -> ChainManifest {
    let selection = result.point.selection
    let contents = ChainContents(
      network: network, units: selection.units, blocks: selection.blocks, sliced: sliced)
    return ChainManifest(
      catenaVersion: origin.version,
      model: .init(file: origin.modelFile, sha256: network.model.sha256 ?? ""),
      preprocessing: origin.preprocessing, device: origin.device, settings: result.settings, work: result.work,
      request: result.request,
      met: result.isMet,
      region: .init(name: result.region.name, samples: result.region.sampleNames),
      layers: contents.layers, blocks: contents.blocks, size: contents.size,
      fidelity: .init(binary: result.point.binary, soft: result.point.soft),
      curve: result.curve.points.map { point in
        .init(
          keptUnits: point.selection.keptCount, keptFraction: point.keptFraction, step: point.step,
          fidelity: .init(binary: point.binary, soft: point.soft))
      },
      constants: contents.constants, factors: contents.factors, softFactors: soft.factors,
      uncut: contents.uncut)
  }
}
