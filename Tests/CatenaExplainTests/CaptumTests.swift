import CatenaCPU
import CatenaExplain
import CatenaFormats
import CatenaTensors
import Foundation
import TestSupport
import Testing

/// A network of the assets that Captum can explain.
struct CaptumNetwork: Sendable, CustomTestStringConvertible {
  let name: String
  let preprocessing: String
  let images: String
  /// Whether Captum's alpha-1-beta-0 rule means the same: no sums, no batch norms, no negative input.
  var hasSameAlphaBeta = false
  var testDescription: String { name }

  static let all = [
    CaptumNetwork(
      name: "cifar10_resnet20", preprocessing: "cifar10", images: "images/cifar10_test_first1000.bin#11,42"),
    CaptumNetwork(name: "cifar10_vgg6bn", preprocessing: "unit", images: "images/cifar10_test_first1000.bin#11,42"),
    CaptumNetwork(
      name: "nad_wrn16_1_clean", preprocessing: "unit", images: "images/cifar10_test_first1000.bin#11,42"),
    CaptumNetwork(
      name: "tinyvgg_10c", preprocessing: "unit", images: "images/tinyimagenet_val_10x50/jpeg", hasSameAlphaBeta: true),
    CaptumNetwork(name: "resnet18_ktb", preprocessing: "imagenet", images: "images/imagenet_40x5/png"),
  ]
}

@Suite(
  "attributions and Captum's", .serialized,
  .enabled(if: Assets.root.isPresent, "\(Assets.root.reason)"),
  .enabled(if: Peer.availability.isPresent, "\(Peer.availability.reason)"))
struct CaptumTests {
  private struct Job: Encodable {
    struct Entry: Encodable {
      struct Arguments: Encodable {
        var layer: String?
        var window: [Int]?
        var strides: [Int]?
      }
      let method: String
      let arguments: Arguments
    }
    let model: String
    let input: String
    let targets: [Int]
    /// As Captum computes by itself. In double precision it breaks ties of maximum pools by how its products are summed.
    var single = true
    let methods: [Entry]
  }

  private static let methods: [AttributionMethod] = [
    .saliency, .inputTimesGradient, .integratedGradients, .guidedBackpropagation, .deconvolution, .deepLIFT,
    .lrpEpsilon,
    .gradCAM, .guidedGradCAM, .occlusion,
  ]

  /// What methods promise of their numbers; and the literal rule's, where rounding decides.
  private static let tolerance = 1e-3

  @Test("agree on real networks, within one in a thousand")
  func agreement() async throws {
    var errors: [AttributionMethod: [String]] = [:]
    for network in CaptumNetwork.all {
      let found = try await Self.errors(of: network)
      for method in AttributionMethod.allCases {
        errors[method, default: []].append(found[method].map { String(format: "%.1e", $0) } ?? "")
      }
    }
    let names = CaptumNetwork.all.map(\.name)
    let rows = errors.filter { $0.value.contains { !$0.isEmpty } }.sorted { $0.key.rawValue < $1.key.rawValue }
    let table = ([("relative error", names)] + rows.map { ($0.key.rawValue, $0.value) }).map { name, cells in
      ([name] + cells).map { $0.padding(toLength: 21, withPad: " ", startingAt: 0) }.joined()
    }
    Measured.report("attributions and Captum's\n" + table.joined(separator: "\n"))
    #expect(rows.count == Self.methods.count + 1)
  }

  /// The relative error of every method on a network.
  private static func errors(of network: CaptumNetwork) async throws -> [AttributionMethod: Double] {
    let root = try #require(Assets.root.url).path
    let model = "\(root)/models/\(network.name).onnx"
    let found = Array(try SampleSource.samples(["\(root)/\(network.images)"]).prefix(2))
    let samples = try Preprocessing.named(network.preprocessing).tensor(of: found)
    let explainer = try Explainer(model: ONNXModel(contentsOf: model), backend: CPUBackend())
    let (layer, shape) = try await explainer.layer(named: nil)
    var settings = AttributionSettings()
    let side = samples.shape[-1]
    settings.window = side > 64 ? [56, 60] : [7, 6]
    settings.strides = side > 64 ? [40, 56] : [3, 5]
    settings.biasesShareRelevance = false
    let targets = [3, 7]
    let methods = Self.methods + (network.hasSameAlphaBeta ? [.lrp] : [])
    let folder = try TemporaryFolder()
    let job = Job(
      model: model, input: try folder.write(samples, "input"), targets: targets,
      methods: methods.map {
        .init(
          method: $0.rawValue, arguments: .init(layer: layer, window: settings.window, strides: settings.strides))
      })
    try JSONEncoder().encode(job).write(to: URL(filePath: folder.file("job.json")))
    try await Peer.run("captum_attributions.py", [folder.file("job.json"), folder.file("out.npz")])
    let peer = try NPZ.read(folder.file("out.npz"))
    var errors: [AttributionMethod: Double] = [:]
    for method in methods {
      let expected = try #require(peer.first { $0.name == method.rawValue }?.tensor)
      let ours = try await explainer.attribution(of: samples, method: method, targets: targets, settings: settings)
      let wanted =
        method == .gradCAM
        ? enlarged(expected.doubles, from: (shape[2], shape[3]), to: ours.mapSize) : expected.doubles
      var error = relativeError(ours.relevance.doubles, wanted)
      if error >= Self.tolerance {
        error = try await literalError(of: ours.relevance.doubles, method, folder)
        Measured.report("\(network.name), \(method.rawValue): \(error) from the literal rule, with its other choices")
      }
      #expect(error < Self.tolerance, "\(network.name), \(method.rawValue)")
      errors[method] = error
      if let delta = ours.completenessDelta, let other = peer.first(where: { $0.name == "\(method.rawValue).delta" }) {
        let scale = ours.logits.doubles.map(abs).max() ?? 1
        #expect(zip(delta, other.tensor.doubles).allSatisfy { abs($0 - $1) < 1e-3 * scale }, "\(method.rawValue)")
      }
    }
    return errors
  }

  /// The error from the rule, word for word in double precision, where maximum pools may take either of two values that
  /// single precision cannot tell apart.
  private static func literalError(
    of map: [Double], _ method: AttributionMethod, _ folder: TemporaryFolder
  ) async throws -> Double {
    try await Peer.run("literal_attributions.py", [folder.file("job.json"), folder.file("literal.npz")])
    let literal = try NPZ.read(folder.file("literal.npz"))
    let rule = try #require(literal.first { $0.name == method.rawValue }?.tensor.doubles)
    let choices = try #require(literal.first { $0.name == "\(method.rawValue).choices" }?.tensor)
    var (best, error) = (rule, relativeError(map, rule))
    for choice in 0..<choices.shape[0] {
      let change = choices.doubles[choice * rule.count..<(choice + 1) * rule.count]
      let other = zip(best, change).map { $0 + $1 }
      let otherError = relativeError(map, other)
      if otherError < error { (best, error) = (other, otherError) }
    }
    return error
  }

  /// PyTorch's bilinear interpolation, pixel by pixel.
  private static func enlarged(
    _ maps: [Double], from old: (Int, Int), to new: (height: Int, width: Int)
  ) -> [Double] {
    var result: [Double] = []
    for map in stride(from: 0, to: maps.count, by: old.0 * old.1) {
      for y in 0..<new.height {
        for x in 0..<new.width {
          let row = max(0, (Double(y) + 0.5) * Double(old.0) / Double(new.height) - 0.5)
          let column = max(0, (Double(x) + 0.5) * Double(old.1) / Double(new.width) - 0.5)
          func value(_ r: Int, _ c: Int) -> Double { maps[map + min(r, old.0 - 1) * old.1 + min(c, old.1 - 1)] }
          let (r, c, a, b) = (Int(row), Int(column), row - row.rounded(.down), column - column.rounded(.down))
          result.append(
            (1 - a) * ((1 - b) * value(r, c) + b * value(r, c + 1))
              + a * ((1 - b) * value(r + 1, c) + b * value(r + 1, c + 1)))
        }
      }
    }
    return result
  }
}
