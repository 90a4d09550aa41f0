import CatenaCompute
import CatenaTensors

/// The formulas of SPADE's solvers, one weight at a time with explicit inverses, all in double: slow and plain.
struct LiteralSolver {
  let layer: LayerGeometry
  /// The Hessian of every group, undamped, rows and columns in the order (channel, tap).
  let hessians: [[[Double]]]

  /// H = 2/n X X^T with X = im2col of `inputs`, float32 [images, height, width, channels].
  init(_ layer: LayerGeometry, _ inputs: Tensor) {
    self.layer = layer
    let values = inputs.floats.map(Double.init)
    let channels = layer.groups * layer.channels
    hessians = (0..<layer.groups).map { group in
      var hessian = [[Double]](repeating: .init(repeating: 0, count: layer.columns), count: layer.columns)
      for image in 0..<inputs.shape[0] {
        for y in 0..<layer.destination[0] {
          for x in 0..<layer.destination[1] {
            var column: [Double] = []
            for channel in 0..<layer.channels {
              for ty in 0..<layer.kernel[0] {
                for tx in 0..<layer.kernel[1] {
                  let row = y * layer.strides[0] + ty * layer.dilations[0] - layer.pads[0]
                  let place = x * layer.strides[1] + tx * layer.dilations[1] - layer.pads[1]
                  let isInside = (0..<layer.source[0]).contains(row) && (0..<layer.source[1]).contains(place)
                  let pixel = (image * layer.source[0] + row) * layer.source[1] + place
                  column.append(isInside ? values[pixel * channels + group * layer.channels + channel] : 0)
                }
              }
            }
            for i in column.indices where column[i] != 0 {
              for j in column.indices { hessian[i][j] += column[i] * column[j] * 2 / Double(inputs.shape[0]) }
            }
          }
        }
      }
      return hessian
    }
  }

  /// Weights of a group as rows.
  func rows(_ weights: Tensor, group: Int) -> [[Double]] {
    let values = weights.floats.map(Double.init)
    return (0..<layer.rows).map { row in
      let start = (group * layer.rows + row) * layer.columns
      return Array(values[start..<start + layer.columns])
    }
  }

  /// Half the squared change of the layer's response per image: (W' - W) H (W' - W)^T / 2, summed over rows and groups.
  func objective(_ dense: Tensor, _ pruned: Tensor) -> Double {
    (0..<layer.groups).reduce(0) { sum, group in
      zip(rows(dense, group: group), rows(pruned, group: group)).reduce(sum) { sum, pair in
        let change = zip(pair.0, pair.1).map { $1 - $0 }
        let response = product(hessians[group], change)
        return sum + zip(change, response).reduce(0) { $0 + $1.0 * $1.1 } / 2
      }
    }
  }

  /// FastSPADE, section 2.1: exactly floor(R b s) entries per group of columns.
  func fast(_ weights: Tensor, sparsity: Double) -> [[Double]] {
    (0..<layer.groups).flatMap { group -> [[Double]] in
      var hessian = hessians[group]
      var rows = rows(weights, group: group)
      revive(&hessian, &rows)
      let damping = 0.01 * hessian.indices.reduce(0) { $0 + hessian[$1][$1] } / Double(layer.columns)
      for column in hessian.indices { hessian[column][column] += damping }
      let factor = upperFactor(of: inverse(hessian))
      for first in stride(from: 0, to: layer.columns, by: layer.taps) {
        var entries: [(score: Double, row: Int, column: Int)] = []
        for row in rows.indices {
          for column in first..<first + layer.taps {
            let ratio = rows[row][column] / factor[column][column]
            entries.append((ratio * ratio, row, column))
          }
        }
        entries.sort { $0.score < $1.score }
        let chosen = entries.prefix(Int(Double(layer.rows * layer.taps) * sparsity))
        for column in first..<first + layer.taps {
          for row in chosen.filter({ $0.column == column }).map(\.row) {
            let error = rows[row][column] / factor[column][column]
            for other in column..<layer.columns { rows[row][other] -= error * factor[column][other] }
            rows[row][column] = 0
          }
        }
      }
      return rows
    }
  }

  /// SPADE with Optimal Brain Compression, section 2.2, blocks of one kernel or, in tap mode, as the published code cuts.
  func exact(_ weights: Tensor, sparsity: Double, blocks: PruningMethod.Blocks = .kernel) -> [[Double]] {
    let order = (0..<layer.columns).map {
      blocks == .tap ? $0 % layer.channels * layer.taps + $0 / layer.channels : $0
    }
    return (0..<layer.groups).flatMap { group -> [[Double]] in
      var hessian = order.map { row in order.map { hessians[group][row][$0] } }
      var rows = rows(weights, group: group).map { row in order.map { row[$0] } }
      revive(&hessian, &rows)
      let block = blocks == .weight ? 1 : layer.taps
      var steps: [(loss: Double, row: Int)] = []
      var trajectories: [[[Double]]] = []
      for row in rows.indices {
        let (losses, states) = eliminated(rows[row], hessian, block: block)
        steps += losses.map { ($0, row) }
        trajectories.append(states)
      }
      steps.sort { $0.loss < $1.loss }
      let budget = Int((Double(layer.rows * layer.columns / block) * sparsity).rounded(.up))
      return rows.indices.map { row in
        let state = trajectories[row][steps.prefix(budget).filter { $0.row == row }.count]
        var restored = state
        for (place, column) in order.enumerated() { restored[column] = state[place] }
        return restored
      }
    }
  }

  /// The losses of all removals of a row, and its weights before the first and after each.
  private func eliminated(
    _ row: [Double], _ hessian: [[Double]], block: Int
  ) -> (losses: [Double], states: [[Double]]) {
    var weights = row
    var alive = Array(0..<layer.columns / block)
    var losses: [Double] = []
    var states = [weights]
    while !alive.isEmpty {
      let columns = alive.flatMap { Array($0 * block..<($0 + 1) * block) }
      let inverse = inverse(columns.map { row in columns.map { hessian[row][$0] } })
      let candidates = alive.indices.map { place -> (score: Double, place: Int, step: [Double]) in
        let range = place * block..<(place + 1) * block
        let own = Array(weights[alive[place] * block..<(alive[place] + 1) * block])
        let step = product(self.inverse(inverse[range].map { Array($0[range]) }), own)
        return (zip(own, step).reduce(0) { $0 + $1.0 * $1.1 }, place, step)
      }
      guard let best = candidates.min(by: { $0.score < $1.score }) else { break }
      for (place, column) in columns.enumerated() {
        for i in 0..<block { weights[column] -= inverse[place][best.place * block + i] * best.step[i] }
      }
      for i in 0..<block { weights[alive[best.place] * block + i] = 0 }
      alive.remove(at: best.place)
      losses.append(best.score / 2)
      states.append(weights)
    }
    return (losses, states)
  }

  private func revive(_ hessian: inout [[Double]], _ rows: inout [[Double]]) {
    for column in hessian.indices where hessian[column][column] == 0 {
      hessian[column][column] = 1
      for row in rows.indices { rows[row][column] = 0 }
    }
  }

  private func product(_ matrix: [[Double]], _ vector: [Double]) -> [Double] {
    matrix.map { row in zip(row, vector).reduce(0) { $0 + $1.0 * $1.1 } }
  }

  /// Gauss-Jordan with pivoting.
  private func inverse(_ matrix: [[Double]]) -> [[Double]] {
    let size = matrix.count
    var left = matrix
    var right = (0..<size).map { row in (0..<size).map { $0 == row ? 1.0 : 0 } }
    for column in 0..<size {
      let pivot = (column..<size).max { abs(left[$0][column]) < abs(left[$1][column]) } ?? column
      left.swapAt(column, pivot)
      right.swapAt(column, pivot)
      let scale = 1 / left[column][column]
      for i in 0..<size {
        left[column][i] *= scale
        right[column][i] *= scale
      }
      for row in 0..<size where row != column {
        let factor = left[row][column]
        if factor == 0 { continue }
        for i in 0..<size {
          left[row][i] -= factor * left[column][i]
          right[row][i] -= factor * right[column][i]
        }
      }
    }
    return right
  }

  /// U, upper triangular, with transpose(U) U = `matrix`.
  private func upperFactor(of matrix: [[Double]]) -> [[Double]] {
    let size = matrix.count
    var factor = [[Double]](repeating: .init(repeating: 0, count: size), count: size)
    for row in 0..<size {
      for column in row..<size {
        let sum = (0..<row).reduce(matrix[row][column]) { $0 - factor[$1][row] * factor[$1][column] }
        factor[row][column] = row == column ? sum.squareRoot() : sum / factor[row][row]
      }
    }
    return factor
  }
}
