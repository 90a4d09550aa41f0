import CatenaTensors
import Testing

@Suite("Shape")
struct ShapeTests {
  @Test("counts, strides and names")
  func basics() {
    let shape: Shape = [2, 3, 4]
    #expect(shape.elementCount == 24)
    #expect(shape.strides == [12, 4, 1])
    #expect(shape[1] == 3)
    #expect(shape[-1] == 4)
    #expect(shape.count(of: 1..<3) == 12)
    #expect(shape.description == "2x3x4")
    #expect(Shape.scalar.elementCount == 1)
    #expect(Shape.scalar.strides.isEmpty)
    #expect(Shape.scalar.description == "scalar")
    #expect(Shape([3, 0]).elementCount == 0)
  }

  @Test(
    "shapes broadcast as numpy's do",
    arguments: [
      ([2, 3], [3], [2, 3]), ([2, 1], [1, 3], [2, 3]), ([], [4], [4]), ([5, 1, 4], [3, 1], [5, 3, 4]),
      ([0, 2], [1, 2], [0, 2]), ([1], [0], [0]), ([2, 3], [2], nil), ([2, 3], [3, 3], nil), ([0], [2], nil),
    ] as [([Int], [Int], [Int]?)])
  func broadcast(_ left: [Int], _ right: [Int], _ result: [Int]?) {
    #expect(Shape(left).broadcast(with: Shape(right)) == result.map { Shape($0) })
    #expect(Shape(right).broadcast(with: Shape(left)) == result.map { Shape($0) })
  }

  @Test("repeated axes have the stride 0")
  func broadcastStrides() {
    #expect(Shape([3, 1]).broadcastStrides(to: [2, 3, 4]) == [0, 1, 0])
    #expect(Shape([2, 3, 4]).broadcastStrides(to: [2, 3, 4]) == [12, 4, 1])
    #expect(Shape.scalar.broadcastStrides(to: [2, 2]) == [0, 0])
  }
}
