import CatenaGraph

/// What tuned ratios must preserve, and what is tried.
public struct TuningSettings: Sendable, Hashable, Codable {
  /// Ratios that a layer may get besides 0, ascending.
  public var candidates = [0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99]
  /// What a layer alone may cost, ascending: the divergence, in nats, of the network's answers without these
  /// connections from the dense network's. Each group of layers gets one of them.
  public var limits = (0..<18).map { 1e-4 * Double(1 << $0) }
  /// Groups of layers by depth that may get limits of their own; with 1 all layers share one.
  public var depths = 4
  /// Tried profiles of limits: each group's is 2 to the power of one of these times that of the group before.
  public var tilts = [1, 2, 4]
  /// Tried profiles of limits: so many of the first groups stay dense.
  public var denseDepths = [1, 2]
  /// Rounds at most in which the limits of single groups are changed.
  public var moves = 3
  /// The first so many pictures are those on which each layer is tried alone.
  public var probes = 4
  /// The part of the pictures whose prediction the traces must keep.
  public var kept = 0.95
  /// The part of a picture's augmentations whose prediction the traces must keep, in the mean over the pictures.
  public var agreement = 0.75

  /// The defaults.
  public init() {}
}

/// What tuning has found out so far: everything that is needed to go on after an interruption.
public struct TuningRecord: Sendable, Hashable, Codable {
  /// What became of one picture in one trace.
  public struct Trial: Sendable, Hashable, Codable {
    /// Whether the prediction of the picture itself was kept.
    public var keepsPrediction: Bool
    /// The part of the augmentations whose prediction was kept.
    public var agreement: Double
    /// What is to be high, where something is.
    public var score: Double?
  }
  /// Per picture and list of candidates what became of each; a picture's list ends behind two that lose its prediction.
  public typealias Round = [[[Trial]]]
  /// What must be the same for a record to be of use: network, pictures, settings.
  public var key: String
  /// Per probe, layer and candidate the divergence; a layer's list ends at the first above the largest limit.
  public var divergences: [[[Double]]] = []
  /// The rounds of the search, each picture by picture.
  public var rounds: [Round] = []

  /// A record without results.
  public init(key: String) { self.key = key }
}

/// How far tuning is.
public struct TuningProgress: Sendable {
  /// The stages, in their order.
  public enum Stage: String, Sendable {
    /// Every layer is pruned alone.
    case probing = "trying every layer alone"
    /// All layers are pruned together.
    case searching = "looking for the limit that all layers share"
    /// Limits that change with depth.
    case profiling = "looking for limits that change with depth"
    /// Limits of single groups of layers change.
    case moving = "changing the limits of single depths"
  }
  /// What is done.
  public var stage: Stage
  /// Layers of all probes, or pictures, that are done.
  public var completed: Int
  /// How many there are.
  public var total: Int

  init(stage: Stage, completed: Int, total: Int) {
    (self.stage, self.completed, self.total) = (stage, completed, total)
  }

  /// How far a round of the search is.
  init(round: Int, completed: Int, pictures: Int, _ tuning: TuningSettings) {
    switch round {
    case 0: self.init(stage: .searching, completed: completed, total: pictures)
    case 1: self.init(stage: .profiling, completed: completed, total: pictures)
    default:
      self.init(stage: .moving, completed: (round - 2) * pictures + completed, total: tuning.moves * pictures)
    }
  }
}

/// What ratios are chosen for, among those that keep enough predictions.
public struct TuningScore: Sendable {
  /// What it is, with all that its values depend on: work that was stopped goes on only with the same.
  public var name: String
  /// The score of a picture's trace, high is good: of the picture, the traced network (with the extractor's batch) and the
  /// dense network's class.
  public var value: @Sendable (TraceSample, Graph, Int) async throws -> Double

  /// A score.
  public init(name: String, value: @escaping @Sendable (TraceSample, Graph, Int) async throws -> Double) {
    (self.name, self.value) = (name, value)
  }
}

/// Ratios that were found for a network.
public struct TunedRatios: Sendable, Hashable, Codable {
  /// What limits give.
  public struct Level: Sendable, Hashable, Codable {
    /// What a layer alone may cost, in nats, by groups of layers from the first to the last; 0 leaves them dense.
    public var limits: [Double]
    /// The part of all prunable connections that is removed.
    public var sparsity: Double
    /// The part of the pictures whose prediction the traces keep.
    public var kept: Double
    /// The mean part of the augmentations whose prediction they keep.
    public var agreement: Double
    /// The mean score, where there is one.
    public var score: Double?
    /// By layer's name; layers that stay dense are not listed.
    public var ratios: [String: Double]
  }
  /// The chosen level.
  public var chosen: Level
  /// Whether it keeps as much as was asked for. Otherwise it is the one that keeps the most.
  public var isMet: Bool
  /// All that was tried: limits that all layers share, ascending, then those of groups.
  public var levels: [Level]
}
