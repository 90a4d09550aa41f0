import CatenaFormats
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

@Suite("ONNX import of real networks", .enabled(if: Assets.root.isPresent, "\(Assets.root.reason)"))
struct ONNXModelAssetTests {
  /// File, fixed batch, batch to import at, number of nodes after import, classes.
  static let networks: [(file: String, fixed: Int?, classes: Int)] = [
    ("cifar10_resnet20", nil, 10), ("cifar10_resnet56", nil, 10), ("cifar10_vgg6bn", nil, 10),
    ("cifar10_vit_b1", 1, 10), ("mlperf_tiny_resnet8", nil, 10), ("mobilenet_v2_1.0_224_dequant", nil, 1001),
    ("nad_wrn16_1_backdoored", nil, 10), ("nad_wrn16_1_clean", nil, 10), ("resnet18_ktb", nil, 1000),
    ("resnet50_pqf_large", nil, 1000), ("squeezenet_v1.0_dc", nil, 1000), ("tinyvgg_10c", nil, 10),
    ("vit_ibp_3_3_8", nil, 10),
  ]

  @Test("imports and keeps every invariant", arguments: networks)
  func imports(network: (file: String, fixed: Int?, classes: Int)) throws {
    let path = try #require(Assets.asset("models/\(network.file).onnx").url).path
    let model = try ONNXModel(contentsOf: path)
    #expect(model.fixedBatch == network.fixed)
    let batch = network.fixed ?? 2
    let graph = try model.graph(batch: batch)
    try graph.checkInvariants()
    #expect(graph.inputs.count == 1)
    #expect(graph.outputs.map { graph.shape($0) } == [[batch, network.classes]])
    #expect(graph.nodes.allSatisfy { $0.source != nil })
    // Every weight is an initialiser or a constant of the file, under its own name.
    for (id, tensor) in graph.constants {
      if let stored = model.initializers[graph[id].name] { #expect(tensor.isBitIdentical(to: stored)) }
    }
    if let fixed = network.fixed {
      #expect(throws: ONNXError.self) { try model.graph(batch: fixed + 1) }
    }
  }
}
