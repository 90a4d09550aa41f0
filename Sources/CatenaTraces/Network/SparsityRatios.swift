import CatenaFormats
import CatenaGraph
import Foundation

/// The part of each layer's connections that is removed.
public enum SparsityRatios: Sendable, Hashable {
  /// The same in every layer.
  case uniform(Double)
  /// The tuned ratios that SPADE's authors publish for ResNet-50, in other networks by relative depth.
  case published
  /// By layer's name; layers that are not listed stay dense.
  case perLayer([String: Double])

  /// The published ratios of ResNet-50: one per residual block from the first to the last, and the classifier's.
  static let resNet50: [Double] = [
    0.2, 0.8, 0, 0.2, 0, 0.99, 0.95, 0.8, 0.8, 0.9, 0.8, 0, 0, 0.95, 0.95, 0.95, 0.95,
  ]

  /// The ratio of every layer of a network.
  /// - Throws: `TraceError.ratios` for a number outside 0 ..< 1 or a layer that does not exist.
  public func ratios(of network: TraceNetwork) throws(TraceError) -> [Double] {
    switch self {
    case .uniform(let ratio):
      try Self.check(ratio, "the uniform ratio")
      return network.layers.map { _ in ratio }
    case .published:
      let depths = network.depths
      let deepest = max(1, depths.max() ?? 1)
      return depths.map { depth in
        Self.resNet50[Int((Double(depth) / Double(deepest) * Double(Self.resNet50.count - 1)).rounded())]
      }
    case .perLayer(let ratios):
      let names = Set(network.layers.map(\.name))
      for (name, ratio) in ratios.sorted(by: { $0.key < $1.key }) {
        guard names.contains(name) else {
          if let untouched = network.untouched.first(where: { $0.name == name }) {
            throw .ratios("the layer '\(name)' is not pruned: \(untouched.reason)")
          }
          throw .ratios(
            "there is no layer '\(name)'; the network's are "
              + network.layers.map { "'\($0.name)'" }.joined(separator: ", "))
        }
        try Self.check(ratio, "the ratio of '\(name)'")
      }
      return network.layers.map { ratios[$0.name] ?? 0 }
    }
  }

  private static func check(_ ratio: Double, _ what: String) throws(TraceError) {
    guard ratio >= 0, ratio < 1 else { throw .ratios("\(what) is \(ratio); it must be from 0 to below 1") }
  }

  /// Reads a JSON object of ratios by layer's name.
  public static func read(_ path: String) throws -> SparsityRatios {
    let bytes = try readFile(path)
    let ratios: [String: Double]
    do { ratios = try JSONDecoder().decode([String: Double].self, from: Data(bytes)) } catch {
      throw FileError(
        .malformed, path, "holds no ratios; write an object of layers and numbers, as in { \"conv1\": 0.9 }")
    }
    try checkJSON(bytes, path: path)
    return .perLayer(ratios)
  }
}

extension TraceNetwork {
  /// How deep every layer lies: the residual sums before it, or its place where the network has none. The layers of a
  /// residual block, its shortcut among them, share a depth.
  var depths: [Int] {
    var sums: ValueMap<Int> = [:]
    var most = 0
    for node in graph.nodes {
      let operands = node.inputs.filter { graph.constants[$0] == nil }
      var depth = operands.map { sums[$0] ?? 0 }.max() ?? 0
      if case .binary(.add) = node.operation, operands.count == 2 { depth += 1 }
      most = max(most, depth)
      for output in node.outputs { sums[output] = depth }
    }
    return most == 0 ? Array(layers.indices) : layers.map { sums[$0.input] ?? 0 }
  }
}
