/// The sizes at which the smallest faithful chain of a region is searched for: between one at which a search found none and
/// the smallest that was found, halved on a logarithmic scale.
///
/// Chains from the way to a smaller size are poor ones: only at the size that it heads for does a search settle and run with
/// gates of exactly 0 and 1.
package struct SizeSearch: Sendable {
  /// The part of the units that the next search heads for; `nil` when the answer is known well enough.
  package private(set) var next: Double?
  /// The size of the smallest faithful chain that is known: at first of the network itself.
  package private(set) var faithful = 1.0
  /// The largest size below that at which a search found no faithful chain.
  private var failing: Double?
  private let smallest: Double
  private var left: Int
  /// How much larger the answer may be than a size that does not do.
  private static let precision = 1.2

  /// - Parameters:
  ///   - first: the size to begin with.
  ///   - smallest: the least size to head for.
  ///   - searches: the most of them.
  package init(first: Double, smallest: Double, searches: Int) {
    self.smallest = smallest
    left = searches
    next = searches > 0 ? max(min(first, 1), smallest) : nil
  }

  /// Goes on after a search that found a faithful chain of this size, or of 1.
  package mutating func record(_ found: Double) {
    guard let tried = next else { return }
    left -= 1
    faithful = min(faithful, found)
    if found > tried { failing = max(failing ?? 0, tried) }
    if let size = failing, size >= faithful { failing = nil }
    guard left > 0, faithful > smallest, faithful > (failing ?? 0) * Self.precision else {
      next = nil
      return
    }
    next = failing.map { ($0 * faithful).squareRoot() } ?? max(faithful / 2, smallest)
  }
}
