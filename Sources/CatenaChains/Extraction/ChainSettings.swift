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
  /// Optimisation steps on the scores; large networks get more at the end (see `straightUnits`).
  public var steps: Int = 500
  /// Adam's step size on scores; that on the units' falls with the root of the temperature.
  public var learningRate: Float = 0.05
  /// Standard deviation of the seeded noise on the initial unit scores, which breaks ties between units.
  public var initialNoise: Float = 0.01
  /// Where block scores start, before the sigmoid.
  public var initialBlockScore: Float = 3
  /// Draws from which the gates' sensitivities are estimated, whose order unit scores begin in; each takes about as long as a
  /// step. 0 for scores that begin alike, but see `sensitiveUnits`.
  public var draws: Int = 0
  /// In a network of this many units or more scores begin in the order of sensitivities, from 4 draws, with a first
  /// temperature of 0.3 and at half of the units or less, where no draws are asked for: gates that begin alike scale all
  /// layers, and many layers so scaled are another network (see <doc:HowScoresBecomeChains>). Not above 0, for none.
  public var sensitiveUnits: Double = 10_000
  /// How far apart scores begin, in widths of the first step's sigmoids: at 1 the gates of a first step with half of the
  /// units would be spread evenly over 0 to 1.
  public var initialSpread: Float = 1
  /// The temperature of the first step.
  public var firstTemperature: Float = 1
  /// The temperature to which it falls geometrically.
  public var lastTemperature: Float = 0.1
  /// The part of the steps in which it does.
  public var coolingEnd: Double = 0.4
  /// The fraction of units aimed at in the first step; where more are asked for, as many as those, up to 95 %, and where
  /// scores begin in an order five times as many as are asked for, if these are fewer, but at least half of this.
  public var firstSize: Float = 0.95
  /// The part of the steps in which the logarithm of the size aimed at falls to that of the request, as
  /// 1 - (1 - x)^3.
  public var shrinkingEnd: Double = 0.6
  /// The part of the steps after which every residual branch is either kept or left out for good.
  public var branchEnd: Double = 0.4
  /// How strongly gates in between are driven to 0 or 1 at the end of the steps with such gates, in parts of Adam's
  /// largest step; before, with the cube of the steps since the branches were settled on (see `ChainProgram`).
  public var binarising: Float = 6
  /// The part of the steps, the last ones, with gates of exactly 0 and 1 (see `ChainProgram`).
  public var straightPart: Double = 0.15
  /// A network of this many units or more gets as many of those steps as there are before them, a smaller one the
  /// corresponding part where that is more than `straightPart`: with more units, more have to change places. They are cheap
  /// there, since little of a large network is left by then. Not above 0, for none.
  public var straightUnits: Double = 40_000
  /// How far from the border of the budget scores move in those steps, as the width of a sigmoid.
  public var straightWidth: Float = 0.1
  /// The part of `learningRate` with which they begin.
  public var straightRate: Float = 0.4
  /// In the straight phase the network has this many times the units that the chain may keep: those with the largest
  /// scores.
  public var candidates: Double = 1.5
  /// The most times that the search settles, each time from the state in which its branches were decided on and with
  /// other noise on the scores: small differences decide about many gates in between, and the best end counts. No more
  /// ends are tried once one gives the network's own class for every sample.
  public var ends: Int = 3
  /// The standard deviation of that noise, in temperatures.
  public var endNoise: Float = 0.5
  /// The most times that the straight phase runs again after an end that misses samples, each time from the best chain so
  /// far and with noise on the scores: chains that differ in a few units at the border of the budget differ by a sample
  /// or two, and those steps are cheap.
  public var restarts: Int = 6
  /// The standard deviation of that noise, in scores.
  public var restartNoise: Float = 0.1
  /// Snapshots of the scores along the path.
  public var snapshots: Int = 50
  /// A unit or branch whose gate is below this is cut out of the network for the rest of the search; 0 for never.
  public var deadGate: Float = 0.001
  /// In the settled phase, and before it where scores began in the order of sensitivities, units beyond this many times
  /// what the gates add up to are cut out as well, the smallest gates first: what lies that far behind does not come back.
  public var reserve: Double = 2
  /// What it costs to make the program again, in steps: as many must have been wasted on cut units since the last time.
  public var compactionCost: Double = 2
  /// Sets of variants of the samples, one of which every second step reads; fewer where they would take more than
  /// `variantBytes`, none for samples that are not in f32. They raise the agreement on unseen samples of the same
  /// classes and cost fidelity on the region's own, so that none is the default.
  public var variants: Int = 0
  /// The most bytes that variants may take.
  public var variantBytes: Int = 128 << 20
  /// The part of the variants that are blends of two samples.
  public var blend: Double = 0.5
  /// Samples per step; a larger region runs in chunks whose gradients add up.
  public var batch: Int = 32
  /// Sizes between everything and the smallest connected chain at which chains are also taken from the scores for the
  /// sparsity-fidelity curve.
  public var curvePoints: Int = 14
  /// Steps with gates of exactly 0 and 1 for each chain of another size than the search's own, in parts of the steps before
  /// such gates: those of the curve, of which chains of more than a quarter of the units get fewer, and, twice as many, those
  /// among which the smallest faithful one is looked for. 0 for none.
  public var sizePart: Double = 0.07
  /// How much larger or smaller each of these is than the one that it begins with.
  public var sizeRatio: Double = 1.5
  /// The part of the units that a search for the smallest faithful chain heads for.
  public var firstFraction: Double = 0.1
  /// Seed of everything random.
  public var seed: UInt64 = 0

  /// The published setting.
  public init() {}

  /// The fraction of units aimed at in the first step of a search that heads for `keep`: where scores begin in an order,
  /// at most five times as many, but at least half of `firstSize`. No search begins below its request, or above 95 %.
  package func firstSize(towards keep: Double) -> Float {
    let near = draws > 0 ? max(Self.firstRatio * Float(keep), firstSize / 2) : firstSize
    return max(min(firstSize, near), min(Float(keep), largestFirstSize))
  }
  /// The most units that are aimed at in the first step, as a multiple of the request.
  static let firstRatio: Float = 5
  /// The largest fraction aimed at in the first step.
  var largestFirstSize: Float { max(firstSize, 0.95) }
  /// Steps with gates of exactly 0 and 1.
  var straightSteps: Int { min(max(Int(straightPart * Double(steps)), 0), steps - 1) }
  /// Steps with gates in between.
  var softSteps: Int { steps - straightSteps }
  /// Those of them in which branches move.
  var branchSteps: Int { min(max(Int(branchEnd * Double(steps)), 0), softSteps) }
  /// Steps in which the temperature falls.
  var coolingSteps: Int { max(Int(coolingEnd * Double(steps)), 1) }
  /// Steps for a chain of another size: thirty of five hundred.
  package var sizeSteps: Int { sizePart > 0 ? max(Int((sizePart * Double(softSteps)).rounded()), 1) : 0 }
  /// The same on a curve: fewer for a chain of more than a quarter of the units, in proportion to what it leaves out, since
  /// fewer have to change places and steps are dear.
  package func curveSteps(at size: Double) -> Int {
    min(max(Int((Double(sizeSteps) * min((1 - size) / 0.75, 1)).rounded()), 1), sizeSteps)
  }
  /// Whether the search goes to chains of other sizes when it has settled.
  var hasOtherSizes: Bool { straightSteps > 0 && sizeSteps > 0 }
  /// The most times that the search settles: once where no phase judges steps, so that no end is known to be the best, and
  /// where no phase comes before, to whose state the search could go back.
  var mostEnds: Int { straightSteps > 0 && branchSteps > 0 ? max(ends, 1) : 1 }
  /// The most times that the straight phase runs again after an end.
  var mostRestarts: Int { straightSteps > 0 ? max(restarts, 0) : 0 }
  /// The steps of a search that never finds every sample's class.
  var mostSteps: Int { branchSteps + mostEnds * (steps - branchSteps + mostRestarts * straightSteps) }
  /// What a search runs, one after the other.
  var phases: [ChainProgram.Phase] {
    var begin = 0
    return ChainProgram.Phase.allCases.filter { phase in
      defer { begin = end(of: phase) }
      return end(of: phase) > begin
    }
  }
  /// The steps after which a phase is over.
  func end(of phase: ChainProgram.Phase) -> Int {
    switch phase {
    case .soft: branchSteps
    case .settled: softSteps
    case .straight: steps
    }
  }
  /// The settings for a network of `units` units: with the order of scores and the steps that it gets in addition. Of
  /// settings that were fitted before, the same.
  package func fitted(toUnits units: Int) -> ChainSettings {
    var fitted = self
    if sensitiveUnits > 0, Double(units) >= sensitiveUnits, draws == 0 {
      (fitted.draws, fitted.firstTemperature, fitted.firstSize) = (4, 0.3, 0.5)
    }
    guard straightUnits > 0 else { return fitted }
    let straight = Int(Double(softSteps) * min(Double(units) / straightUnits, 1))
    guard straightSteps > 0, straight > straightSteps else { return fitted }
    return fitted.with(straightSteps: straight)
  }
  /// The same with so many steps with gates of exactly 0 and 1, and everything before them as it is.
  func with(straightSteps: Int) -> ChainSettings {
    var result = self
    result.steps = softSteps + straightSteps
    let all = Double(result.steps)
    // Half a step more, so that no rounding makes it one less.
    result.straightPart = (Double(straightSteps) + 0.5) / all
    result.branchEnd = (Double(branchSteps) + 0.5) / all
    result.coolingEnd = (Double(coolingSteps) + 0.5) / all
    result.shrinkingEnd = shrinkingEnd * Double(steps) / all
    return result
  }
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
  /// Where units are left out, the network's outputs or their derivatives are no numbers.
  case notFinite
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
    case .notFinite:
      "without some of its units the network's outputs, or their derivatives, are no finite numbers: look for divisions, "
        + "roots and logarithms of what its units make"
    case .noUnits: "the network has no units besides its classifier: there is nothing that a chain could leave out"
    case .verification(let findings): "the chain is not what it claims to be:\n  " + findings.joined(separator: "\n  ")
    }
  }
}
