import Catena
import TestSupport
import Testing

/// A network and images that ship with the repository.
struct SampleNetwork: Sendable, CustomTestStringConvertible {
  let name: String
  let images: String
  let preprocessing: Preprocessing
  var testDescription: String { name }

  static let all = [
    SampleNetwork("cifar10_resnet20", "cifar10_demo.bin", preset: "cifar10"),
    SampleNetwork("cifar10_resnet56", "cifar10_demo.bin", preset: "cifar10"),
    SampleNetwork("mlperf_tiny_resnet8", "cifar10_demo.bin", preset: "raw"),
    SampleNetwork("squeezenet_v1.0_dc", "imagenet", preset: "squeezenet"),
    SampleNetwork(
      "tinyvgg_10c", "imagenet", Preprocessing(steps: [.resize(width: 64, height: 64, .bilinear)])),
  ]

  init(_ name: String, _ images: String, _ preprocessing: Preprocessing) {
    (self.name, self.images, self.preprocessing) = (name, images, preprocessing)
  }

  init(_ name: String, _ images: String, preset: String) {
    guard let found = Preprocessing.presets.first(where: { $0.name == preset }) else {
      preconditionFailure("there is no preset \(preset)")
    }
    self.init(name, images, found.preprocessing)
  }
}

/// What a clone without anything else can prove: the logits are onnxruntime's, from the file of the image to the class.
/// The goldens are made by Tools/peers/make_sample_goldens.py.
@Suite("Networks that ship with the repository", .serialized)
struct SampleNetworkTests {
  @Test("golden logits", arguments: SampleNetwork.all)
  func logits(of network: SampleNetwork) async throws {
    let samples = try SampleSource.samples([Assets.samples.appending(path: "images/\(network.images)").path])
    let model = try ONNXModel(contentsOf: Assets.samples.appending(path: "models/\(network.name).onnx").path)
    let found = try await Run.logits(of: model, network.preprocessing.tensor(of: samples))
    let expected = try NPY.read(Assets.goldens.appending(path: "Samples/\(network.name).logits.npy").path)
    let comparison = LogitComparison(found, expected)
    Measured.report("\(network.name), shipped images: \(comparison)")
    #expect(comparison.difference <= logitTolerance)
    #expect(comparison.differentClasses.isEmpty)
  }
}
