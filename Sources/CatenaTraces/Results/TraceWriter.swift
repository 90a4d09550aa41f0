import CatenaCompute
import CatenaFormats
import CatenaTensors

/// What a trace's folder says of its making besides the result itself.
public struct TraceOrigin: Sendable {
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

/// Writes traces: all files or none.
public struct TraceWriter: Sendable {
  let extractor: TraceExtractor
  let origin: TraceOrigin

  /// A writer of what `extractor` makes.
  public init(extractor: TraceExtractor, origin: TraceOrigin) {
    self.extractor = extractor
    self.origin = origin
  }

  /// Writes everything into `directory` and gives it its name.
  /// - Returns: what the manifest says.
  public func write(_ result: TraceResult, into directory: consuming AtomicDirectory) throws -> TraceManifest {
    let network = extractor.network
    let manifest = manifest(of: result)
    let folder = directory.temporaryPath
    try network.model.sliced(to: result.graph, from: network.graph).write(to: "\(folder)/\(TraceFile.network)")
    try connections(of: result).write(to: "\(folder)/\(TraceFile.connections)")
    try AtomicFile.write(manifest.encoded(), to: "\(folder)/\(TraceFile.manifest)")
    var sums = ""
    for file in TraceFile.summed { sums += try TraceFile.sumLine(file, of: readFile("\(folder)/\(file)")) + "\n" }
    try AtomicFile.write(Array(sums.utf8), to: "\(folder)/\(TraceFile.sums)")
    try directory.commit()
    return manifest
  }

  private func connections(of result: TraceResult) -> Safetensors {
    Safetensors(
      tensors: result.layers.map {
        NamedTensor(name: $0.name, tensor: ConnectionMask.packed($0.connections))
      },
      metadata: [
        "format": "catena-connections", "formatVersion": "1.0", "model": extractor.network.model.sha256 ?? "",
        "bits": "bit i % 8 of byte i / 8 is 1 where weight i, in row-major order, is left",
      ])
  }

  private func manifest(of result: TraceResult) -> TraceManifest {
    let layers = result.layers.map { layer in
      TraceManifest.Layer(
        name: layer.name, ratio: layer.ratio, shape: layer.weights.shape.dimensions,
        connections: .init(
          kept: layer.connections.reduce(0) { $0 + ($1 ? 1 : 0) }, total: layer.weights.elementCount),
        loss: layer.solution?.loss, damping: layer.solution?.damping,
        wasDampedFurther: layer.solution?.wasDampedFurther, deadColumns: layer.solution?.deadColumns)
    }
    return TraceManifest(
      catenaVersion: origin.version,
      model: .init(file: origin.modelFile, sha256: extractor.network.model.sha256 ?? ""),
      preprocessing: origin.preprocessing, device: origin.device, settings: extractor.settings,
      precision: extractor.options.precision, memoryLimit: extractor.options.memoryLimit, sample: result.sampleName,
      pixels: result.pixelDigest, fidelity: result.fidelity,
      connections: .init(
        kept: layers.reduce(0) { $0 + $1.connections.kept }, total: layers.reduce(0) { $0 + $1.connections.total }),
      layers: layers, untouched: extractor.network.untouched, plannedBytes: result.plannedBytes)
  }
}
