import CatenaFormats
import CatenaTensors
import Foundation

extension TemporaryFolder {
  /// Writes a float32 tensor as `NAME.npy` and gives the file's path.
  @discardableResult
  package func write(_ tensor: Tensor, _ name: String) throws -> String {
    precondition(tensor.elementType == .float32, "peers read float32")
    let extents = tensor.shape.dimensions.map { "\($0)," }.joined(separator: " ")
    var header = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(extents)), }"
    // The format aligns the numbers to 64 bytes and ends the header with a line break.
    header += String(repeating: " ", count: 63 - (10 + header.utf8.count) % 64) + "\n"
    var bytes = Data([0x93] + Array("NUMPY".utf8) + [1, 0])
    withUnsafeBytes(of: UInt16(header.utf8.count).littleEndian) { bytes.append(contentsOf: $0) }
    bytes.append(contentsOf: header.utf8)
    tensor.withUnsafeBytes { bytes.append(contentsOf: $0) }
    try bytes.write(to: URL(filePath: file("\(name).npy")))
    return file("\(name).npy")
  }

  /// Reads `NAME.npy`.
  package func read(_ name: String) throws -> Tensor { try NPY.read(file("\(name).npy")) }
}

extension Peer {
  /// What onnxruntime computes: a model file, its input, and where its first output goes.
  package struct ONNXJob: Sendable {
    /// The model's file.
    package var model: String
    /// The input's .npy file.
    package var input: String
    /// The name, in the folder, of the output.
    package var output: String

    /// A run of one model.
    package init(model: String, input: String, output: String) {
      (self.model, self.input, self.output) = (model, input, output)
    }
  }

  /// Runs models in onnxruntime, all in one process, and gives their first outputs. With `checking`, every model must
  /// pass onnx.checker first.
  package static func onnxruntime(
    _ jobs: [ONNXJob], in folder: TemporaryFolder, checking: Bool = false
  ) async throws -> [Tensor] {
    let names = jobs.flatMap { [$0.model, $0.input, folder.file("\($0.output).npy")] }
    try await run("run_onnx.py", (checking ? ["--check"] : []) + names)
    return try jobs.map { try folder.read($0.output) }
  }
}
