import Catena
import TestSupport
import Testing

@Suite(
  "Real networks and onnxruntime", .serialized,
  .enabled(if: AssetNetwork.availability.isPresent, "\(AssetNetwork.availability.reason)"),
  .enabled(if: Peer.availability.isPresent, "\(Peer.availability.reason)"))
struct NetworkLogitsTests {
  @Test("logits, classes and accuracy agree", arguments: AssetNetwork.all)
  func logits(of network: AssetNetwork) async throws {
    let (input, classes) = try network.input()
    let found = try await Run.logits(of: network.model(), input)
    let folder = try TemporaryFolder()
    let job = Peer.ONNXJob(model: network.path, input: try folder.write(input, "input"), output: "logits")
    let expected = try await Peer.onnxruntime([job], in: folder)[0]
    let comparison = LogitComparison(found, expected)
    Measured.report("\(network.name), \(classes.count) images: \(comparison)")
    #expect(comparison.difference <= logitTolerance)
    #expect(comparison.differentClasses.isEmpty)
    let correct = zip(found.rows, classes).count { topClass(of: $0) == $1 }
    Measured.report("\(network.name): \(correct) of \(classes.count) correct")
    #expect(correct == network.correct)
  }

  /// One network for every preprocessing and kind of file.
  @Test(
    "inputs are those that Pillow gives",
    arguments: AssetNetwork.named([
      "cifar10_resnet20", "cifar10_vgg6bn", "vit_ibp_3_3_8", "mlperf_tiny_resnet8", "tinyvgg_10c",
      "squeezenet_v1.0_dc", "mobilenet_v2_1.0_224_dequant", "resnet18_ktb",
    ]))
  func inputs(of network: AssetNetwork) async throws {
    let count = 50
    let found = try network.input(limit: count).tensor
    let folder = try TemporaryFolder()
    try await Peer.run(
      "accuracy.py", [network.path, network.images.path, "--limit", "\(count)", "--out", folder.path])
    let expected = try folder.read("\(network.name).input")
    // A few roundings of numbers no larger than the largest.
    #expect(difference(found, expected, tolerance: 1e-6) == nil)
  }
}
