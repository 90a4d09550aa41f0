import CatenaCompute

/// How the Hessian of a convolution is put together from products of shifted images.
///
/// The block of taps (t, u) is the sum, over the positions p that t reads, of x(p) x(p + d)^T with d the distance of the two
/// taps. Pairs of taps at the same distance differ in a few rows and columns at the border only. So every distance has one
/// product over the common interior and some over strips, the *cells*, and a block is the sum of its cells: nothing is
/// subtracted, which keeps the Hessian positive. With a stride, pairs share cells where they also share the phase.
struct HessianPlan {
  /// A run of positions along an axis.
  struct Run: Hashable {
    var first: Int
    var step: Int
    var count: Int

    func shifted(by distance: Int) -> Run { Run(first: first + distance, step: step, count: count) }
  }
  /// One product of two shifted images: rows and columns of the left, distance of the right.
  struct Cell {
    var rows: Run
    var rowDistance: Int
    var leftColumns: Int
    var rightColumns: Int
    /// Whether both sides are the same, so that one triangle is enough.
    var isSymmetric: Bool
  }
  /// The runs of columns that are gathered, without repetition.
  private(set) var columnRuns: [Run] = []
  /// The products.
  private(set) var cells: [Cell] = []
  /// Where the members of block (t, u) start, with one entry more at the end.
  private(set) var starts: [Int32] = [0]
  /// The cells of every block; ~k is cell k transposed.
  private(set) var members: [Int32] = []

  init(_ layer: LayerGeometry) {
    let vertical = AxisSegments(layer, axis: 0)
    let horizontal = AxisSegments(layer, axis: 1)
    var runIndices: [Run: Int] = [:]
    var cellIndices: [[Int]: Int] = [:]
    let taps = layer.taps
    let width = layer.kernel[1]
    var blocks = [[Int32]](repeating: [], count: taps * taps)
    for t in 0..<taps {
      for u in t..<taps {
        let rowSegments = vertical.segments(t / width, u / width)
        let columnSegments = horizontal.segments(t % width, u % width)
        for row in rowSegments {
          for column in columnSegments {
            let rows = vertical.all[row]
            let columns = horizontal.all[column]
            let cell: Int
            if let known = cellIndices[[row, column]] {
              cell = known
            } else {
              let left = Self.index(of: columns.run, &columnRuns, &runIndices)
              let right = Self.index(of: columns.run.shifted(by: columns.distance), &columnRuns, &runIndices)
              cell = cells.count
              cells.append(
                Cell(
                  rows: rows.run, rowDistance: rows.distance, leftColumns: left, rightColumns: right,
                  isSymmetric: rows.distance == 0 && columns.distance == 0))
              cellIndices[[row, column]] = cell
            }
            blocks[t * taps + u].append(Int32(cell))
            if t != u { blocks[u * taps + t].append(~Int32(cell)) }
          }
        }
      }
    }
    for block in blocks {
      members += block
      starts.append(Int32(members.count))
    }
  }

  private static func index(of run: Run, _ runs: inout [Run], _ indices: inout [Run: Int]) -> Int {
    if let known = indices[run] { return known }
    indices[run] = runs.count
    runs.append(run)
    return runs.count - 1
  }
}

/// Along one axis: for every pair of taps the positions of the first tap, cut where any pair of the same distance and phase
/// begins or ends.
private struct AxisSegments {
  struct Segment: Hashable {
    var distance: Int
    var run: HessianPlan.Run
  }
  private(set) var all: [Segment] = []
  private var pairs: [[Int]]
  private let taps: Int

  func segments(_ first: Int, _ second: Int) -> [Int] { pairs[first * taps + second] }

  init(_ layer: LayerGeometry, axis: Int) {
    taps = layer.kernel[axis]
    pairs = [[Int]](repeating: [], count: taps * taps)
    let (stride, dilation, pad) = (layer.strides[axis], layer.dilations[axis], layer.pads[axis])
    struct Key: Hashable {
      var distance: Int
      var phase: Int
    }
    var intervals: [Key: [(pair: Int, range: Range<Int>)]] = [:]
    for first in 0..<taps {
      for second in 0..<taps {
        let outputs = layer.outputs(axis: axis, tap: first).clamped(to: layer.outputs(axis: axis, tap: second))
        if outputs.isEmpty { continue }
        let start = first * dilation - pad
        let phase = ((start % stride) + stride) % stride
        let quotient = (start - phase) / stride
        let key = Key(distance: (second - first) * dilation, phase: phase)
        let range = outputs.lowerBound + quotient..<outputs.upperBound + quotient
        intervals[key, default: []].append((first * taps + second, range))
      }
    }
    for key in intervals.keys.sorted(by: { ($0.distance, $0.phase) < ($1.distance, $1.phase) }) {
      let found = intervals[key] ?? []
      let cuts = Set(found.flatMap { [$0.range.lowerBound, $0.range.upperBound] }).sorted()
      for (low, high) in zip(cuts, cuts.dropFirst()) {
        let members = found.filter { $0.range.lowerBound <= low && high <= $0.range.upperBound }
        if members.isEmpty { continue }
        let run = HessianPlan.Run(first: low * stride + key.phase, step: stride, count: high - low)
        for member in members { pairs[member.pair].append(all.count) }
        all.append(Segment(distance: key.distance, run: run))
      }
    }
  }
}
