/// Disjoint sets of indices of axes that are cut together.
struct ChannelClasses: Sendable {
  private var parents: [Int] = []

  /// Adds `count` sets of one element each; returns the first element.
  mutating func add(_ count: Int) -> Int {
    let first = parents.count
    parents.append(contentsOf: first..<first + count)
    return first
  }

  /// The element that stands for the set of `element`.
  mutating func find(_ element: Int) -> Int {
    var element = element
    while parents[element] != element {
      parents[element] = parents[parents[element]]
      element = parents[element]
    }
    return element
  }

  /// Joins two sets.
  mutating func unite(_ left: Int, _ right: Int) {
    let (left, right) = (find(left), find(right))
    // The smaller element stands for the set, so that the result does not depend on the order.
    if left != right { parents[max(left, right)] = min(left, right) }
  }

  /// The representative of every element.
  mutating func representatives() -> [Int] { parents.indices.map { find($0) } }
}
