import CatenaAutodiff
import CatenaCPU
import CatenaChains
import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaOpenCL
import CatenaReference
import CatenaTensors
import Foundation
import TestSupport
import Testing

@Suite("Sensitivities of gates")
struct SensitivityTests {
  @Test(
    "many draws come near the Fisher information itself",
    arguments: [GoldenNetwork.resnet, .squeezeExcite, .denseNet, .mobileNet])
  func literal(network: GoldenNetwork) async throws {
    let region = try network.region(3)
    let estimate = try await information(of: [region], network.model(), batch: 3, draws: 100)[0]
    let expected = try LiteralInformation(network.model(), region).information
    #expect(estimate.count == expected.count)
    let largest = expected.max() ?? 0
    #expect(largest > 0)
    for (unit, (found, exact)) in zip(estimate, expected).enumerated() where exact > 0.01 * largest {
      #expect(abs(found / exact - 1) < 0.1, "unit \(unit): \(found), \(exact)")
    }
    let mean = zip(estimate, expected).reduce(0) { $0 + $1.0 } / expected.reduce(0, +)
    #expect(abs(mean - 1) < 0.02, "\(mean)")
  }

  @Test("a region gives the same alone, among others and in chunks")
  func layout() async throws {
    let network = GoldenNetwork.resnet
    let regions = [try network.region(2, seed: 1), try network.region(7, seed: 2), try network.region(4, seed: 3)]
    let together = try await information(of: regions, network.model(), batch: 6, draws: 4)
    for (index, region) in regions.enumerated() {
      let alone = try await information(of: [region], network.model(), batch: region.count, draws: 4)[0]
      expectEqual(together[index], alone, "region \(index)")
    }
  }

  @Test(
    "OpenCL gives the processor's",
    .enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
  func device() async throws {
    let network = ShippedNetwork.resnet20
    let region = try network.region([0, 10])
    let expected = try await information(of: [region], network.model(), batch: 2, draws: 2)[0]
    let found = try await information(
      of: [region], network.model(), batch: 2, draws: 2, backend: DeviceUnderTest.backend)[0]
    expectEqual(found, expected, "ResNet-20")
  }

  @Test("scores begin in the order of sensitivities, and their gates have the size aimed at")
  func order() throws {
    let network = try ChainNetwork(model: ShippedNetwork.resnet20.model(), batch: 2)
    var settings = ChainSettings()
    (settings.initialNoise, settings.firstSize, settings.draws) = (0, 0.6, 2)
    var generator = SeededGenerator(seed: 3)
    let sensitivities = (0..<2).map { _ in (0..<network.sites.unitCount).map { _ in generator.uniform() } }
    let state = OptimizerState(
      network: network, keep: [0.1, 0.8], settings: settings, sensitivities: sensitivities)
    for (scores, row) in zip(state.units[0], sensitivities) {
      let byScore = scores.indices.sorted { scores[$0] < scores[$1] }
      #expect(byScore == row.indices.sorted { row[$0] < row[$1] })
    }
    let offsets = state.clock[1].floats
    for (region, size) in [Float(0.5), 0.8].enumerated() {
      let gates = state.units[0][region].map { 1 / (1 + exp(-($0 - offsets[region]) / settings.firstTemperature)) }
      #expect(abs(gates.reduce(0, +) / Float(gates.count) - size) < 1e-3)
    }
  }

  private func information(
    of regions: [Region], _ model: ONNXModel, batch: Int, draws: Int, backend: any Backend = CPUBackend()
  ) async throws -> [[Double]] {
    let network = try ChainNetwork(model: model, batch: batch)
    let evaluator = try await ChainEvaluator(network: network, backend: backend, options: CompileOptions())
    var dense: [[[Float]]] = []
    for region in regions { dense.append(try await evaluator.denseLogits(of: region)) }
    var settings = ChainSettings()
    settings.batch = batch
    let batches = RegionBatches(network: network, regions: regions, dense: dense, settings: settings)
    let whole = try ChainNetwork(model: model, batch: batches.samplesPerRun)
    let sensitivity = try await GateSensitivity(network: whole, backend: backend, options: CompileOptions())
    return try await sensitivity.information(of: batches, dense: dense, draws: draws, seed: 5) { _ in }
  }

  private func expectEqual(_ found: [Double], _ expected: [Double], _ name: String) {
    let largest = expected.max() ?? 0
    #expect(largest > 0 && found.count == expected.count)
    let deviation = zip(found, expected).map { abs($0 - $1) }.max() ?? .infinity
    #expect(deviation <= 1e-4 * largest, "\(name): \(deviation / largest)")
  }
}

/// The diagonal of the gates' Fisher information as its formula says it, in double: every class of every sample, gradients
/// by central differences of the reference's forward pass.
private struct LiteralInformation {
  let information: [Double]

  init(_ model: ONNXModel, _ region: Region) throws {
    let network = try ChainNetwork(model: model, batch: region.count)
    let gated = try network.graph.gated(network.sites, regions: 1, parametrization: .identity)
    let count = network.sites.unitCount
    func logProbabilities(_ gates: [Float]) throws -> [[Double]] {
      var inputs: ValueMap = [
        gated.graph.inputs[0]: region.samples, gated.scores: Tensor(gates, shape: [1, gates.count]),
      ]
      if let blocks = gated.blockScores {
        let width = network.sites.blocks.count
        inputs[blocks] = Tensor([Float](repeating: 1, count: width), shape: [1, width])
      }
      let output = gated.graph.outputs[0]
      let logits = try Reference.run(gated.graph, inputs: inputs, precision: .double)[output]
      let width = (logits?.elementCount ?? 0) / region.count
      return (logits?.doubles ?? []).chunked(width).map { row in
        let scaled = row.map { $0 / 3 }
        let sum = log(scaled.map(exp).reduce(0, +))
        return scaled.map { $0 - sum }
      }
    }
    let ones = [Float](repeating: 1, count: count)
    let q = try logProbabilities(ones).map { $0.map(exp) }
    let step: Float = 0x1p-10
    var information: [Double] = []
    for unit in 0..<count {
      var (above, below) = (ones, ones)
      above[unit] += step
      below[unit] -= step
      let (high, low) = (try logProbabilities(above), try logProbabilities(below))
      var sum = 0.0
      for sample in q.indices {
        for label in q[sample].indices {
          let slope = (high[sample][label] - low[sample][label]) / Double(2 * step)
          sum += q[sample][label] * slope * slope
        }
      }
      information.append(sum)
    }
    self.information = information
  }
}

extension [Double] {
  fileprivate func chunked(_ width: Int) -> [[Double]] {
    stride(from: 0, to: count, by: Swift.max(width, 1)).map { Array(self[$0..<Swift.min($0 + width, count)]) }
  }
}
