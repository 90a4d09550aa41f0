extension Preprocessing {
  /// The descriptions that have a name, with what they are for.
  public static let presets: [(name: String, summary: String, preprocessing: Preprocessing)] = [
    (
      "imagenet", "short side 256 (bilinear), centre 224, ImageNet mean and std",
      Preprocessing(
        steps: [.resizeShortSide(size: 256, .bilinear), .centreCrop(size: 224)], mean: imagenetMean, std: imagenetStd)
    ),
    (
      "cifar10", "as stored, 0 to 1, ImageNet mean and std, as CIFAR ResNets use",
      Preprocessing(mean: imagenetMean, std: imagenetStd)
    ),
    (
      "cifar10-own", "as stored, 0 to 1, CIFAR-10's own mean and std",
      Preprocessing(mean: [0.4914, 0.4822, 0.4465], std: [0.2023, 0.1994, 0.2010])
    ),
    ("unit", "as stored, 0 to 1", Preprocessing()),
    ("raw", "as stored, 0 to 255", Preprocessing(divisor: 1)),
    (
      "squeezenet", "256 x 256 (bilinear), centre 227, BGR 0 to 255 less Caffe's mean",
      Preprocessing(
        steps: [.resize(width: 256, height: 256, .bilinear), .centreCrop(size: 227)], channels: .bgr, divisor: 1,
        mean: [104, 117, 123])
    ),
    (
      "mobilenet", "centre 87.5 %, 224 x 224 (bilinear), -1 to 1",
      Preprocessing(
        steps: [.centreCropFraction(0.875), .resize(width: 224, height: 224, .bilinear)], divisor: 1,
        mean: [128, 128, 128], std: [128, 128, 128])
    ),
  ]

  private static let imagenetMean = [0.485, 0.456, 0.406]
  private static let imagenetStd = [0.229, 0.224, 0.225]

  /// The preset called `argument`, or the description in the JSON file of that name (an argument that ends in `.json` or
  /// has a `/` in it).
  public static func named(_ argument: String) throws(FileError) -> Preprocessing {
    if let preset = presets.first(where: { $0.name == argument }) { return preset.preprocessing }
    guard argument.hasSuffix(".json") || argument.contains("/") else {
      let names = presets.map(\.name).joined(separator: ", ")
      throw FileError(
        .badArgument, argument, "is no known preprocessing; known are \(names), or the name of a .json file")
    }
    return try decode(readFile(argument), path: argument)
  }
}
