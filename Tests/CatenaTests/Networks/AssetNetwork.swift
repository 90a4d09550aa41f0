import Catena
import Foundation
import TestSupport
import Testing

/// Real images with the classes that people gave them.
enum AssetImages: String, Sendable {
  /// The first 1,000 records of the CIFAR-10 test set.
  case cifar10 = "images/cifar10_test_first1000.bin"
  /// 500 JPEG files of ten classes.
  case tinyImageNet = "images/tinyimagenet_val_10x50"
  /// 200 PNG files of forty classes.
  case imageNet = "images/imagenet_40x5"

  /// What stands in the peers' files: its path.
  var path: String {
    guard let url = Assets.asset(rawValue).url else { preconditionFailure("tests are skipped without the assets") }
    return url.path
  }

  /// `limit` of the images with their classes, evenly spread; all without a limit.
  func samples(limit: Int? = nil) throws -> (samples: [Sample], classes: [Int]) {
    switch self {
    case .cifar10:
      let all = try SampleSource.samples([path])
      let chosen = evenly(all.count, limit).map { all[$0] }
      return (chosen, chosen.compactMap(\.label))
    case .tinyImageNet, .imageNet:
      let table = self == .imageNet ? "images.csv" : "labels.csv"
      let text = try String(contentsOfFile: "\(path)/\(table)", encoding: .utf8)
      let rows = text.split(whereSeparator: \.isNewline).dropFirst().map { $0.split(separator: ",") }
      let chosen = evenly(rows.count, limit).map { rows[$0] }
      let classes = try chosen.map { try #require(Int($0[1])) }
      return (try SampleSource.samples(chosen.map { "\(path)/\($0[0])" }), classes)
    }
  }

  private func evenly(_ count: Int, _ limit: Int?) -> [Int] {
    guard let limit, limit < count else { return Array(0..<count) }
    return (0..<limit).map { $0 * count / limit }
  }
}

/// A trained network among the assets, with what is known of it.
struct AssetNetwork: Sendable, CustomTestStringConvertible {
  let name: String
  let preprocessing: String
  let images: AssetImages
  /// How many of all images it classifies as people did; measured in onnxruntime, see the assets' index.
  let correct: Int
  /// What is added to the images' classes: 1 where the network's class 0 is the background.
  var classShift = 0
  var isConvolutional = true

  var testDescription: String { name }

  var path: String {
    guard let url = Assets.asset("models/\(name).onnx").url else {
      preconditionFailure("tests are skipped without the assets")
    }
    return url.path
  }

  static var availability: Assets.Availability { Assets.asset("models") }

  static let all = [
    AssetNetwork(name: "cifar10_resnet20", preprocessing: "cifar10", images: .cifar10, correct: 915),
    AssetNetwork(name: "cifar10_resnet56", preprocessing: "cifar10", images: .cifar10, correct: 926),
    AssetNetwork(name: "cifar10_vgg6bn", preprocessing: "unit", images: .cifar10, correct: 891),
    AssetNetwork(
      name: "cifar10_vit_b1", preprocessing: "cifar10-own", images: .cifar10, correct: 705,
      isConvolutional: false),
    AssetNetwork(
      name: "vit_ibp_3_3_8", preprocessing: "cifar10-own", images: .cifar10, correct: 622, isConvolutional: false),
    AssetNetwork(name: "mlperf_tiny_resnet8", preprocessing: "raw", images: .cifar10, correct: 881),
    AssetNetwork(name: "nad_wrn16_1_backdoored", preprocessing: "unit", images: .cifar10, correct: 844),
    AssetNetwork(name: "nad_wrn16_1_clean", preprocessing: "unit", images: .cifar10, correct: 854),
    AssetNetwork(name: "tinyvgg_10c", preprocessing: "unit", images: .tinyImageNet, correct: 344),
    AssetNetwork(
      name: "squeezenet_v1.0_dc", preprocessing: "squeezenet", images: .imageNet, correct: 108),
    AssetNetwork(
      name: "mobilenet_v2_1.0_224_dequant", preprocessing: "mobilenet", images: .imageNet, correct: 171,
      classShift: 1),
    AssetNetwork(name: "resnet18_ktb", preprocessing: "imagenet", images: .imageNet, correct: 165),
    AssetNetwork(
      name: "resnet50_pqf_large", preprocessing: "imagenet", images: .imageNet, correct: 175),
  ]

  static let convolutional = all.filter(\.isConvolutional)

  /// Those called so.
  static func named(_ names: [String]) -> [AssetNetwork] { all.filter { names.contains($0.name) } }

  func model() throws -> ONNXModel { try ONNXModel(contentsOf: path) }

  /// The network's input for some of its images, with their classes as the network counts them.
  func input(limit: Int? = nil) throws -> (tensor: Tensor, classes: [Int]) {
    let (samples, classes) = try images.samples(limit: limit)
    return (try Preprocessing.named(preprocessing).tensor(of: samples), classes.map { $0 + classShift })
  }
}
