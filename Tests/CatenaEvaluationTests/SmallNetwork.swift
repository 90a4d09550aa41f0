import CatenaAutodiff
import CatenaChains
import CatenaFormats
import CatenaGraph
import CatenaReference
import CatenaTensors
import Foundation
import TestSupport

/// A residual network with random weights and a batch that is free, and what the reference makes of it in double.
struct SmallNetwork {
  let model: ONNXModel
  let samples: Tensor

  init(samples count: Int) throws {
    model = try ONNXModel(
      contentsOf: Assets.goldens.appending(path: "Networks/resnet/torchscript_opset13.onnx").path)
    let graph = try model.graph(batch: count)
    var generator = SeededGenerator(seed: 1)
    let shape = graph.shape(graph.inputs[0])
    samples = Tensor((0..<shape.elementCount).map { _ in Float(2 * generator.uniform() - 1) }, shape: shape)
  }

  func network(batch: Int) throws -> ChainNetwork { try ChainNetwork(model: model, batch: batch) }

  /// Values of the gated network under one mask of units and blocks.
  func values(
    _ units: [Double], _ blocks: [Double], _ wanted: (GatedGraph) -> [ValueID]
  ) throws -> [Tensor] {
    let network = try network(batch: samples.shape[0])
    let gated = try network.graph.gated(network.sites, parametrization: .identity)
    func row(_ numbers: [Double]) -> Tensor {
      Tensor(doubles: numbers, shape: [1, numbers.count], elementType: .float64)
    }
    var inputs: ValueMap = [gated.graph.inputs[0]: samples, gated.scores: row(units)]
    if let blockScores = gated.blockScores { inputs[blockScores] = row(blocks) }
    let ids = wanted(gated)
    let results = try Reference.run(gated.graph, inputs: inputs, precision: .double, values: ids)
    return ids.compactMap { results[$0] }
  }

  /// Rows of logits under one mask.
  func logits(_ units: [Double], _ blocks: [Double]) throws -> [[Double]] {
    let table = try values(units, blocks) { [$0.graph.outputs[0]] }[0]
    let width = table.elementCount / table.shape[0]
    return (0..<table.shape[0]).map { Array(table.doubles[$0 * width..<($0 + 1) * width]) }
  }

  /// log softmax.
  static func logProbabilities(_ row: [Double]) -> [Double] {
    let sum = log(row.map { exp($0) }.reduce(0, +))
    return row.map { $0 - sum }
  }
}
