import CatenaGraph
import Foundation

/// What the user asks of a chain.
public enum ChainRequest: Sendable, Hashable, Codable {
  /// At most this fraction of all units.
  case keep(fraction: Double)
  /// The smallest chain whose binary mode gives the network's own top-1 class on at least this fraction of the region.
  case agreement(fraction: Double)
  /// At most this fraction of all units; met only if that chain also reaches this agreement.
  case keepWithAgreement(fraction: Double, agreement: Double)

  /// The largest fraction of all units allowed, where one is asked for.
  public var budget: Double? {
    switch self {
    case .keep(let fraction), .keepWithAgreement(let fraction, _): fraction
    case .agreement: nil
    }
  }

  /// The agreement asked for.
  public var leastAgreement: Double? {
    switch self {
    case .agreement(let fraction), .keepWithAgreement(_, let fraction): fraction
    case .keep: nil
    }
  }
}

/// How chains are searched. The defaults are the published setting; every artifact records what was used.
public struct ChainSettings: Sendable, Hashable, Codable {
  /// Optimisation steps on the scores.
  public var steps: Int = 400
  /// Adam's step size on scores.
  public var learningRate: Float = 0.05
  /// Standard deviation of the seeded noise on the initial unit scores, which breaks ties between units.
  public var initialNoise: Float = 0.01
  /// Where block scores start, before the sigmoid.
  public var initialBlockScore: Float = 3
  /// The temperature of the first step.
  public var firstTemperature: Float = 1
  /// The temperature of the last step, to which it falls geometrically.
  public var lastTemperature: Float = 0.02
  /// The fraction of units aimed at in the first step.
  public var firstSize: Float = 0.95
  /// The part of the steps in which the size aimed at falls, geometrically, to the request.
  public var shrinkingEnd: Double = 0.7
  /// Samples per step; a larger region runs in chunks whose gradients add up.
  public var batch: Int = 32
  /// Points of the sparsity-fidelity curve between everything and the smallest connected chain.
  public var curvePoints: Int = 14
  /// The smallest part of the units that the search heads for when an agreement is asked for.
  public var smallestFraction: Double = 0.02
  /// Seed of everything random.
  public var seed: UInt64 = 0

  /// The published setting.
  public init() {}

  /// The logarithm of `firstSize`.
  var logFirstSize: Float { log(firstSize) }
  /// The score whose sigmoid is `firstSize`.
  var logitOfFirstSize: Float { log(firstSize / (1 - firstSize)) }
}

/// Why no chain could be extracted.
public enum ChainError: Error, CustomStringConvertible {
  /// A region without samples.
  case emptyRegion(name: String)
  /// The samples do not fit the network.
  case mismatch(String)
  /// A request that no chain can meet, with the bound.
  case unreachable(String)
  /// The network has nothing that could be removed.
  case noUnits
  /// The network's output is not one row of logits per sample.
  case unsupportedOutput(String)
  /// A chain on disk is not what its manifest says.
  case verification([String])

  /// What was wrong and what to do.
  public var description: String {
    switch self {
    case .emptyRegion(let name): "the region '\(name)' has no samples"
    case .mismatch(let reason), .unreachable(let reason), .unsupportedOutput(let reason): reason
    case .noUnits: "the network has no units besides its classifier: there is nothing that a chain could leave out"
    case .verification(let findings): "the chain is not what it claims to be:\n  " + findings.joined(separator: "\n  ")
    }
  }
}
