import CatenaExplain
import CatenaFormats
import CatenaGraph
import CatenaReference
import CatenaTensors
import Foundation
import TestSupport
import Testing

/// Methods with random draws, and those that Captum does not have or cannot be given draws for, against their formulas
/// written down once more, with the same draws.
@Suite("attributions and their formulas")
struct LiteralTests {
  private let network: SampleNetwork
  private let explainer: Explainer
  private let target = 4
  private let size = 3 * 32 * 32
  private let plane = 32 * 32

  init() throws {
    network = try SampleNetwork.resnet20(0..<1)
    explainer = try network.explainer()
  }

  /// The probability or the logit of the target.
  private func scores(_ inputs: [[Float]], probability: Bool) async throws -> [Double] {
    let logits = try await explainer.logits(of: Tensor(inputs.flatMap { $0 }, shape: [inputs.count, 3, 32, 32])).doubles
    return inputs.indices.map { row in
      let values = Array(logits[row * 10..<(row + 1) * 10])
      return probability ? exp(values[target]) / values.reduce(0) { $0 + exp($1) } : values[target]
    }
  }

  /// The gradient of the target's logit: input times gradient at a distance of 1 from the baseline.
  private func gradient(at input: [Float]) async throws -> [Double] {
    var settings = AttributionSettings()
    settings.baseline = Tensor(input.map { $0 - 1 }, shape: [3, 32, 32])
    return try await explainer.attribution(
      of: Tensor(input, shape: [1, 3, 32, 32]), method: .inputTimesGradient, targets: [target], settings: settings
    ).relevance.doubles
  }

  private func found(_ method: AttributionMethod, _ settings: AttributionSettings) async throws -> [Double] {
    try await explainer.attribution(of: network.samples, method: method, targets: [target], settings: settings)
      .relevance.doubles
  }

  /// Bilinear interpolation between the centres of cells, those at the edge going on outside.
  private func enlarged(_ cells: [Double], _ side: Int, to newSide: Int) -> [Double] {
    (0..<newSide * newSide).map { place in
      func position(_ index: Int) -> (first: Int, second: Int, part: Double) {
        let exact = max(0, (Double(index) + 0.5) * Double(side) / Double(newSide) - 0.5)
        return (Int(exact), min(Int(exact) + 1, side - 1), exact - Double(Int(exact)))
      }
      let (row, column) = (position(place / newSide), position(place % newSide))
      func line(_ row: Int) -> Double {
        (1 - column.part) * cells[row * side + column.first] + column.part * cells[row * side + column.second]
      }
      return (1 - row.part) * line(row.first) + row.part * line(row.second)
    }
  }

  @Test("RISE: the mean of the masks, weighted by the target's probability, over the part that is visible")
  func rise() async throws {
    var settings = AttributionSettings()
    (settings.masks, settings.maskCells, settings.maskProbability, settings.seed) = (30, 5, 0.4, 7)
    let draws = RandomMasks(settings, height: 32, width: 32).masks
    #expect(draws.count == 30 && Set(draws.map(\.top)).count > 3 && draws.allSatisfy { $0.top < 7 && $0.left < 7 })
    let visible = draws.flatMap(\.cells).reduce(0, +) / Float(30 * 25)
    #expect(abs(visible - 0.4) < 0.06)
    // Cells of ceil(32 / 5) = 7 pixels and one cell more, from which a window of the picture's size is cut.
    let masks = draws.map { draw -> [Double] in
      let large = enlarged(draw.cells.map(Double.init), 5, to: 6 * 7)
      return (0..<plane).map { large[($0 / 32 + draw.top) * 42 + $0 % 32 + draw.left] }
    }
    let input = network.samples.floats
    let inputs = masks.map { mask in input.indices.map { input[$0] * Float(mask[$0 % plane]) } }
    let weights = try await scores(inputs, probability: true)
    let expected = (0..<plane).map { pixel in
      zip(weights, masks).reduce(0) { $0 + $1.0 * $1.1[pixel] } / (30 * 0.4)
    }
    #expect(relativeError(try await found(.rise, settings), expected) < 1e-4)
  }

  @Test("Score-CAM: a layer's channels, weighted by softmax of the target on the input that each leaves visible")
  func scoreCAM() async throws {
    let (name, shape) = try await explainer.layer(named: nil)
    let (channels, side) = (shape[1], shape[2])
    let graph = try network.model.graph(batch: 1)
    let layer = try #require(graph.nodes.flatMap(\.outputs).first { graph[$0].name == name })
    let activations = try #require(
      try Reference.run(
        graph, inputs: [graph.inputs[0]: network.samples], precision: .declared, values: [layer])[layer]
    ).doubles
    let input = network.samples.floats
    let maps = (0..<channels).map {
      enlarged(Array(activations[$0 * side * side..<($0 + 1) * side * side]), side, to: 32)
    }
    let inputs = maps.map { map -> [Float] in
      let (low, high) = (map.min() ?? 0, map.max() ?? 0)
      return input.indices.map { high > low ? input[$0] * Float((map[$0 % plane] - low) / (high - low)) : 0 }
    }
    let rises = try await scores(inputs, probability: false)
    let total = rises.reduce(0) { $0 + exp($1) }
    let expected = (0..<plane).map { pixel in
      max(0, zip(rises, maps).reduce(0) { $0 + exp($1.0) / total * $1.1[pixel] })
    }
    #expect(expected.contains { $0 > 0 })
    #expect(relativeError(try await found(.scoreCAM, AttributionSettings()), expected) < 1e-4)
  }

  @Test("gradient SHAP: the mean, over the draws, of the gradient on the way to a noisy input times the distance")
  func gradientSHAP() async throws {
    var settings = AttributionSettings()
    (settings.noiseSamples, settings.gradientSHAPDeviation, settings.seed) = (4, 0.2, 3)
    settings.baseline = Tensor([Float](repeating: -0.5, count: size), shape: [3, 32, 32])
    let draws = NoiseDraws(settings, size: size, deviation: 0.2)
    #expect(draws.positions.allSatisfy { (0..<1).contains($0) } && Set(draws.positions).count == 4)
    let deviation = (draws.noise.reduce(0) { $0 + Double($1 * $1) } / Double(4 * size)).squareRoot()
    #expect(abs(deviation - 0.2) < 0.01)
    let input = network.samples.floats
    var expected = [Double](repeating: 0, count: size)
    for draw in 0..<4 {
      let noisy = input.indices.map { input[$0] + draws.noise[draw * size + $0] }
      let gradient = try await gradient(at: noisy.map { draws.positions[draw] * ($0 + 0.5) - 0.5 })
      for index in 0..<size { expected[index] += gradient[index] * Double(noisy[index] + 0.5) / 4 }
    }
    #expect(relativeError(try await found(.gradientSHAP, settings), expected) < 1e-3)
  }

  @Test("SmoothGrad: the mean size of the gradient at noisy inputs")
  func smoothGrad() async throws {
    var settings = AttributionSettings()
    (settings.noiseSamples, settings.smoothGradDeviation, settings.seed) = (3, 0.3, 5)
    let draws = NoiseDraws(settings, size: size, deviation: 0.3)
    let input = network.samples.floats
    var expected = [Double](repeating: 0, count: size)
    for draw in 0..<3 {
      let gradient = try await gradient(at: input.indices.map { input[$0] + draws.noise[draw * size + $0] })
      for index in 0..<size { expected[index] += abs(gradient[index]) / 3 }
    }
    #expect(relativeError(try await found(.smoothGrad, settings), expected) < 1e-3)
  }

  /// What minimises the lasso is tested by itself, and so are the superpixels.
  @Test("LIME: the lasso over superpixels, weighted by the cosine of what each draw leaves")
  func lime() async throws {
    var settings = AttributionSettings()
    (settings.segments, settings.limeSamples, settings.seed) = (16, 24, 11)
    let input = network.samples.floats
    let labels = Superpixels.labels(input, channels: 3, height: 32, width: 32, count: 16)
    let count = (labels.max() ?? 0) + 1
    let draws = LIMEPerturbations(settings, segments: count)
    let inputs = (0..<24).map { row in input.indices.map { draws[row][labels[$0 % plane]] ? input[$0] : 0 } }
    func product(_ left: [Float], _ right: [Float]) -> Double {
      zip(left, right).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    let weights = inputs.map { part in
      let cosine = product(part, input) / (product(part, part) * product(input, input)).squareRoot()
      return exp(-(1 - cosine) * (1 - cosine) / 2)
    }
    let coefficients = Lasso.coefficients(
      features: (0..<24).map { draws[$0].map { $0 ? 1 : 0 } }, targets: try await scores(inputs, probability: false),
      weights: weights, regularization: 0.01)
    let expected = (0..<size).map { coefficients[labels[$0 % plane]] }
    #expect(expected.contains { $0 != 0 })
    #expect(relativeError(try await found(.lime, settings), expected) < 1e-3)
  }
}
