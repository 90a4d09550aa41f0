/// One point of a region's sparsity-fidelity curve.
public struct ChainPoint: Sendable, Hashable {
  /// What is kept.
  public var selection: ChainSelection
  /// Fidelity with kept units exactly 1.
  public var binary: Fidelity
  /// Fidelity with kept units scaled by their scores.
  public var soft: Fidelity
  /// The optimisation step whose scores were used; `nil` for the dense network.
  public var step: Int?

  /// An evaluated chain.
  package init(selection: ChainSelection, binary: Fidelity, soft: Fidelity, step: Int?) {
    self.selection = selection
    self.binary = binary
    self.soft = soft
    self.step = step
  }

  /// The fraction of units kept.
  public var keptFraction: Double { Double(selection.keptCount) / Double(max(selection.units.count, 1)) }

  /// Whether this point serves better than `other`: higher binary agreement, then lower divergence.
  func isBetter(than other: ChainPoint) -> Bool { binary.isBetter(than: other.binary) }
}

/// All points that were evaluated for a region, from everything to the smallest chain.
public struct ChainCurve: Sendable, Hashable {
  /// The points, the largest chain first.
  public private(set) var points: [ChainPoint]

  /// A curve of evaluated points.
  public init(points: [ChainPoint]) { self.points = Self.ordered(points) }

  private static func ordered(_ points: [ChainPoint]) -> [ChainPoint] {
    points.sorted {
      $0.selection.keptCount == $1.selection.keptCount
        ? $1.isBetter(than: $0) : $0.selection.keptCount > $1.selection.keptCount
    }
  }

  /// The best point that meets the request, or, where none does, the one that comes closest.
  public func answer(to request: ChainRequest) -> (point: ChainPoint, met: Bool) {
    precondition(!points.isEmpty, "a curve has at least the dense network")
    let least = request.leastAgreement ?? 0
    guard let fraction = request.budget else {
      guard let smallest = points.last(where: { $0.binary.agreement >= least }) else {
        return (points.dropFirst().reduce(points[0]) { $1.isBetter(than: $0) ? $1 : $0 }, false)
      }
      return (smallest, true)
    }
    let budget = Int((fraction * Double(points[0].selection.units.count)).rounded(.down))
    let affordable = points.filter { $0.selection.keptCount <= budget }
    guard let first = affordable.first else { return (points[points.count - 1], false) }
    let best = affordable.dropFirst().reduce(first) { $1.isBetter(than: $0) ? $1 : $0 }
    return (best, best.binary.agreement >= least)
  }
}
