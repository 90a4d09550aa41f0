import CatenaAutodiff
import CatenaFormats
import CatenaGraph
import TestSupport
import Testing

/// How many units, layers and blocks the architecture of a network has, counted by hand.
struct RealNetwork: Sendable, CustomTestStringConvertible {
  let name: String
  let units: Int
  let layers: Int
  let blocks: Int
  var testDescription: String { name }

  static let all = [
    // 1 + 18 convolutions of 16, 32, 64 filters, 3 blocks each; option-A shortcuts
    RealNetwork(name: "cifar10_resnet20", units: 7 * 16 + 6 * 32 + 6 * 64, layers: 19, blocks: 9),
    RealNetwork(name: "cifar10_resnet56", units: 19 * 16 + 18 * 32 + 18 * 64, layers: 55, blocks: 27),
    // 6 convolutions, batch norm behind ReLU, and a hidden fully connected layer
    RealNetwork(name: "cifar10_vgg6bn", units: 2 * (48 + 64 + 128) + 128, layers: 7, blocks: 0),
    // with projections in the second and third block
    RealNetwork(name: "mlperf_tiny_resnet8", units: 3 * 16 + 3 * 32 + 3 * 64, layers: 9, blocks: 3),
    // stem, 3 groups of 2 blocks of 2 convolutions, 2 projections; pre-activation
    RealNetwork(name: "nad_wrn16_1_clean", units: 5 * 16 + 5 * 32 + 5 * 64, layers: 15, blocks: 6),
    RealNetwork(name: "tinyvgg_10c", units: 4 * 10, layers: 4, blocks: 0),
    // stem, 8 fire modules (two of each size) with two expanding convolutions each; the classifier is a convolution
    RealNetwork(
      name: "squeezenet_v1.0_dc", units: 96 + 2 * (16 + 32 + 48 + 64) + 4 * (64 + 128 + 192 + 256), layers: 25,
      blocks: 0),
    // stem, 17 bottlenecks (the first without expansion) and the last convolution; depthwise layers have no units
    RealNetwork(
      name: "mobilenet_v2_1.0_224_dequant",
      units: 32 + 16 + 2 * 24 + 3 * 32 + 4 * 64 + 3 * 96 + 3 * 160 + 320 + 1280
        + 6 * (16 + 2 * 24 + 3 * 32 + 4 * 64 + 3 * 96 + 3 * 160), layers: 35, blocks: 10),
  ]
}

@Suite("Units and blocks of real networks")
struct RealNetworkTests {
  @Test(.enabled(if: Assets.root.isPresent, Comment(rawValue: Assets.root.reason)), arguments: RealNetwork.all)
  func areAllFoundGatedAndDifferentiated(_ network: RealNetwork) throws {
    let file = try #require(Assets.asset("models/\(network.name).onnx").url)
    let graph = try ONNXModel(contentsOf: file.path).graph(batch: 4)
    let sites = graph.gateSites()
    #expect(sites.unitCount == network.units)
    #expect(sites.layers.count == network.layers)
    #expect(sites.blocks.count == network.blocks)
    let gated = try graph.gated(sites, regions: 2)
    var training = gated.graph
    let cotangent = training.addInput("cotangent", training.type(training.outputs[0]))
    let scores = [gated.scores, gated.blockScores].compactMap { $0 }
    let result = try training.differentiating(
      [.init(training.outputs[0], cotangent: cotangent)], withRespectTo: scores + [graph.inputs[0]],
      rules: GradientRules(gateGradients: .fromOutput))
    try result.graph.checkInvariants()
    for score in scores {
      let gradient = try #require(result.gradients[score])
      #expect(result.graph.constants[gradient] == nil, "the scores have an influence")
    }
  }
}
