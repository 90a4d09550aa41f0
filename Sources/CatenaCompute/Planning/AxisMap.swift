import CatenaGraph
import CatenaTensors

/// A sparse matrix that makes each index of an axis from a few of the source's: rows in compressed form.
package struct AxisMap: Sendable, Hashable {
  /// Row i's entries are `rows[i]..<rows[i + 1]`.
  package var rows: [Int32] = [0]
  /// The source index of each entry.
  package var columns: [Int32] = []
  /// The factor of each entry.
  package var weights: [Float] = []

  /// An axis of nothing.
  package init() {}

  /// The elements with these indices.
  package init(taking indices: [Int]) {
    for index in indices { appendRow([(index, 1)]) }
  }

  fileprivate mutating func appendRow(_ entries: [(column: Int, weight: Double)]) {
    for entry in entries where entry.weight != 0 {
      columns.append(Int32(entry.column))
      weights.append(Float(entry.weight))
    }
    rows.append(Int32(columns.count))
  }

  /// The matrix of the gradient.
  package func transposed(columns count: Int) -> AxisMap {
    var entries = [[(column: Int, weight: Double)]](repeating: [], count: count)
    for row in 0..<rows.count - 1 {
      for entry in Int(rows[row])..<Int(rows[row + 1]) {
        entries[Int(columns[entry])].append((row, Double(weights[entry])))
      }
    }
    var result = AxisMap()
    for row in entries { result.appendRow(row) }
    return result
  }
}

extension Pad {
  /// The matrix of an axis in the modes that repeat data; `nil` where nothing is padded.
  package func map(axis: Int, extent: Int) -> AxisMap? {
    guard begins[axis] != 0 || ends[axis] != 0 else { return nil }
    // Negative amounts crop first; what is left is mirrored, repeated or wrapped.
    let kept = max(0, -begins[axis])..<extent - max(0, -ends[axis])
    var map = AxisMap()
    for index in 0..<extent + begins[axis] + ends[axis] {
      map.appendRow([(source(of: index - begins[axis], in: kept), 1)])
    }
    return map
  }

  private func source(of position: Int, in kept: Range<Int>) -> Int {
    if kept.contains(position) { return position }
    let (offset, count) = (position - kept.lowerBound, kept.count)
    switch mode {
    case .constant, .edge: return offset < 0 ? kept.lowerBound : kept.upperBound - 1
    case .wrap: return kept.lowerBound + ((offset % count) + count) % count
    case .reflect:
      guard count > 1 else { return kept.lowerBound }
      let period = 2 * (count - 1)
      let phase = ((offset % period) + period) % period
      return kept.lowerBound + min(phase, period - phase)
    }
  }
}

extension Resize {
  /// The matrix of an axis of `extent` source elements; `nil` where the axis stays as it is.
  package func map(axis: Int, extent: Int) -> AxisMap? {
    if sizes[axis] == extent, scales[axis] == 1 { return nil }
    func clamped(_ source: Double) -> Int { Int(min(max(source, 0), Double(extent - 1))) }
    var map = AxisMap()
    for index in 0..<sizes[axis] {
      let position = sourcePosition(Double(index), axis: axis, extent: Double(extent))
      switch interpolation {
      case .nearest(let rounding): map.appendRow([(clamped(rounding.apply(position)), 1)])
      case .linear:
        let lower = position.rounded(.down)
        map.appendRow([(clamped(lower), 1 - (position - lower)), (clamped(lower + 1), position - lower)])
      }
    }
    return map
  }

  private func sourcePosition(_ index: Double, axis: Int, extent: Double) -> Double {
    let (scale, size) = (scales[axis], Double(sizes[axis]))
    switch coordinates {
    case .halfPixel: return (index + 0.5) / scale - 0.5
    case .halfPixelSymmetric: return extent / 2 * (1 - size / (scale * extent)) + (index + 0.5) / scale - 0.5
    case .pytorchHalfPixel: return size > 1 ? (index + 0.5) / scale - 0.5 : 0
    case .alignCorners: return size > 1 ? index * (extent - 1) / (size - 1) : 0
    case .asymmetric: return index / scale
    }
  }
}

extension Resize.Rounding {
  fileprivate func apply(_ position: Double) -> Double {
    switch self {
    case .roundPreferFloor: (position - 0.5).rounded(.up)
    case .roundPreferCeil: (position + 0.5).rounded(.down)
    case .floor: position.rounded(.down)
    case .ceil: position.rounded(.up)
    }
  }
}
