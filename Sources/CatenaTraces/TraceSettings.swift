import CatenaCompute

/// How a trace is made. The defaults are SPADE's; every artifact records what was used.
public struct TraceSettings: Sendable, Hashable, Codable {
  /// What chooses the connections.
  public var solver: TraceSolver = .fast
  /// What the exact solver removes at once from a convolution.
  public var blocks: PruningMethod.Blocks = .kernel
  /// Whether to count and damp as the published code does.
  public var isCompatible = false
  /// Augmentations of the sample, on which the Hessians are computed.
  public var augmentations = 1024
  /// How the sample is augmented.
  public var augmentation = Augmentation()
  /// Seed of the augmentations.
  public var seed: UInt64 = 0
  /// Images per run of the network, or the network's own fixed batch.
  public var batch = 16
  /// The first so many augmentations are run through the trace too, to see whether it keeps the prediction.
  public var checkedAugmentations = 64

  /// SPADE's settings.
  public init() {}

  /// What the layers' solvers are asked for.
  public var method: PruningMethod {
    switch solver {
    case .fast: PruningMethod(.fast, isCompatible: isCompatible)
    case .exact: PruningMethod(.exact(isCompatible ? .tap : blocks), isCompatible: isCompatible)
    }
  }
}

/// Why there is no trace.
public enum TraceError: Error, Hashable, CustomStringConvertible {
  /// The network or a sample does not fit what a trace needs.
  case unsuitable(String)
  /// Ratios that do not fit the network, or no numbers from 0 to 1.
  case ratios(String)
  /// A layer has no solution.
  case layer(name: String, reason: String)
  /// Numbers that are not finite.
  case notFinite(String)
  /// A trace on disk that cannot be read.
  case malformed(path: String, reason: String)

  /// What was wrong and what to do.
  public var description: String {
    switch self {
    case .unsuitable(let reason), .ratios(let reason), .notFinite(let reason): reason
    case .layer(let name, let reason): "the layer '\(name)' cannot be pruned: \(reason)"
    case .malformed(let path, let reason): "\(path): \(reason)"
    }
  }
}
