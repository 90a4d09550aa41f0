import CatenaCompute
import CatenaTensors
import Testing

struct PlanningTests {
  @Test(arguments: 0..<20)
  func valuesThatLiveTogetherDoNotOverlap(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let requests = (0..<40).map { _ in
      let start = Int.random(in: 0..<30, using: &generator)
      let end = start + Int.random(in: 0..<8, using: &generator)
      return ArenaPlan.Request(byteCount: Int.random(in: 0..<1000, using: &generator), lifetime: start...end)
    }
    let limit = 3000
    let plan = ArenaPlan(requests, alignment: 64, blockLimit: limit)
    for (index, place) in plan.placements.enumerated() {
      #expect(place.offset % 64 == 0)
      #expect(place.offset + requests[index].byteCount <= plan.blockSizes[place.block])
      for other in 0..<index
      where plan.placements[other].block == place.block && requests[other].lifetime.overlaps(requests[index].lifetime) {
        let otherPlace = plan.placements[other]
        #expect(
          otherPlace.offset + requests[other].byteCount <= place.offset
            || place.offset + requests[index].byteCount <= otherPlace.offset)
      }
    }
    #expect(plan.blockSizes.allSatisfy { $0 <= limit })
    #expect(plan.byteCount < requests.map(\.byteCount).reduce(0, +))
  }

  @Test func aChainOfValuesSharesTwoPlaces() {
    let requests = (0..<10).map { ArenaPlan.Request(byteCount: 640, lifetime: $0...$0 + 1) }
    #expect(ArenaPlan(requests, alignment: 64).blockSizes == [1280])
  }

  @Test func layoutsCoincideWhereThereIsOneChannelOrOnePosition() {
    #expect(Layout.channelsLast.strides(of: [2, 3, 4, 5]) == [60, 1, 15, 3])
    #expect(Layout.channelsLast.canonical(for: [2, 3, 4, 5]) == .channelsLast)
    for shape: Shape in [[2, 1, 4, 5], [2, 3, 1, 1], [2, 3]] {
      #expect(Layout.channelsLast.canonical(for: shape) == .rowMajor)
    }
  }

  @Test func aCollapsedWalkVisitsTheSamePositions() {
    let walk = StridedWalk(extents: [2, 1, 3, 4], strides: [[12, 5, 4, 1], [1, 0, 8, 2]])
    let collapsed = walk.collapsed()
    #expect(collapsed.extents == [2, 12])
    #expect(positions(walk) == positions(collapsed))
    #expect(StridedWalk(extents: [1, 1], strides: [[7, 9]]).collapsed().extents == [1])
  }

  private func positions(_ walk: StridedWalk) -> [[Int]] {
    let shape = Shape(walk.extents)
    return (0..<walk.count).map { index in
      walk.strides.map { strides in
        zip(shape.strides, zip(walk.extents, strides)).reduce(0) { $0 + index / $1.0 % $1.1.0 * $1.1.1 }
      }
    }
  }
}
