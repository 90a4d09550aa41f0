/// The ranks of values, from 1; equal values share the mean of their ranks.
func ranks(of values: [Double]) -> [Double] {
  let order = values.indices.sorted { values[$0] < values[$1] }
  var ranks = [Double](repeating: 0, count: values.count)
  var first = 0
  while first < order.count {
    var last = first
    while last + 1 < order.count, values[order[last + 1]] == values[order[first]] { last += 1 }
    for position in first...last { ranks[order[position]] = Double(first + last) / 2 + 1 }
    first = last + 1
  }
  return ranks
}

/// Spearman's rank correlation: Pearson's correlation of the ranks, which holds with ties.
/// - Returns: from -1 to 1; `nil` for fewer than two pairs, or where all values of one side are equal.
/// - Precondition: as many values on both sides, none of them NaN.
public func spearmanCorrelation(_ first: [Double], _ second: [Double]) -> Double? {
  precondition(first.count == second.count, "observations come in pairs")
  precondition(!(first + second).contains { $0.isNaN }, "what is not a number has no rank")
  guard first.count > 1 else { return nil }
  let (x, y) = (ranks(of: first), ranks(of: second))
  let center = Double(first.count + 1) / 2
  let (dx, dy) = (x.map { $0 - center }, y.map { $0 - center })
  func product(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
  let spread = (product(dx, dx) * product(dy, dy)).squareRoot()
  return spread > 0 ? min(max(product(dx, dy) / spread, -1), 1) : nil
}

/// The Jaccard overlap |A and B| / |A or B| of two sets given as flags; 1 for two empty ones.
/// - Precondition: as many flags on both sides.
public func jaccardOverlap(_ first: [Bool], _ second: [Bool]) -> Double {
  precondition(first.count == second.count, "sets of the same elements")
  var (both, either) = (0, 0)
  for (a, b) in zip(first, second) {
    if a && b { both += 1 }
    if a || b { either += 1 }
  }
  return either == 0 ? 1 : Double(both) / Double(either)
}
