import ArgumentParser
import Catena
import Foundation

/// Where to compute.
struct DeviceOptions: ParsableArguments {
  @Option(help: "auto, cpu, opencl, opencl:INDEX or reference.")
  var device: DeviceChoice = .automatic

  @Option(help: "Threads; by default what the affinity mask and the control group allow.")
  var threads: Int?

  @Option(help: ArgumentHelp("The most memory to plan for, such as 4G.", valueName: "bytes"))
  var memory: ByteCount?

  func validate() throws {
    if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
  }

  func openEngine() throws -> Engine {
    try Engine(device: device, threads: threads, memoryLimit: memory?.bytes)
  }
}

extension DeviceChoice: ExpressibleByArgument {
  /// The form that `DeviceChoice.init(_:)` reads.
  public init?(argument: String) { self.init(argument) }
}

/// A number of bytes with an optional suffix K, M, G or T (powers of 1024).
struct ByteCount: ExpressibleByArgument {
  let bytes: Int

  init?(argument: String) {
    let suffixes: [Character: Int] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40]
    var digits = Substring(argument.uppercased())
    if digits.hasSuffix("B") { digits.removeLast() }
    var factor = 1
    if let last = digits.last, let value = suffixes[last] {
      factor = value
      digits.removeLast()
    }
    guard let number = Double(digits), number > 0, number * Double(factor) < 0x1p62 else { return nil }
    bytes = Int(number * Double(factor))
  }
}

/// A fraction written as `5%` or `0.05`.
struct Fraction: ExpressibleByArgument {
  let value: Double

  init?(argument: String) {
    let isPercent = argument.hasSuffix("%")
    guard let number = Double(isPercent ? String(argument.dropLast()) : argument), number.isFinite else { return nil }
    value = isPercent ? number / 100 : number
  }
}

/// Images and how they become samples.
struct SampleOptions: ParsableArguments {
  @Argument(help: "Images (PNG, JPEG), folders of images, CIFAR-10 records (FILE.bin or FILE.bin#0,5-9), .npy tensors.")
  var images: [String]

  @Option(help: "How images become samples: a preset's name or a JSON file.")
  var preprocess: String = "imagenet"
}

extension SampleOptions {
  /// The samples of all arguments as one region.
  func region(named name: String, for model: ONNXModel) throws -> Region {
    let found = try SampleSource.samples(images, inputShape: sampleShape(of: model))
    let tensor = try Preprocessing.named(preprocess).tensor(of: found)
    return try Region(name: name, samples: tensor, sampleNames: found.map(\.name))
  }

  /// The region's name in messages and artifacts: the folder or file, when there is only one.
  var regionName: String {
    images.count == 1 ? (images[0] as NSString).lastPathComponent : "\(images.count) arguments"
  }

  /// The preprocessing description, as artifacts record it.
  func preprocessingDescription() throws -> String { try Preprocessing.named(preprocess).json }

  /// The extents of one sample, where the file fixes them.
  private func sampleShape(of model: ONNXModel) -> Shape? {
    guard let dimensions = model.inputs.first?.dimensions?.dropFirst() else { return nil }
    let extents = dimensions.compactMap { dimension -> Int? in
      if case .fixed(let extent) = dimension { extent } else { nil }
    }
    return extents.count == dimensions.count ? Shape(extents) : nil
  }
}
