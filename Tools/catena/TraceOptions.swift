import ArgumentParser
import Catena

/// How much every layer of a trace loses, as the command line says it.
struct RatioOptions: ParsableArguments {
  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp("How much is removed: 'uniform S', 'published' or a .json file.", valueName: "ratios"))
  var ratios: [String] = ["published"]

  func validate() throws { try Self.check(ratios, "--ratios") }

  /// The ratios, read from their file where they are in one.
  func sparsityRatios() throws -> SparsityRatios { try Self.parse(ratios) }

  /// Throws where the words make no sense.
  static func check(_ words: [String], _ option: String) throws {
    if words.first == "uniform" {
      guard words.count == 2, Double(words[1]) != nil else {
        throw ValidationError("write \(option) uniform S, as in \(option) uniform 0.8")
      }
    } else if words.count != 1 {
      throw ValidationError("\(option) is 'uniform S', 'published' or one .json file")
    }
  }

  /// What checked words mean.
  static func parse(_ words: [String]) throws -> SparsityRatios {
    switch words[0] {
    case "uniform": .uniform(Double(words[1]) ?? 0)
    case "published": .published
    default: try SparsityRatios.read(words[0])
    }
  }
}

extension TraceSettings {
  /// Sets how many images the network runs at once: what was asked for, or few enough large ones for the layers' inputs
  /// to take little memory.
  mutating func setBatch(_ asked: Int?, for model: ONNXModel) {
    let pixels = sampleShape(of: model).map { $0.dimensions.dropFirst().reduce(1, *) } ?? 0
    batch = min(asked ?? (pixels > 1 << 15 ? 8 : 16), augmentations)
  }
}

extension TraceSolver: ExpressibleByArgument {}
extension PruningMethod.Blocks: ExpressibleByArgument {}
