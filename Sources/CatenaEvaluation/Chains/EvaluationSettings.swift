/// An analysis of chains.
public enum ChainAnalysis: String, Sendable, Hashable, Codable, CaseIterable {
  /// Fidelity against sparsity in the region, also along the curve.
  case fidelity
  /// Fidelity and accuracy on images that the chain was not made from, of the region's classes and of others.
  case unseen
  /// What single units, all of them and their identity matter.
  case importance
  /// Other ways of choosing as many units in every layer.
  case baselines
  /// The overlap of chains found from other seeds and from other samples.
  case stability
}

/// What an evaluation does, and how often it draws.
public struct EvaluationSettings: Sendable, Hashable, Codable {
  /// The analyses.
  public var analyses = ChainAnalysis.allCases
  /// Random draws wherever something is chosen at random.
  public var draws = 5
  /// Chains extracted from further seeds, for stability.
  public var otherSeeds = 2
  /// Samples per run, over all masks of the run.
  public var batch = 64
  /// The parts of the retained units that are exchanged for random ones.
  public var swappedFractions = [0.1, 0.25, 0.5, 1]
  /// The parts of all units at which the curve is read.
  public var curveFractions = [1, 0.75, 0.5, 0.35, 0.25, 0.2, 0.15, 0.1, 0.075, 0.05, 0.03, 0.02]
  /// Seed of what is drawn.
  public var seed: UInt64 = 0

  /// All analyses.
  public init() {}
}

/// How far an evaluation is.
public struct EvaluationProgress: Sendable, Hashable {
  /// The region, from 0.
  public var region: Int
  /// The number of regions.
  public var regionCount: Int
  /// The region's name.
  public var name: String
  /// What is being done, in words.
  public var stage: String
  /// The part of this stage that is done, from 0 to 1.
  public var fraction: Double
}
