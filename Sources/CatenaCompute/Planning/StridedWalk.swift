/// A walk over the positions of a box that several operands read or write with strides of their own.
package struct StridedWalk: Sendable, Hashable {
  /// The extent of each axis, outermost first.
  package var extents: [Int]
  /// For each operand the stride of each axis, in elements.
  package var strides: [[Int]]

  /// A walk over `extents`; each operand has one stride per axis.
  package init(extents: [Int], strides: [[Int]]) {
    precondition(strides.allSatisfy { $0.count == extents.count }, "a walk needs one stride per axis and operand")
    self.extents = extents
    self.strides = strides
  }

  /// The number of positions.
  package var count: Int { extents.reduce(1, *) }

  /// The same walk with its axes in another order.
  package func reordered(_ axes: [Int]) -> StridedWalk {
    StridedWalk(extents: axes.map { extents[$0] }, strides: strides.map { own in axes.map { own[$0] } })
  }

  /// The same walk with as few axes as possible, at least one: axes of one position are dropped and neighbours that all
  /// operands walk as one axis are merged. The order of positions stays.
  package func collapsed() -> StridedWalk {
    var result = StridedWalk(extents: [], strides: strides.map { _ in [] })
    for axis in extents.indices where extents[axis] != 1 {
      let last = result.extents.count - 1
      let merges =
        last >= 0
        && strides.indices.allSatisfy { result.strides[$0][last] == strides[$0][axis] * extents[axis] }
      if merges {
        result.extents[last] *= extents[axis]
        for operand in strides.indices { result.strides[operand][last] = strides[operand][axis] }
      } else {
        result.extents.append(extents[axis])
        for operand in strides.indices { result.strides[operand].append(strides[operand][axis]) }
      }
    }
    if result.extents.isEmpty { return StridedWalk(extents: [1], strides: strides.map { _ in [1] }) }
    return result
  }
}
