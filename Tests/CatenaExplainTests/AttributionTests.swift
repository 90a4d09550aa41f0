import CatenaCPU
import CatenaCompute
import CatenaExplain
import CatenaFormats
import CatenaTensors
import Foundation
import TestSupport
import Testing

/// A shipped network with a few inputs of its own size.
struct SampleNetwork: Sendable {
  let model: ONNXModel
  let samples: Tensor

  static func resnet8(_ range: Range<Int> = 0..<3) throws -> SampleNetwork {
    try SampleNetwork("mlperf_tiny_resnet8", "raw", range)
  }
  static func resnet20(_ range: Range<Int> = 0..<3) throws -> SampleNetwork {
    try SampleNetwork("cifar10_resnet20", "cifar10", range)
  }

  init(_ name: String, _ preprocessing: String, _ range: Range<Int>) throws {
    model = try ONNXModel(contentsOf: Assets.samples.appending(path: "models/\(name).onnx").path)
    let file = Assets.samples.appending(path: "images/cifar10_demo.bin").path
    let found = try SampleSource.samples(["\(file)#\(range.lowerBound)-\(range.upperBound - 1)"])
    samples = try Preprocessing.named(preprocessing).tensor(of: found)
  }

  func explainer(batch: Int? = nil, options: CompileOptions = CompileOptions()) throws -> Explainer {
    try Explainer(model: model, backend: CPUBackend(), options: options, batch: batch)
  }

  func sample(_ index: Int) -> Tensor {
    let size = samples.elementCount / samples.shape[0]
    let values = samples.elements(of: Float.self)
    return Tensor(
      Array(values[index * size..<(index + 1) * size]), shape: Shape([1] + samples.shape.dimensions.dropFirst()))
  }
}

/// |found - expected| / |expected|
func relativeError(_ found: [Double], _ expected: [Double]) -> Double {
  precondition(found.count == expected.count, "\(found.count) and \(expected.count) numbers are compared")
  let error = zip(found, expected).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
  return (error / max(expected.reduce(0) { $0 + $1 * $1 }, .leastNormalMagnitude)).squareRoot()
}

@Suite("attributions")
struct AttributionTests {
  private static var settings: AttributionSettings {
    var settings = AttributionSettings()
    settings.steps = 8
    settings.window = [8, 8]
    settings.limeSamples = 20
    settings.segments = 20
    settings.masks = 16
    return settings
  }

  @Test("of several samples at once are those of one by one", arguments: AttributionMethod.allCases)
  func batched(method: AttributionMethod) async throws {
    let network = try SampleNetwork.resnet8()
    let together = try await network.explainer(batch: 5).attribution(
      of: network.samples, method: method, settings: Self.settings)
    let single = try network.explainer(batch: 4)
    let size = together.relevance.elementCount / 3
    for index in 0..<3 {
      let alone = try await single.attribution(
        of: network.sample(index), method: method, targets: [together.targets[index]], settings: Self.settings)
      let part = Array(together.relevance.doubles[index * size..<(index + 1) * size])
      #expect(part.contains { $0 != 0 })
      #expect(relativeError(part, alone.relevance.doubles) < 1e-4, "sample \(index)")
    }
  }

  @Test("take the distance from the baseline, and score pixels with or without sign")
  func baseline() async throws {
    let network = try SampleNetwork.resnet20()
    let explainer = try network.explainer()
    let plain = try await explainer.attribution(of: network.samples, method: .inputTimesGradient)
    let guided = try await explainer.attribution(of: network.samples, method: .saliency)
    var settings = AttributionSettings()
    settings.baseline = Tensor([Float](repeating: 0.25, count: 3072), shape: [3, 32, 32])
    let shifted = try await explainer.attribution(
      of: network.samples, method: .inputTimesGradient, settings: settings)
    let (inputs, before, after) = (network.samples.doubles, plain.relevance.doubles, shifted.relevance.doubles)
    for (index, size) in guided.relevance.doubles.enumerated() where abs(inputs[index]) > 0.1 {
      #expect(abs(abs(before[index] - after[index]) - 0.25 * size) < 1e-4)
    }
    let (signed, sizes) = (shifted.pixelScores(of: 1), shifted.pixelScores(of: 1, as: .size))
    #expect(signed.contains { $0 < 0 } && sizes == signed.map(abs))
  }

  @Test("that promise completeness add up to the target's change")
  func completeness() async throws {
    let network = try SampleNetwork.resnet20()
    let explainer = try network.explainer()
    let deepLIFT = try await explainer.attribution(of: network.samples, method: .deepLIFT)
    let start = try await explainer.logits(of: Tensor(zeros: [1, 3, 32, 32])).doubles
    for sample in 0..<3 {
      let (target, logits) = (deepLIFT.targets[sample], deepLIFT.logits.doubles)
      let change = logits[sample * 10 + target] - start[target]
      let total = deepLIFT.pixelScores(of: sample).reduce(0.0) { $0 + Double($1) }
      #expect(abs(total - change) < 1e-3 * abs(change))
      #expect(abs(try #require(deepLIFT.completenessDelta)[sample] - (total - change)) < 1e-3)
    }
    var settings = AttributionSettings()
    settings.steps = 300
    let integrated = try await explainer.attribution(
      of: network.sample(0), method: .integratedGradients, settings: settings)
    let change = integrated.logits.doubles[integrated.targets[0]] - start[integrated.targets[0]]
    let total = integrated.relevance.doubles.reduce(0, +)
    #expect(abs(total - change) < 0.005 * abs(change))
    #expect(abs(try #require(integrated.completenessDelta)[0] - (total - change)) < 1e-3)
  }

  @Test("of relevance propagation conserve the logit but for the leak", arguments: [true, false], [true, false])
  func conservation(bounds: Bool, biases: Bool) async throws {
    let network = try SampleNetwork.resnet20()
    var settings = AttributionSettings()
    settings.biasesShareRelevance = biases
    if bounds { settings.inputBounds = InputBounds(try Preprocessing.named("cifar10")) }
    let explainer = try network.explainer()
    for method in [AttributionMethod.lrp, .lrpEpsilon] {
      let found = try await explainer.attribution(of: network.samples, method: method, settings: settings)
      for sample in 0..<3 {
        let logit = found.logits.doubles[sample * 10 + found.targets[sample]]
        let total = found.pixelScores(of: sample).reduce(0.0) { $0 + Double($1) }
        let leak = try #require(found.leak)[sample]
        Measured.report("\(method.rawValue): logit \(logit), relevance \(total), leak \(leak)")
        #expect(abs(logit - total - leak) < 1e-4 * max(abs(logit), abs(leak)))
      }
    }
  }

  @Test("of noisy methods are means over draws that do not depend on the batch")
  func noise() async throws {
    let network = try SampleNetwork.resnet8()
    let explainer = try network.explainer()
    var settings = AttributionSettings()
    settings.smoothGradDeviation = 0
    let smooth = try await explainer.attribution(of: network.samples, method: .smoothGrad, settings: settings)
    let plain = try await explainer.attribution(of: network.samples, method: .saliency)
    #expect(relativeError(smooth.relevance.doubles, plain.relevance.doubles) < 1e-5)
    settings.smoothGradDeviation = 20
    let first = try await explainer.attribution(of: network.samples, method: .smoothGrad, settings: settings)
    let again = try await explainer.attribution(of: network.samples, method: .smoothGrad, settings: settings)
    #expect(first.relevance.isBitIdentical(to: again.relevance))
    settings.seed = 1
    let other = try await explainer.attribution(of: network.samples, method: .smoothGrad, settings: settings)
    #expect(relativeError(other.relevance.doubles, first.relevance.doubles) > 0.01)
  }

  @Test("refuse what makes no sense, and say so")
  func refusals() async throws {
    let network = try SampleNetwork.resnet8()
    let explainer = try network.explainer()
    await #expect(throws: ExplanationError.self) {
      _ = try await explainer.attribution(of: network.samples, method: .saliency, targets: [10, 0, 0])
    }
    await #expect(throws: ExplanationError.self) {
      _ = try await explainer.attribution(of: Tensor(zeros: [1, 3, 16, 16]), method: .saliency)
    }
    await #expect(throws: ExplanationError.self) {
      let broken = Tensor([Float](repeating: .nan, count: 3072), shape: [1, 3, 32, 32])
      _ = try await explainer.attribution(of: broken, method: .saliency)
    }
    var settings = AttributionSettings()
    settings.layer = "nowhere"
    do {
      _ = try await explainer.attribution(of: network.samples, method: .gradCAM, settings: settings)
      Issue.record("there is no such layer")
    } catch { #expect("\(error)".contains("no image-like layer 'nowhere'")) }
    settings = AttributionSettings()
    (settings.window, settings.strides) = ([3, 3], [3, 4])
    do {
      _ = try await explainer.attribution(of: network.samples, method: .occlusion, settings: settings)
      Issue.record("pixels between windows were left out")
    } catch { #expect("\(error)".contains("stride of 4 leaves pixels out")) }
    settings = AttributionSettings()
    settings.steps = 1_000_000
    await #expect(throws: ExplanationError.self) {
      _ = try await explainer.attribution(of: network.samples, method: .integratedGradients, settings: settings)
    }
  }

  @Test("are left out where a network does not suit them, if all were asked for")
  func unsuitable() async throws {
    var builder = ModelBuilder()
    builder.input("x", [-1, 3, 8, 8])
    builder.output("y", [-1, 4])
    builder.constant("w", randomTensor([6, 3, 3, 3], seed: 1))
    builder.constant("v", randomTensor([6, 4], seed: 2))
    builder.node("Conv", ["x", "w"], ["c"])
    // A product of two values: no rule of DeepLIFT's or of relevance propagation's.
    builder.node("Sigmoid", ["c"], ["s"])
    builder.node("Mul", ["c", "s"], ["a"])
    builder.node("GlobalAveragePool", ["a"], ["m"])
    builder.node("Flatten", ["m"], ["f"])
    builder.node("Gemm", ["f", "v"], ["y"])
    let explainer = try Explainer(model: builder.model(), backend: CPUBackend())
    let sample = Sample(name: "noise", content: .tensor(randomTensor([3, 8, 8], seed: 3)))
    let inputs = try ExplanationInputs([sample], preprocessing: Preprocessing.named("raw"))
    func run(_ methods: [AttributionMethod], skips: Bool) async throws -> ExplanationSummary {
      let folder = try TemporaryFolder()
      return try await ExplanationRun(
        networks: [.init(title: "dense", explainer: explainer)], inputs: inputs, methods: methods,
        settings: AttributionSettings(), skipsUnsuitable: skips
      ).write(into: folder.path)
    }
    let summary = try await run([.deepLIFT, .saliency, .lrp], skips: true)
    #expect(summary.skipped.map(\.method) == ["deep-lift", "lrp"])
    #expect(summary.skipped.allSatisfy { $0.reason.contains("'a' (binary)") })
    #expect(summary.images[0].maps.map(\.method) == ["saliency"])
    await #expect(throws: ExplanationError.self) { try await run([.deepLIFT, .saliency], skips: false) }
    await #expect(throws: ExplanationError.self) { try await run([.lrp, .deepLIFT], skips: true) }
  }

  @Test("keep to the memory limit with all programs that are kept")
  func memory() async throws {
    let network = try SampleNetwork.resnet8()
    let free = try network.explainer()
    let methods: [AttributionMethod] = [.saliency, .deepLIFT, .lrp, .guidedBackpropagation]
    var held: [Int] = []
    for method in methods {
      _ = try await free.attribution(of: network.samples, method: method)
      held.append(await free.heldBytes)
    }
    let limit = try #require(held.last) * 2 / 3
    let bound = try network.explainer(options: CompileOptions(memoryLimit: limit))
    for method in methods {
      let found = try await bound.attribution(of: network.samples, method: method)
      let expected = try await free.attribution(of: network.samples, method: method)
      #expect(relativeError(found.relevance.doubles, expected.relevance.doubles) < 1e-4)
      #expect(await bound.heldBytes <= limit)
    }
  }

  @Test("leave nothing behind: two calls at once give what each gives alone")
  func concurrency() async throws {
    let network = try SampleNetwork.resnet8()
    let explainer = try network.explainer()
    let alone = try await explainer.attribution(of: network.sample(0), method: .saliency)
    async let first = explainer.attribution(of: network.sample(0), method: .saliency)
    async let second = explainer.attribution(of: network.sample(1), method: .saliency)
    let (left, right) = try await (first, second)
    #expect(left.relevance.isBitIdentical(to: alone.relevance))
    #expect(!right.relevance.isBitIdentical(to: alone.relevance))
  }
}
