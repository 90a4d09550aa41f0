/// Places values that live at different times in shared blocks of memory, so that two values overlap in memory only if
/// they never live together. Greedy by size (Pisarchyk and Lee, 2020): the largest value first, each at the lowest
/// place that is free throughout its life.
package struct ArenaPlan: Sendable {
  /// A value that needs memory.
  package struct Request: Sendable {
    /// Bytes, not negative.
    package var byteCount: Int
    /// The steps at which it is alive: from the one that makes it to the last that reads it.
    package var lifetime: ClosedRange<Int>

    /// A need of `byteCount` bytes during `lifetime`.
    package init(byteCount: Int, lifetime: ClosedRange<Int>) {
      self.byteCount = byteCount
      self.lifetime = lifetime
    }
  }
  /// Where a value lies.
  package struct Placement: Sendable, Hashable {
    /// Index into `blockSizes`.
    package var block: Int
    /// Bytes from the beginning of the block, a multiple of the alignment.
    package var offset: Int
  }

  /// One place per request, in the requests' order.
  package private(set) var placements: [Placement]
  /// The bytes of each block.
  package private(set) var blockSizes: [Int] = []

  /// All bytes.
  package var byteCount: Int { blockSizes.reduce(0, +) }

  /// Places `requests`; a block larger than `blockLimit` holds one value that is itself larger.
  package init(_ requests: [Request], alignment: Int, blockLimit: Int = .max) {
    placements = Array(repeating: Placement(block: 0, offset: 0), count: requests.count)
    let order = requests.indices.sorted {
      (requests[$1].byteCount, requests[$0].lifetime.lowerBound, $0)
        < (requests[$0].byteCount, requests[$1].lifetime.lowerBound, $1)
    }
    var members: [[Int]] = []
    for index in order {
      let size = max(requests[index].byteCount, 1)
      var block = 0
      var offset = 0
      while block < members.count {
        offset = Self.lowestFreeOffset(
          size: size, alignment: alignment,
          neighbours: members[block].filter { requests[$0].lifetime.overlaps(requests[index].lifetime) }
            .map { (placements[$0].offset, max(requests[$0].byteCount, 1)) })
        if offset == 0 || offset + size <= blockLimit { break }
        block += 1
        offset = 0
      }
      if block == members.count {
        members.append([])
        blockSizes.append(0)
      }
      members[block].append(index)
      placements[index] = Placement(block: block, offset: offset)
      blockSizes[block] = max(blockSizes[block], offset + size)
    }
  }

  private static func lowestFreeOffset(size: Int, alignment: Int, neighbours: [(offset: Int, size: Int)]) -> Int {
    var candidate = 0
    for neighbour in neighbours.sorted(by: { $0.offset < $1.offset }) {
      if candidate + size <= neighbour.offset { break }
      let end = neighbour.offset + neighbour.size
      candidate = max(candidate, (end + alignment - 1) / alignment * alignment)
    }
    return candidate
  }
}
