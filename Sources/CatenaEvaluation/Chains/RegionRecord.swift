import CatenaChains
import CatenaGraph

/// How much of a network is kept, as parts of the whole.
public struct KeptParts: Sendable, Hashable {
  /// Units.
  public var units: Double
  /// Residual branches; `nil` for a network without any.
  public var blocks: Double?
  /// Elements of the constants.
  public var parameters: Double
  /// Multiplications with additions.
  public var multiplyAdds: Double
}

extension ChainNetwork {
  /// What a chain keeps of the network, cut out of it.
  func keptParts(_ selection: ChainSelection) throws(GraphError) -> KeptParts {
    let cut = try sliced(keeping: selection.units, blocks: selection.blocks).graph
    func part(_ kept: Int, _ all: Int) -> Double { Double(kept) / Double(max(all, 1)) }
    return KeptParts(
      units: part(selection.keptCount, selection.units.count),
      blocks: selection.blocks.isEmpty ? nil : part(selection.blocks.count { $0 }, selection.blocks.count),
      parameters: part(cut.parameterCount, graph.parameterCount),
      multiplyAdds: part(cut.multiplyAddCount, graph.multiplyAddCount))
  }
}

/// The best chain of a region within a part of all units.
public struct CurveReading: Sendable, Hashable {
  /// The part of all units that it was to have at most.
  public var atMost: Double
  /// What it keeps; `nil` where only its units are known.
  public var kept: KeptParts?
  /// The part of the units that it keeps.
  public var units: Double
  /// The agreement in binary mode.
  public var agreement: Double
  /// The divergence in binary mode.
  public var divergence: Double
  /// The cosine of the logits in binary mode; `nil` where the chain is not known.
  public var cosine: Double?
  /// Whether it gives one class where the dense network gives several.
  public var isConstant: Bool
}

/// How one mask does on samples that are not the region's.
public struct OutsideMeasures: Sendable, Hashable {
  /// The outputs compared with the dense network's.
  public var outputs: OutputMeasures
  /// The part of the samples with the right class, where the classes are known.
  public var accuracy: Double?
  /// The same when only the region's classes compete.
  public var accuracyAmongClasses: Double?
}

/// Masks of one way of choosing units; several where they are drawn at random.
public struct MethodRecord: Sendable, Hashable {
  /// In the region, one per draw.
  public var region: [OutputMeasures]
  /// On unseen images of the region's classes, one per draw; empty where there are none.
  public var unseen: [OutsideMeasures]
  /// On images of other classes, one per draw; empty where there are none.
  public var control: [OutsideMeasures]
}

/// What one unit of a chain matters.
public struct UnitRecord: Sendable, Hashable {
  /// The name of its layer.
  public var layer: String
  /// Its index in the layer.
  public var index: Int
  /// alpha S.
  public var score: Double
  /// KL without it less KL with it, in nats.
  public var deltaDivergence: Double
}

/// What the retained units matter.
public struct ImportanceRecord: Sendable, Hashable {
  /// Every retained unit, left out alone.
  public var units: [UnitRecord]
  /// Spearman's correlation of score and delta KL; `nil` where all scores or all changes are equal.
  public var rankCorrelation: Double?
  /// The dense network without the retained units.
  public var denseWithout: OutputMeasures
  /// The dense network without as many others, chosen at random over all layers; one per draw.
  public var denseWithoutOthers: [OutputMeasures]
  /// Retained units exchanged for random ones of their layers: by fraction, one per draw.
  public var swapped: [Double: [OutputMeasures]]
}

/// The overlap of a region's chain with another.
public struct OverlapRecord: Sendable, Hashable {
  /// Jaccard's overlap of the retained units.
  public var overlap: Double
  /// What chance gives: the same between random units at the two chains' counts per layer.
  public var chance: Double
}

/// Everything that was measured on one region.
public struct RegionRecord: Sendable {
  /// The region's name.
  public var name: String
  /// Its classes.
  public var classes: [String]
  /// Its number of samples.
  public var samples: Int
  /// Whether the chain meets what was asked.
  public var isMet: Bool
  /// What the chain keeps.
  public var kept: KeptParts
  /// The chain in soft mode.
  public var soft: OutputMeasures
  /// The curve at the settings' fractions.
  public var curve: [CurveReading]
  /// What was measured per way of choosing units; the chain itself is `.chain`.
  public var methods: [UnitMethod: MethodRecord]
  /// The dense network on unseen images and on other classes.
  public var denseUnseen: OutsideMeasures?
  /// The dense network on images of other classes.
  public var denseControl: OutsideMeasures?
  /// What the units matter.
  public var importance: ImportanceRecord?
  /// Overlaps with the chains of further seeds.
  public var otherSeeds: [OverlapRecord]
  /// Overlaps with the chains of other samples of the same classes.
  public var otherSamples: [OverlapRecord]

  /// The chain in binary mode, in the region.
  public var binary: OutputMeasures? { methods[.chain]?.region.first }
}

/// A way of choosing the units of a sub-network, at the chain's counts per layer.
public enum UnitMethod: String, Sendable, Hashable, Codable, CaseIterable {
  /// The chain's own.
  case chain
  /// At random.
  case random
  /// The largest L1 norms of the weights.
  case magnitude
  /// The largest mean activations on the region.
  case activation
  /// The largest |a dL/da| on the region.
  case taylor

  /// For tables.
  public var title: String {
    switch self {
    case .chain: "chain"
    case .random: "random"
    case .magnitude: "L1 magnitude"
    case .activation: "mean activation"
    case .taylor: "Taylor |a dL/da|"
    }
  }
}
