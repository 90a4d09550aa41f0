import CatenaCompute
import CatenaTensors

extension OpenCLLayerSolver {
  /// Relative damping of the fast solver, and what is tried where that is not enough.
  private static let dampings = [0.01, 0.1, 1, 10]

  /// Columns between two products with everything behind them.
  static func lateColumns(_ layer: LayerGeometry) -> Int {
    min(layer.columns, max(1, 192 / layer.taps) * layer.taps)
  }

  /// FastSPADE (Moakhar and others, 2024), all groups of a convolution at the same time.
  func solveFast(_ dense: [Float], sparsity: Double) throws(ComputeError) -> PrunedLayer {
    let (groups, columns, rows, width) = (layer.groups, layer.columns, layer.rows, layer.taps)
    let hessian = try factorise(
      dampings: Self.dampings, order: Array(0..<columns), isReversed: true, leastPivot: 0)
    // With the order reversed H = L L^T, and inverse(L) back in order is U.
    let factor = try queue.numbers(groups * columns * columns)
    try queue.launch(
      "reversed_matrices", [hessian.inverses.argument, factor.argument, integers(groups, columns)],
      items: groups * columns * columns)
    var values = dense
    for (group, dead) in hessian.dead.enumerated() {
      for column in dead {
        for row in 0..<rows { values[(group * rows + row) * columns + column] = 0 }
      }
    }
    let sweep = try Sweep(queue, layer, values, factor)
    let count = Int(Double(rows * width) * sparsity)
    let late = Self.lateColumns(layer)
    for begin in stride(from: 0, to: columns, by: late) {
      try queue.checkCancellation()
      let end = min(begin + late, columns)
      for first in stride(from: begin, to: end, by: width) {
        try sweep.prune(first, block: begin..<end, count: count, includesTies: method.isCompatible)
      }
      try sweep.update(behind: begin..<end)
      try queue.finish()
    }
    let (weights, loss) = try sweep.results()
    let level = hessian.levels.max() ?? 0
    return PrunedLayer(
      weights: Tensor(weights, shape: layer.weightShape), loss: loss, damping: Self.dampings[level],
      wasDampedFurther: level > 0, deadColumns: hessian.dead.reduce(0) { $0 + $1.count })
  }
}

/// The sweep over the columns of a layer.
private struct Sweep {
  private let queue: SolverQueue
  private let layer: LayerGeometry
  private let weights, factor, scores, thresholds, ties, errors, losses: SolverMemory

  init(
    _ queue: SolverQueue, _ layer: LayerGeometry, _ values: [Float], _ factor: SolverMemory
  ) throws(ComputeError) {
    self.queue = queue
    self.layer = layer
    self.factor = factor
    let rows = layer.groups * layer.rows
    weights = try queue.bytes(values.count * 4)
    scores = try queue.bytes(rows * layer.taps * 4)
    thresholds = try queue.bytes(layer.groups * 4)
    ties = try queue.bytes(layer.groups * 4)
    errors = try queue.bytes(rows * OpenCLLayerSolver.lateColumns(layer) * 4)
    losses = try queue.bytes(rows * 4)
    try queue.write(values, to: weights)
    try queue.write([Float](repeating: 0, count: rows), to: losses)
  }

  /// Removes the entries of the group of columns that begins at `first`.
  func prune(_ first: Int, block: Range<Int>, count: Int, includesTies: Bool) throws(ComputeError) {
    let (groups, columns, rows, width) = (layer.groups, layer.columns, layer.rows, layer.taps)
    try queue.launch(
      "sweep_scores",
      [weights.argument, factor.argument, scores.argument, integers(groups, rows, columns, width), integers(first)],
      items: groups * rows * width)
    try queue.launch(
      "sweep_select",
      [
        scores.argument, thresholds.argument, ties.argument,
        integers(rows * width, count, includesTies ? 1 : 0, 0),
      ], groups: groups)
    try queue.launch(
      "sweep_prune",
      [
        weights.argument, factor.argument, scores.argument, thresholds.argument, ties.argument, errors.argument,
        losses.argument, integers(rows, columns, width, OpenCLLayerSolver.lateColumns(layer)),
        integers(first, block.lowerBound, block.upperBound, 0),
      ], groups: groups * rows)
  }

  /// Passes on to the columns behind `block` what was removed in it.
  func update(behind block: Range<Int>) throws(ComputeError) {
    let rest = layer.columns - block.upperBound
    try queue.launch(
      "sweep_update",
      [
        weights.argument, factor.argument, errors.argument,
        integers(layer.groups, layer.rows, layer.columns, OpenCLLayerSolver.lateColumns(layer)),
        integers(0, block.lowerBound, block.upperBound, 0),
      ], items: layer.groups * dividedUp(layer.rows, 4) * rest)
  }

  func results() throws(ComputeError) -> (weights: [Float], loss: Double) {
    let values = try queue.read(layer.weightShape.elementCount, of: Float(0), from: weights)
    let losses = try queue.read(layer.groups * layer.rows, of: Float(0), from: losses)
    return (values, losses.reduce(0) { $0 + Double($1) })
  }
}
