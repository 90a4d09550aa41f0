import Catena
import Foundation
import TestSupport
import Testing

/// A small PyTorch network of ours as one of torch.onnx's exporters wrote it, with what PyTorch computes on it. Made by
/// Tools/peers/export_networks.py.
struct ExportedNetwork: Sendable, CustomTestStringConvertible {
  let name: String
  /// The model's file, in the folder of goldens.
  let file: String
  private let tensors: [String: String]

  var testDescription: String { file }

  private struct Manifest: Decodable {
    struct Network: Decodable {
      struct Model: Decodable { let file: String }
      let name: String
      let models: [Model]
      let input: String
      let logits: String
      let cotangent: String
      let inputGradient: String
    }
    let networks: [Network]
  }

  /// All of them, or why there are none.
  static let found = Result {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let manifest = try decoder.decode(Manifest.self, from: Data(contentsOf: folder.appending(path: "manifest.json")))
    return manifest.networks.flatMap { network in
      network.models.map { model in
        ExportedNetwork(
          name: network.name, file: model.file,
          tensors: [
            "input": network.input, "logits": network.logits, "cotangent": network.cotangent,
            "gradient": network.inputGradient,
          ])
      }
    }
  }

  /// All of them.
  static var all: [ExportedNetwork] {
    switch found {
    case .success(let networks): networks
    case .failure: []
    }
  }

  private static let folder = Assets.goldens.appending(path: "Networks")

  func model() throws -> ONNXModel { try ONNXModel(contentsOf: Self.folder.appending(path: file).path) }

  /// `input`, and PyTorch's `logits`, `cotangent` and `gradient` of the input.
  func tensor(_ name: String) throws -> Tensor {
    try NPY.read(Self.folder.appending(path: #require(tensors[name])).path)
  }
}
