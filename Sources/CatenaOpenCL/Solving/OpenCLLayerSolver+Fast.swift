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
    let sweep = try Sweep(
      queue, layer, values, factor, count: Int(Double(rows * width) * sparsity), includesTies: method.isCompatible)
    let late = Self.lateColumns(layer)
    for begin in stride(from: 0, to: columns, by: late) {
      try queue.checkCancellation()
      let end = min(begin + late, columns)
      for first in stride(from: begin, to: end, by: width) {
        try sweep.prune(first, block: begin..<end)
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

/// The sweep over the columns of a layer. Its kernels are made once: from one launch to the next little changes but the
/// columns.
private struct Sweep {
  private let queue: SolverQueue
  private let layer: LayerGeometry
  /// What the launches use, which do not keep it.
  private let weights, factor, scores, thresholds, ties, errors, losses: SolverMemory
  private let scoring, selection, pruning, updating: PreparedLaunch

  /// - Parameters:
  ///   - count: the entries to remove from every group of columns.
  ///   - includesTies: whether all entries go that are equal to the last of them.
  init(
    _ queue: SolverQueue, _ layer: LayerGeometry, _ values: [Float], _ factor: SolverMemory, count: Int,
    includesTies: Bool
  ) throws(ComputeError) {
    self.queue = queue
    self.layer = layer
    self.factor = factor
    let (groups, columns, rows, width) = (layer.groups, layer.columns, layer.rows, layer.taps)
    let late = OpenCLLayerSolver.lateColumns(layer)
    weights = try queue.bytes(values.count * 4)
    scores = try queue.bytes(groups * rows * width * 4)
    thresholds = try queue.bytes(groups * 4)
    ties = try queue.bytes(groups * 4)
    errors = try queue.bytes(groups * rows * late * 4)
    losses = try queue.bytes(groups * rows * 4)
    try queue.write(values, to: weights)
    try queue.write([Float](repeating: 0, count: groups * rows), to: losses)
    scoring = try queue.prepare(
      "sweep_scores",
      [weights.argument, factor.argument, scores.argument, integers(groups, rows, columns, width), integers(0)],
      items: groups * rows * width)
    selection = try queue.prepare(
      "sweep_select",
      [
        scores.argument, thresholds.argument, ties.argument, integers(rows * width, count, includesTies ? 1 : 0, 0),
      ], groups: groups)
    pruning = try queue.prepare(
      "sweep_prune",
      [
        weights.argument, factor.argument, scores.argument, thresholds.argument, ties.argument, errors.argument,
        losses.argument, integers(rows, columns, width, late), integers(0, 0, 0, 0),
      ], groups: groups * rows)
    updating = try queue.prepare(
      "sweep_update",
      [
        weights.argument, factor.argument, errors.argument, integers(groups, rows, columns, late), integers(0, 0, 0, 0),
      ], items: 0)
  }

  /// Removes the entries of the group of columns that begins at `first`.
  func prune(_ first: Int, block: Range<Int>) throws(ComputeError) {
    try scoring.set(integers(first), at: 4)
    try queue.enqueue(scoring)
    try queue.enqueue(selection)
    try pruning.set(integers(first, block.lowerBound, block.upperBound, 0), at: 8)
    try queue.enqueue(pruning)
  }

  /// Passes on to the columns behind `block` what was removed in it.
  func update(behind block: Range<Int>) throws(ComputeError) {
    let rest = layer.columns - block.upperBound
    guard rest > 0 else { return }
    try updating.set(integers(0, block.lowerBound, block.upperBound, 0), at: 4)
    updating.set(workItems: layer.groups * dividedUp(layer.rows, 4) * rest)
    try queue.enqueue(updating)
  }

  func results() throws(ComputeError) -> (weights: [Float], loss: Double) {
    let values = try queue.read(layer.weightShape.elementCount, of: Float(0), from: weights)
    let losses = try queue.read(layer.groups * layer.rows, of: Float(0), from: losses)
    return (values, losses.reduce(0) { $0 + Double($1) })
  }
}
