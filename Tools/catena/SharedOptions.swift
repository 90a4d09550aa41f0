import ArgumentParser
import Catena
import Foundation

/// Where to compute.
struct DeviceOptions: ParsableArguments {
  @Option(help: "Where to compute; 'catena devices' lists what there is.")
  var device: DeviceChoice = .automatic

  @Option(help: "Threads; by default what the affinity mask and the control group allow.")
  var threads: Int?

  @Option(
    help: ArgumentHelp("The most memory to plan for, such as 2GiB.", valueName: "bytes"),
    transform: ByteCount.init(parsing:))
  var memory: ByteCount?

  @Option(help: "The lowest precision that products may be computed in, where that is faster.")
  var precision: Precision = .f32

  func validate() throws {
    try checkCount(threads, "--threads", most: 4096)
    if device == .reference, threads != nil || precision != .f32 {
      throw ValidationError("the reference runs on one thread in double precision: leave out --threads and --precision")
    }
  }

  func openEngine() throws -> Engine {
    let engine = try Engine(device: device, threads: threads, memoryLimit: memory?.bytes, precision: precision)
    for remark in engine.remarks { Output.note(remark) }
    return engine
  }

  /// Says which device and why, does `work` on it, and again on the CPU where the choice was free and the device fails in
  /// the middle.
  func withEngine<Value>(_ work: (Engine) async throws -> Value) async throws -> Value {
    try await Engine.run(
      device: device, threads: threads, memoryLimit: memory?.bytes, precision: precision,
      fallingBack: { Output.note("\n\($0)") }
    ) { engine in
      Output.note(engine.description)
      for remark in engine.remarks { Output.note(remark) }
      return try await work(engine)
    }
  }
}

extension Precision: ExpressibleByArgument {}

/// Throws where an option's number is below 1, or so large that nothing of its size could be.
func checkCount(_ value: Int?, _ option: String, most: Int = 1_000_000_000) throws {
  guard let value, !(1...most).contains(value) else { return }
  throw ValidationError("\(option) must be at \(value < 1 ? "least 1" : "most \(most)")")
}

extension DeviceChoice: ExpressibleByArgument {
  /// Reads what `--device` takes.
  public init?(argument: String) { self.init(argument) }

  /// What `--device` takes, for the help and for errors.
  public static var allValueStrings: [String] { ["auto", "cpu", "opencl", "opencl:INDEX", "reference"] }
}

/// A number of bytes with an optional suffix K, M, G or T (powers of 1024), with or without B or iB behind it.
struct ByteCount {
  let bytes: Int

  @Sendable
  init(parsing argument: String) throws {
    let suffixes: [Character: Int] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40]
    var digits = Substring(argument.uppercased())
    for suffix in ["IB", "B"] where digits.hasSuffix(suffix) {
      digits.removeLast(suffix.count)
      break
    }
    var factor = 1
    if let last = digits.last, let value = suffixes[last] {
      factor = value
      digits.removeLast()
    }
    guard let number = Double(digits), number > 0, number * Double(factor) < 0x1p62 else {
      throw ValidationError("write a number of bytes such as 500M or 4G")
    }
    bytes = Int(number * Double(factor))
  }
}

/// A fraction above 0 and at most 1, written as `5%` or `0.05`.
struct Fraction {
  let value: Double

  @Sendable
  init(parsing argument: String) throws {
    let isPercent = argument.hasSuffix("%")
    guard let number = Double(isPercent ? String(argument.dropLast()) : argument) else {
      throw ValidationError("write a part as 5% or 0.05")
    }
    value = isPercent ? number / 100 : number
    guard value > 0, value <= 1 else {
      throw ValidationError("it must be above 0% and at most 100%; write a part as 5% or 0.05")
    }
  }
}

/// Images and how they become samples.
struct SampleOptions: ParsableArguments {
  @Argument(help: "Images, folders of images, CIFAR-10 records or tensors; see above.")
  var images: [String]

  @Option(help: "How images become samples: a name from the list above, or a .json file.")
  var preprocess: String = "imagenet"
}

extension SampleOptions {
  /// The files and folders that are read, without the numbers of single records.
  var paths: [String] { images + images.map { String($0.prefix { $0 != "#" }) } }

  /// What inputs and preprocessings there are, for the help of commands that take images.
  static var explanation: String {
    let width = Preprocessing.presets.map(\.name.count).max() ?? 0
    let presets = Preprocessing.presets.map { preset in
      "  " + preset.name.padding(toLength: width, withPad: " ", startingAt: 0) + "  " + preset.summary
    }
    return """
      \(SampleSource.syntax)

      --preprocess is what the network was trained with; a wrong one gives wrong \
      answers without any error. It is one of
      \(presets.joined(separator: "\n"))
      or a .json file that says the same: see --preprocess in the README.
      """
  }

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
}

/// The extents of one sample, where the file fixes them.
func sampleShape(of model: ONNXModel) -> Shape? {
  guard let dimensions = model.inputs.first?.dimensions?.dropFirst() else { return nil }
  let extents = dimensions.compactMap { dimension -> Int? in
    // An extent that cannot be is found when the network is imported.
    if case .fixed(let extent) = dimension, extent > 0 { extent } else { nil }
  }
  return extents.count == dimensions.count ? Shape(extents) : nil
}
