import CatenaChains
import CatenaFormats
import CatenaGraph
import CatenaTensors
import TestSupport

/// A network that ships with the repository, and images for it.
enum ShippedNetwork: String, CaseIterable, Sendable {
  case resnet20 = "cifar10_resnet20"
  case resnet8 = "mlperf_tiny_resnet8"
  case tinyVGG = "tinyvgg_10c"
  case squeezeNet = "squeezenet_v1.0_dc"

  /// The file.
  var path: String { Assets.samples.appending(path: "models/\(rawValue).onnx").path }

  /// The network as the file has it.
  func model() throws -> ONNXModel { try ONNXModel(contentsOf: path) }

  /// A region of images: at most 20 small ones, at most 8 photographs.
  func region(_ indices: [Int], name: String = "images") throws -> Region {
    let all = try SampleSource.samples([Assets.samples.appending(path: images).path])
    let samples = indices.map { all[$0] }
    return try Region(
      name: name, samples: preprocessing().tensor(of: samples), sampleNames: indices.map { "\(images)#\($0)" })
  }

  private var images: String {
    switch self {
    case .resnet20, .resnet8: "images/cifar10_demo.bin"
    case .tinyVGG, .squeezeNet: "images/imagenet"
    }
  }

  private func preprocessing() throws -> Preprocessing {
    switch self {
    case .resnet20: try .named("cifar10")
    case .resnet8: try .named("raw")
    case .tinyVGG: Preprocessing(steps: [.resize(width: 64, height: 64, .bilinear)])
    case .squeezeNet: try .named("squeezenet")
    }
  }
}

/// A small network with random weights, exported by PyTorch.
struct GoldenNetwork: Sendable {
  let name: String
  let file: String

  static let resnet = GoldenNetwork(name: "resnet", file: "torchscript_opset13")
  static let paddedShortcut = GoldenNetwork(name: "resnet_padded_shortcut", file: "torchscript_opset11")
  static let squeezeExcite = GoldenNetwork(name: "squeeze_excite", file: "torchscript_opset11")
  static let denseNet = GoldenNetwork(name: "densenet", file: "torchscript_opset17")
  static let mobileNet = GoldenNetwork(name: "mobilenet_v2", file: "torchscript_opset11")
  static let fixedBatch = GoldenNetwork(name: "fixed_batch", file: "torchscript_opset13")

  /// The network as the file has it.
  func model() throws -> ONNXModel {
    try ONNXModel(contentsOf: Assets.goldens.appending(path: "Networks/\(name)/\(file).onnx").path)
  }

  /// A region of seeded noise.
  func region(_ count: Int, seed: UInt64 = 1) throws -> Region {
    let model = try model()
    let graph = try model.graph(batch: model.fixedBatch ?? 1)
    return try noise(count, sample: graph.shape(graph.inputs[0]).dimensions.dropFirst(), seed: seed)
  }
}

/// A region of seeded samples in -1 ... 1.
func noise(_ count: Int, sample: some Collection<Int>, seed: UInt64) throws -> Region {
  var generator = SeededGenerator(seed: seed)
  let shape = Shape([count] + sample)
  let values = (0..<shape.elementCount).map { _ in Float(2 * generator.uniform() - 1) }
  return try Region(
    name: "noise \(seed)", samples: Tensor(values, shape: shape), sampleNames: (0..<count).map { "sample \($0)" })
}

extension Region {
  /// Some of the samples.
  func part(_ range: Range<Int>) throws -> Region {
    let size = samples.elementCount / count
    var shape = samples.shape
    shape[0] = range.count
    return try Region(
      name: "\(name) \(range)",
      samples: Tensor(Array(samples.floats[range.lowerBound * size..<range.upperBound * size]), shape: shape),
      sampleNames: Array(sampleNames[range]))
  }
}

extension ChainSettings {
  /// Settings for a short search.
  static func short(steps: Int = 20, batch: Int = 32, seed: UInt64 = 0) -> ChainSettings {
    var settings = ChainSettings()
    settings.steps = steps
    settings.batch = batch
    settings.seed = seed
    // Everything that a search can do, also what the defaults leave out.
    settings.firstTemperature = 0.5
    settings.variants = 4
    // Each phase gets some of twenty steps.
    settings.branchEnd = 0.2
    return settings
  }
}
