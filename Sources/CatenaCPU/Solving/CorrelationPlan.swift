import CSolvers
import CatenaCompute

/// The correlations of a layer's planes: which distances of which planes, and the transforms that give them.
struct CorrelationPlan {
  /// A plane of a phase along each axis.
  struct Plane {
    var rows: HessianPlan.Run
    var columns: HessianPlan.Run
    /// The parts that all taps of the plane read.
    var interior: [(rows: HessianPlan.Run, columns: HessianPlan.Run)] = []
  }
  /// A tap of a plane, and the cells of distance 0 that it reads besides the interior.
  struct Rim {
    var plane: Int
    var cells: [Int] = []
  }
  private struct Correlation: Hashable {
    var left: Int
    var right: Int
    var rowLag: Int
    var columnLag: Int
  }

  /// The planes.
  private(set) var planes: [Plane] = []
  /// Distances along the rows' and the columns' numbers, 0 first.
  private(set) var lags: [[Int]] = [[0], [0]]
  /// Points of the transforms along them.
  private(set) var size: [Int] = [1, 1]
  /// The cells of every pair of planes and every distance, as `catena_correlation` has them.
  private(set) var targets: [Int32] = []
  /// For every tap, what it reads at the border.
  private(set) var rims: [Rim] = []
  private var correlations: [Correlation: Int] = [:]
  private let rowPhases: [Int]
  private let columnPhases: [Int]

  /// The sums.
  var count: Int { correlations.count }

  /// Those of a plane with itself at distance 0: symmetric.
  var symmetric: [Int] {
    correlations.filter { $0.key.left == $0.key.right && $0.key.rowLag == 0 && $0.key.columnLag == 0 }.map(\.value)
  }

  /// Those of a plane with itself at another distance: their squares above the diagonal are kept transposed.
  var turned: [Int] {
    correlations.filter { $0.key.left == $0.key.right && ($0.key.rowLag != 0 || $0.key.columnLag != 0) }.map(\.value)
  }

  init(_ layer: LayerGeometry, _ vertical: AxisSegments, _ horizontal: AxisSegments) {
    rowPhases = vertical.planes.map(\.phase)
    columnPhases = horizontal.planes.map(\.phase)
    for row in vertical.planes {
      for column in horizontal.planes { planes.append(Plane(rows: row.run, columns: column.run)) }
    }
    lags = [vertical, horizontal].map { Set($0.keys.map { abs($0.lag) } + [0]).sorted() }
    size = zip([vertical, horizontal], lags).map { segments, lags in
      Int(catena_transform_size(Int64((segments.planes.map(\.run.count).max() ?? 0) + (lags.last ?? 0))))
    }
    let columns = 2 * lags[1].count - 1
    let pairs = planes.count * (planes.count + 1) / 2
    targets = [Int32](repeating: -1, count: pairs * lags[0].count * columns * 2)
    for row in vertical.keys {
      for column in horizontal.keys {
        let key = correlation(row, column).key
        if correlations[key] == nil {
          correlations[key] = correlations.count
          setTargets(key, columns)
        }
      }
    }
  }

  private mutating func setTargets(_ key: Correlation, _ columns: Int) {
    guard let cell = correlations[key] else { return }
    let isForward = key.rowLag > 0 || (key.rowLag == 0 && key.columnLag >= 0)
    let (rowLag, columnLag) = isForward ? (key.rowLag, key.columnLag) : (-key.rowLag, -key.columnLag)
    guard let y = lags[0].firstIndex(of: rowLag), let x = lags[1].firstIndex(of: abs(columnLag)) else {
      preconditionFailure("every distance is listed")
    }
    let place = (key.left * (key.left + 1) / 2 + key.right) * lags[0].count * columns
    let lag = 2 * (place + y * columns + (x == 0 ? 0 : 2 * x - (columnLag > 0 ? 1 : 0)))
    if key.left == key.right {
      targets[lag] = Int32(cell)
      if rowLag != 0 || columnLag != 0 { targets[lag + 1] = Int32(cell) }
    } else {
      targets[lag + (isForward ? 0 : 1)] = Int32(cell)
    }
  }

  /// The correlation of a pair of taps, and whether it is that of the opposite pair, transposed.
  private func correlation(_ row: AxisSegments.Key, _ column: AxisSegments.Key) -> (key: Correlation, isOpposite: Bool)
  {
    let left = plane(row.phase, column.phase)
    let right = plane(row.partner, column.partner)
    let isBackward = row.lag < 0 || (row.lag == 0 && column.lag < 0)
    if left < right || (left == right && isBackward) {
      return (Correlation(left: right, right: left, rowLag: -row.lag, columnLag: -column.lag), true)
    }
    return (Correlation(left: left, right: right, rowLag: row.lag, columnLag: column.lag), false)
  }

  private func plane(_ rowPhase: Int, _ columnPhase: Int) -> Int {
    guard let row = rowPhases.firstIndex(of: rowPhase), let column = columnPhases.firstIndex(of: columnPhase) else {
      preconditionFailure("every tap has a plane")
    }
    return row * columnPhases.count + column
  }

  /// The member of the block of a pair of taps.
  func member(_ row: AxisSegments.Key, _ column: AxisSegments.Key) -> Int32 {
    let (key, isOpposite) = correlation(row, column)
    guard let cell = correlations[key] else { preconditionFailure("every pair of taps has a correlation") }
    return Int32(4 * cell + (isOpposite ? 1 : 0))
  }

  /// Tells apart what all taps of a plane read and what is a strip to one of them: there `cell` has a product.
  mutating func findRims(
    _ layer: LayerGeometry, _ vertical: AxisSegments, _ horizontal: AxisSegments, cell: (Int, Int) -> Int?
  ) {
    for (index, plane) in planes.enumerated() {
      let rowTap = (0..<layer.kernel[0]).first {
        vertical.pair($0, $0).key.phase == rowPhases[index / columnPhases.count]
      }
      let columnTap = (0..<layer.kernel[1]).first {
        horizontal.pair($0, $0).key.phase == columnPhases[index % columnPhases.count]
      }
      guard let rowTap, let columnTap else { preconditionFailure("a plane has a tap, \(plane)") }
      for row in vertical.segments(of: vertical.pair(rowTap, rowTap).key) {
        for column in horizontal.segments(of: horizontal.pair(columnTap, columnTap).key) where cell(row, column) == nil
        {
          planes[index].interior.append((vertical.all[row].run, horizontal.all[column].run))
        }
      }
    }
    for tap in 0..<layer.taps {
      let rows = vertical.pair(tap / layer.kernel[1], tap / layer.kernel[1])
      let columns = horizontal.pair(tap % layer.kernel[1], tap % layer.kernel[1])
      var rim = Rim(plane: plane(rows.key.phase, columns.key.phase))
      for row in rows.segments {
        for column in columns.segments { if let cell = cell(row, column) { rim.cells.append(cell) } }
      }
      rims.append(rim)
    }
  }
}
