import Foundation

/// The sizes at which the smallest faithful chain of a region is looked for: up or down from the first one until one is
/// known that does and one that does not, then between the two, halved on a logarithmic scale.
package struct SizeSearch: Sendable {
  /// The part of the units that the next chain gets; `nil` when the answer is known well enough.
  package private(set) var next: Double?
  /// The smallest size that does: at first that of the network itself.
  package private(set) var faithful = 1.0
  /// The largest size that does not.
  private var failing: Double?
  private let smallest: Double
  private let ratio: Double
  /// How much larger the answer may be than a size that does not do.
  private static let precision = 1.1

  /// - Parameters:
  ///   - first: the size to begin with.
  ///   - smallest: the least size.
  ///   - ratio: of sizes that follow each other, as long as all of them do or none.
  package init(first: Double, smallest: Double, ratio: Double) {
    (self.smallest, self.ratio) = (smallest, ratio)
    next = max(min(first, 1), smallest)
  }

  /// Goes on after a chain of the size `next`.
  package mutating func record(isFaithful: Bool) {
    guard let tried = next else { return }
    if isFaithful { faithful = tried } else { failing = tried }
    if let failing {
      let middle = (failing * faithful).squareRoot()
      let between = faithful < 1 ? middle : min(failing * ratio, middle)
      next = faithful > failing * Self.precision ? between : nil
    } else {
      next = faithful > smallest ? max(faithful / ratio, smallest) : nil
    }
  }

  /// The most sizes that are tried after the first one.
  package static func most(first: Double, smallest: Double, ratio: Double) -> Int {
    let rungs = max(log(1 / first), log(first / smallest)) / log(ratio)
    return Int(rungs.rounded(.up)) + Int(log2(log(ratio) / log(precision)).rounded(.up))
  }
}
