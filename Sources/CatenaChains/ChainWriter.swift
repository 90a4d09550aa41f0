import CatenaAutodiff
import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors

/// The files of a chain on disk.
public enum ChainFile {
  /// The sub-network in binary mode.
  public static let network = "chain.onnx"
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
  private let origin: ChainOrigin

  /// Slices the network for a result.
  public init(network: ChainNetwork, result: ChainResult, origin: ChainOrigin) throws(GraphError) {
    self.network = network
    self.result = result
    self.origin = origin
    sliced = try network.sliced(keeping: result.point.selection.units, blocks: result.point.selection.blocks)
  }

  /// Writes everything into `directory` and gives it its name.
  /// - Returns: what the manifest says.
  public func write(into directory: consuming AtomicDirectory) throws -> ChainManifest {
    let manifest = try manifest()
    let folder = directory.temporaryPath
    try network.model.sliced(to: sliced.graph, from: network.graph).write(to: "\(folder)/\(ChainFile.network)")
    try scores().write(to: "\(folder)/\(ChainFile.scores)")
    try region().write(to: "\(folder)/\(ChainFile.region)")
    try AtomicFile.write(Array(curveTable().utf8), to: "\(folder)/\(ChainFile.curve)")
    try AtomicFile.write(Array(CurvePicture(result).svg.utf8), to: "\(folder)/\(ChainFile.picture)")
    try AtomicFile.write(manifest.encoded(), to: "\(folder)/\(ChainFile.manifest)")
    let files = [
      ChainFile.network, ChainFile.scores, ChainFile.region, ChainFile.curve, ChainFile.picture, ChainFile.manifest,
    ]
    var sums = ""
    for file in files { sums += "\(try SHA256.hexDigest(of: readFile("\(folder)/\(file)")))  \(file)\n" }
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

  private func curveTable() -> String {
    var table = "kept_units,kept_fraction,step,binary_agreement,binary_kl,soft_agreement,soft_kl\n"
    for point in result.curve.points {
      let numbers = [
        point.binary.agreement, point.binary.divergence, point.soft.agreement, point.soft.divergence,
      ]
      let step = point.step.map(String.init) ?? ""
      table += "\(point.selection.keptCount),\(point.keptFraction),\(step),"
      table += numbers.map { "\($0)" }.joined(separator: ",") + "\n"
    }
    return table
  }
}

extension ChainWriter {
  private func manifest() throws -> ChainManifest {
    let selection = result.point.selection
    return ChainManifest(
      catenaVersion: origin.version,
      model: .init(file: origin.modelFile, sha256: network.model.sha256 ?? ""),
      preprocessing: origin.preprocessing, device: origin.device, settings: result.settings, request: result.request,
      met: result.isMet,
      region: .init(name: result.region.name, samples: result.region.sampleNames),
      layers: zip(network.sites.layers, network.sites.unitOffsets).map { layer, offset in
        .init(
          name: layer.name, axis: layer.axis, count: layer.count, block: layer.block,
          kept: (0..<layer.count).filter { selection.units[offset + $0] })
      },
      blocks: zip(network.sites.blocks, selection.blocks).map { .init(name: $0.name, kept: $1) },
      size: size(), fidelity: .init(binary: result.point.binary, soft: result.point.soft),
      curve: result.curve.points.map { point in
        .init(
          keptUnits: point.selection.keptCount, keptFraction: point.keptFraction, step: point.step,
          fidelity: .init(binary: point.binary, soft: point.soft))
      },
      constants: sliced.record.constants.map { slice in
        .init(
          source: name(slice.original), name: sliced.graph[slice.result].name, kept: slice.kept,
          keptByGroup: slice.keptByGroup, zeros: slice.zeros, renumbered: slice.renumbered)
      },
      factors: sliced.record.factors.map { factor in
        .init(
          name: sliced.graph[factor.factor].name, value: name(factor.value), axis: factor.axis, zeros: factor.zeros)
      },
      uncut: sliced.record.uncut.map { uncut in
        .init(
          value: name(uncut.value), axis: uncut.axis, indices: uncut.indices, reason: uncut.reason.rawValue)
      })
  }

  private func name(_ id: ValueID) -> String { network.graph[id].name }

  private func size() -> ChainManifest.Size {
    let selection = result.point.selection
    return .init(
      units: .init(kept: selection.keptCount, total: selection.units.count),
      blocks: .init(kept: selection.blocks.count { $0 }, total: selection.blocks.count),
      parameters: .init(kept: sliced.graph.parameterCount, total: network.graph.parameterCount),
      multiplyAdds: .init(
        kept: sliced.graph.multiplyAddCount / network.batch, total: network.graph.multiplyAddCount / network.batch))
  }
}
