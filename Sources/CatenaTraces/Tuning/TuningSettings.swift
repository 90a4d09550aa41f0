/// What tuned ratios must preserve, and what is tried.
public struct TuningSettings: Sendable, Hashable, Codable {
  /// Ratios that a layer may get besides 0, ascending.
  public var candidates = [0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99]
  /// What a layer alone may cost, ascending: the divergence, in nats, of the network's answers without these
  /// connections from the dense network's. One of them becomes the limit that all layers share.
  public var limits = (0..<18).map { 1e-4 * Double(1 << $0) }
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
  }
  /// What must be the same for a record to be of use: network, pictures, settings.
  public var key: String
  /// Per probe, layer and candidate the divergence; a layer's list ends at the first above the largest limit.
  public var divergences: [[[Double]]] = []
  /// Per picture and level. A picture's list ends behind two levels that lose its prediction.
  public var trials: [[Trial]] = []

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
  }
  /// What is done.
  public var stage: Stage
  /// Layers of all probes, or pictures, that are done.
  public var completed: Int
  /// How many there are.
  public var total: Int
}

/// Ratios that were found for a network.
public struct TunedRatios: Sendable, Hashable, Codable {
  /// What a limit gives.
  public struct Level: Sendable, Hashable, Codable {
    /// What a layer alone may cost, in nats.
    public var limit: Double
    /// The part of all prunable connections that is removed.
    public var sparsity: Double
    /// The part of the pictures whose prediction the traces keep.
    public var kept: Double
    /// The mean part of the augmentations whose prediction they keep.
    public var agreement: Double
    /// By layer's name; layers that stay dense are not listed.
    public var ratios: [String: Double]
  }
  /// The chosen level.
  public var chosen: Level
  /// Whether it keeps as much as was asked for. Otherwise it is the one that keeps the most.
  public var isMet: Bool
  /// All levels that differ, ascending.
  public var levels: [Level]
}
