import CatenaCPU
import CatenaChains
import CatenaCompute
import CatenaFormats
import CatenaTensors
import Foundation
import TestSupport

/// A chain on disk that a test extracted.
struct ChainFolder: Sendable {
  let folder: TemporaryFolder
  let model: ONNXModel
  let network: ChainNetwork
  let result: ChainResult
  let manifest: ChainManifest

  var path: String { folder.file("chain") }

  /// Extracts and writes.
  init(
    _ model: ONNXModel, _ region: Region, request: ChainRequest, settings: ChainSettings, threads: Int? = nil,
    backend given: (any Backend)? = nil
  ) async throws {
    self.model = model
    folder = try TemporaryFolder()
    let backend = given ?? CPUBackend(threads: threads)
    network = try ChainNetwork(model: model, batch: min(settings.batch, region.count))
    let extractor = ChainExtractor(network: network, backend: backend, settings: settings)
    result = try await extractor.chains(for: [region], request: request)[0]
    let origin = ChainOrigin(
      modelFile: "network.onnx", preprocessing: "{}", device: backend.device, version: "test")
    manifest = try ChainWriter(network: network, result: result, origin: origin)
      .write(into: AtomicDirectory(folder.file("chain")))
  }

  /// The names of the files.
  var files: [String] {
    get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
  }

  func bytes(of file: String) throws -> [UInt8] { try readFile("\(path)/\(file)") }

  /// Another folder with the same files.
  func copy() throws -> ForgedFolder {
    let copy = try TemporaryFolder()
    for file in try files { try FileManager.default.copyItem(atPath: "\(path)/\(file)", toPath: copy.file(file)) }
    return ForgedFolder(folder: copy, model: model)
  }

  func verify() async throws -> ChainVerification {
    try await ChainVerifier(folder: path, model: model, backend: CPUBackend()).verify()
  }
}

/// A copy of a chain, to be tampered with.
struct ForgedFolder {
  let folder: TemporaryFolder
  let model: ONNXModel

  func bytes(of file: String) throws -> [UInt8] { try readFile(folder.file(file)) }

  func write(_ bytes: [UInt8], to file: String) throws { try Data(bytes).write(to: URL(filePath: folder.file(file))) }

  /// Changes the manifest, and makes the sums and the table of the curve fit.
  func editManifest(_ edit: (inout ChainManifest) throws -> Void) throws {
    var manifest = try ChainManifest.decoded(from: bytes(of: ChainFile.manifest))
    try edit(&manifest)
    try write(manifest.encoded(), to: ChainFile.manifest)
    try updateSums()
  }

  /// Changes one tensor of a safetensors file, and makes the sums fit.
  func editTensor(_ name: String, of file: String, _ edit: (inout [Float]) -> Void) throws {
    var stored = try Safetensors.read(folder.file(file))
    guard let index = stored.tensors.firstIndex(where: { $0.name == name }) else { throw Missing(name: name) }
    var floats = stored.tensors[index].tensor.floats
    edit(&floats)
    stored.tensors[index].tensor = Tensor(floats, shape: stored.tensors[index].tensor.shape)
    try stored.write(to: folder.file(file))
    try updateSums()
  }

  /// Changes the first constant of the sub-network of more than one element, and makes the sums fit.
  func editWeights(_ edit: (inout [Float]) -> Void) throws {
    let chain = try ONNXModel(contentsOf: folder.file(ChainFile.network))
    var graph = try chain.graph(batch: chain.fixedBatch ?? 1)
    let weights = graph.constants.filter { $0.value.elementType == .float32 && $0.value.elementCount > 1 }
    guard let id = weights.keys.min(), let tensor = weights[id] else { throw Missing(name: "weights") }
    var floats = tensor.floats
    edit(&floats)
    let original = graph
    graph.replaceConstant(id, with: Tensor(floats, shape: tensor.shape))
    try chain.sliced(to: graph, from: original).write(to: folder.file(ChainFile.network))
    try updateSums()
  }

  /// Writes the sums of the files as they are now.
  func updateSums() throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    let lines = try names.filter { $0 != ChainFile.sums }
      .map { "\(SHA256.hexDigest(of: try bytes(of: $0)))  \($0)\n" }
    try write(Array(lines.joined().utf8), to: ChainFile.sums)
  }

  func verify() async throws -> ChainVerification {
    try await ChainVerifier(folder: folder.path, model: model, backend: CPUBackend()).verify()
  }
}

/// A file lacks what a test wants to tamper with.
struct Missing: Error {
  let name: String
}
