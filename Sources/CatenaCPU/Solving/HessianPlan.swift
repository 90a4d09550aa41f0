import CatenaCompute

/// How the Hessian of a convolution is put together from products of shifted images.
///
/// The block of taps (t, u) is the sum, over the positions p that t reads, of x(p) x(p + d)^T with d the distance of the two
/// taps. Pairs of taps at the same distance differ in a few rows and columns at the border only. There are two ways:
///
/// - Every distance has one product over the common interior and some over strips, the *cells*, and a block is the sum of
///   its cells: nothing is subtracted.
/// - Every distance has one *correlation* over the whole image, which its transform gives for all distances together, and a
///   block is that without the strips that its first tap does not read.
///
/// With a stride, images are taken apart into *planes*, one per phase of the taps; pairs share a product where they share
/// the planes and the distance in them.
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
  /// The products over strips.
  private(set) var cells: [Cell] = []
  /// The correlations of whole planes; their sums lie before those of the cells. Without, no image is transformed.
  private(set) var correlations: CorrelationPlan?
  /// Where the members of block (t, u) start, with one entry more at the end.
  private(set) var starts: [Int32] = [0]
  /// The cells of every block, correlations first: 4 times the index, 1 more if transposed, 2 more if subtracted.
  private(set) var members: [Int32] = []

  /// Sums in all.
  var count: Int { correlationCount + cells.count }
  /// Sums that are correlations.
  var correlationCount: Int { correlations?.count ?? 0 }

  private var runIndices: [Run: Int] = [:]
  private var cellIndices: [[Int]: Int] = [:]

  /// Plans a layer with correlations or without.
  init(_ layer: LayerGeometry, withCorrelations: Bool) {
    let (vertical, horizontal) = (AxisSegments(layer, axis: 0), AxisSegments(layer, axis: 1))
    precondition(!withCorrelations || Self.hasCorrelations(vertical, horizontal), "positions between the taps")
    if withCorrelations { correlations = CorrelationPlan(layer, vertical, horizontal) }
    let taps = layer.taps
    let width = layer.kernel[1]
    var blocks = [[Int32]](repeating: [], count: taps * taps)
    for t in 0..<taps {
      for u in t..<taps {
        let rows = vertical.pair(t / width, u / width)
        let columns = horizontal.pair(t % width, u % width)
        var block: [Int32] = []
        if let correlations {
          block.append(correlations.member(rows.key, columns.key))
          for row in vertical.segments(of: rows.key) {
            for column in horizontal.segments(of: columns.key)
            where !rows.segments.contains(row) || !columns.segments.contains(column) {
              block.append(4 * cell(vertical.all[row], horizontal.all[column], [row, column]) + 2)
            }
          }
        } else {
          for row in rows.segments {
            for column in columns.segments {
              block.append(4 * cell(vertical.all[row], horizontal.all[column], [row, column]))
            }
          }
        }
        blocks[t * taps + u] = block
        if t != u { blocks[u * taps + t] = block.map { $0 ^ 1 } }
      }
    }
    for block in blocks {
      members += block
      starts.append(Int32(members.count))
    }
    let (first, indices) = (correlationCount, cellIndices)
    correlations?.findRims(layer, vertical, horizontal) { row, column in indices[[row, column]].map { first + $0 } }
  }

  /// Whether the taps of a layer read all positions between the first and the last that they read: only then is a strip
  /// what a correlation has too much.
  static func hasCorrelations(_ layer: LayerGeometry) -> Bool {
    hasCorrelations(AxisSegments(layer, axis: 0), AxisSegments(layer, axis: 1))
  }

  private static func hasCorrelations(_ vertical: AxisSegments, _ horizontal: AxisSegments) -> Bool {
    vertical.isCovered && horizontal.isCovered
  }

  /// Multiplications of the cells, of one image and channel by one channel.
  var cellProducts: Int {
    cells.reduce(0) { sum, cell in
      let positions = cell.rows.count * columnRuns[cell.leftColumns].count
      return sum + (cell.isSymmetric ? (positions + 1) / 2 : positions)
    }
  }

  private mutating func cell(_ rows: AxisSegments.Segment, _ columns: AxisSegments.Segment, _ key: [Int]) -> Int32 {
    if let known = cellIndices[key] { return Int32(correlationCount + known) }
    cellIndices[key] = cells.count
    cells.append(
      Cell(
        rows: rows.run, rowDistance: rows.distance, leftColumns: index(of: columns.run),
        rightColumns: index(of: columns.run.shifted(by: columns.distance)),
        isSymmetric: rows.distance == 0 && columns.distance == 0))
    return Int32(correlationCount + cells.count - 1)
  }

  private mutating func index(of run: Run) -> Int {
    if let known = runIndices[run] { return known }
    runIndices[run] = columnRuns.count
    columnRuns.append(run)
    return columnRuns.count - 1
  }
}

/// Along one axis: for every pair of taps the positions of the first tap, cut where any pair of the same distance and phase
/// begins or ends.
struct AxisSegments {
  struct Segment: Hashable {
    var distance: Int
    var run: HessianPlan.Run
  }
  /// What pairs of taps have in common that read the same products but for the border.
  struct Key: Hashable {
    /// Positions from the first tap's to the second's.
    var distance: Int
    /// The first tap's position modulo the stride.
    var phase: Int
    /// The second's.
    var partner: Int
    /// The distance in positions of their planes, each counted from the plane's first.
    var lag: Int
  }
  /// Two taps.
  struct Pair {
    var key: Key
    var segments: [Int] = []
  }
  /// The segments.
  private(set) var all: [Segment] = []
  /// The phases of the taps, in increasing order, and of each the positions from the first that a tap reads to the last.
  private(set) var planes: [(phase: Int, run: HessianPlan.Run)] = []
  /// Whether no position between those of the taps is left out by all pairs of a distance and phase.
  private(set) var isCovered = true
  private var pairs: [Pair] = []
  private var segmentsOfKey: [Key: [Int]] = [:]
  private let taps: Int

  /// A pair of taps.
  func pair(_ first: Int, _ second: Int) -> Pair { pairs[first * taps + second] }

  /// All segments of a kind of pairs.
  func segments(of key: Key) -> [Int] { segmentsOfKey[key] ?? [] }

  /// The place among `planes`.
  func plane(_ phase: Int) -> Int {
    guard let place = planes.firstIndex(where: { $0.phase == phase }) else { preconditionFailure("no phase \(phase)") }
    return place
  }

  /// All kinds of pairs.
  var keys: [Key] { pairs.map(\.key) }

  init(_ layer: LayerGeometry, axis: Int) {
    taps = layer.kernel[axis]
    let (stride, dilation, pad) = (layer.strides[axis], layer.dilations[axis], layer.pads[axis])
    func phase(_ tap: Int) -> Int { (((tap * dilation - pad) % stride) + stride) % stride }
    func quotient(_ tap: Int) -> Int { (tap * dilation - pad - phase(tap)) / stride }
    var windows: [Int: Range<Int>] = [:]
    for tap in 0..<taps {
      let outputs = layer.outputs(axis: axis, tap: tap)
      let range = outputs.lowerBound + quotient(tap)..<outputs.upperBound + quotient(tap)
      let known = windows[phase(tap)] ?? range
      if range.isEmpty {
        windows[phase(tap)] = known
      } else {
        windows[phase(tap)] =
          known.isEmpty
          ? range : min(known.lowerBound, range.lowerBound)..<max(known.upperBound, range.upperBound)
      }
    }
    planes = windows.sorted { $0.key < $1.key }.map {
      ($0.key, HessianPlan.Run(first: $0.value.lowerBound * stride + $0.key, step: stride, count: $0.value.count))
    }
    func start(_ tap: Int) -> Int { windows[phase(tap)]?.lowerBound ?? 0 }
    var intervals: [Key: [(pair: Int, range: Range<Int>)]] = [:]
    for first in 0..<taps {
      for second in 0..<taps {
        let key = Key(
          distance: (second - first) * dilation, phase: phase(first), partner: phase(second),
          lag: quotient(second) - quotient(first) + start(first) - start(second))
        pairs.append(Pair(key: key))
        let outputs = layer.outputs(axis: axis, tap: first).clamped(to: layer.outputs(axis: axis, tap: second))
        let range = outputs.lowerBound + quotient(first)..<outputs.upperBound + quotient(first)
        if !outputs.isEmpty { intervals[key, default: []].append((first * taps + second, range)) }
      }
    }
    for key in Set(pairs.map(\.key)).sorted(by: { ($0.distance, $0.phase) < ($1.distance, $1.phase) }) {
      add(key, intervals[key] ?? [], stride)
      let (left, right) = (windows[key.phase]?.count ?? 0, windows[key.partner]?.count ?? 0)
      let whole = (0..<left).clamped(to: -key.lag..<right - key.lag)
      let covered = segments(of: key).reduce(0) { $0 + all[$1].run.count }
      isCovered = isCovered && covered == whole.count
    }
  }

  private mutating func add(_ key: Key, _ found: [(pair: Int, range: Range<Int>)], _ stride: Int) {
    let cuts = Set(found.flatMap { [$0.range.lowerBound, $0.range.upperBound] }).sorted()
    for (low, high) in zip(cuts, cuts.dropFirst()) {
      let members = found.filter { $0.range.lowerBound <= low && high <= $0.range.upperBound }
      if members.isEmpty { continue }
      let run = HessianPlan.Run(first: low * stride + key.phase, step: stride, count: high - low)
      for member in members { pairs[member.pair].segments.append(all.count) }
      segmentsOfKey[key, default: []].append(all.count)
      all.append(Segment(distance: key.distance, run: run))
    }
  }
}
