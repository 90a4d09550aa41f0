import CatenaTensors

/// What reshapes demand: indices of merged axes, and of axes that are cut as one.
extension CutPlan {
  /// An index of a merged axis stays where all that it is made of stays, and only there.
  mutating func meetMerge(_ node: Int, _ merge: AxisRules.Merge) {
    let merged = base(node, merge.merged)
    let factors = merge.factors.map { base(node, $0) }
    let extents = Combinations(merge.factors.map { rules[node].extent($0) })
    let cause = Cause(reason: .reshape, node: node)
    for index in 0..<extents.count where isKept(merged + index) {
      for (position, factor) in factors.enumerated() { keep(factor + extents.index(position, of: index), cause) }
    }
    for index in 0..<extents.count where !isKept(merged + index) {
      let isWhole = factors.indices.allSatisfy { isKept(factors[$0] + extents.index($0, of: index)) }
      if isWhole { keep(merged + index, cause) }
    }
  }

  /// The outer axes stay where something of the inner one does, and keep equally many indices of it everywhere.
  mutating func meetBundle(_ value: ValueID, _ bundle: AxisBundle) {
    let first = first(value, bundle)
    let outer = bundle.outer.map { valueBases[value]![$0] }
    let cause = Cause(reason: .reshape, node: nil)
    for index in 0..<bundle.combinations.count where isKept(first + index) {
      for (position, axis) in outer.enumerated() { keep(axis + bundle.combinations.index(position, of: index), cause) }
    }
    let size = bundle.combinations.extents.last!
    let count = innerCount(value, bundle)
    for run in 0..<bundle.combinations.count / max(size, 1) {
      let isThere = outer.indices.allSatisfy { isKept(outer[$0] + bundle.combinations.index($0, of: run * size)) }
      guard isThere else { continue }
      for index in run * size..<(run + 1) * size where keptCount(first + run * size, size) < count {
        keep(first + index, cause)
      }
    }
  }

  /// Whether all the outer indices of an index of a bundle stay; a head that is gone reads none of its channels.
  func isRead(_ node: Int, _ place: Place, _ index: Int) -> Bool {
    guard let (bundle, outer) = bundleBases(node, place) else { return true }
    return outer.indices.allSatisfy { isKept(outer[$0] + bundle.combinations.index($0, of: index)) }
  }

  private func bundleBases(_ node: Int, _ place: Place) -> (bundle: AxisBundle, outer: [Int])? {
    let rank = rules[node].shape(place.operand).rank
    guard place.axis >= rank else { return nil }
    let bundle = rules[node].bundles(place.operand)[place.axis - rank]
    return (bundle, bundle.outer.map { base(node, Place(operand: place.operand, axis: $0)) })
  }

  /// How many indices of an axis are left, if it is the inner axis of a bundle.
  func innerCount(_ value: ValueID, axis: Int) -> Int? {
    bundles[value]?.first { $0.inner == axis }.map { innerCount(value, $0) }
  }

  private func innerCount(_ value: ValueID, _ bundle: AxisBundle) -> Int {
    let first = first(value, bundle)
    let size = bundle.combinations.extents.last!
    let runs = size == 0 ? 0 : bundle.combinations.count / size
    return (0..<runs).map { keptCount(first + $0 * size, size) }.max() ?? 0
  }

  private func first(_ value: ValueID, _ bundle: AxisBundle) -> Int {
    valueBases[value]![graph.shape(value).rank + bundles[value]!.firstIndex(of: bundle)!]
  }

  private func keptCount(_ first: Int, _ count: Int) -> Int { (first..<first + count).count { isKept($0) } }
}
