import CatenaCompute
import CatenaTensors

extension OpenCLLayerSolver {
  /// What is added, relative to the mean of the diagonal, where the Hessian as it is cannot be factorised.
  private static let dampings = [0, 1e-8, 1e-6, 1e-4, 1e-2]
  /// The smallest pivot over the largest of a factorisation that counts.
  private static let leastPivot = 1e-12
  /// Multiply-adds of one launch, so that the device answers soon, and those of one row, which one work-group does.
  private static let (launchOperations, rowOperations) = (2_000_000_000, 200_000_000)

  /// Rows that are eliminated at a time: each has a matrix of its own.
  private static func rowsPerChunk(_ layer: LayerGeometry, in context: OpenCLContext) -> Int {
    let bytes = min(1 << 30, context.device.largestAllocation / 2)
    return max(1, min(layer.rows, bytes / (8 * layer.columns * layer.columns)))
  }

  static func exactBytes(_ method: PruningMethod, _ layer: LayerGeometry, in context: OpenCLContext) -> Int {
    let matrix = layer.columns * layer.columns
    // Per row: the columns of a block and two more, and of every removal its place, its loss and a mark.
    let perRow = matrix + layer.columns * (method.blockColumns(of: layer) + 3) + 2 * method.steps(of: layer)
    let rows = rowsPerChunk(layer, in: context)
    return 8 * (3 * layer.groups * matrix + rows * perRow)
  }

  /// The place in the file's order of each column in the order that blocks are cut from.
  private var columnOrder: [Int] {
    guard method.algorithm == .exact(.tap) else { return Array(0..<layer.columns) }
    return (0..<layer.columns).map { $0 % layer.channels * layer.taps + $0 / layer.channels }
  }

  /// SPADE with Optimal Brain Compression (Frantar and Alistarh, 2022): every row's blocks are removed greedily, then a
  /// budget is spent over all rows.
  func solveExactly(_ dense: [Float], sparsity: Double) throws(ComputeError) -> PrunedLayer {
    let order = columnOrder
    let hessian = try factorise(
      dampings: Self.dampings, order: order, isReversed: false, leastPivot: Self.leastPivot)
    let products = try queue.numbers(layer.groups * layer.columns * layer.columns)
    let count = layer.groups * layer.columns * layer.columns
    let perLaunch = max(1, Self.launchOperations / layer.columns)
    for first in stride(from: 0, to: count, by: perLaunch) {
      try queue.launch(
        "inverse_product",
        [hessian.inverses.argument, products.argument, integers(layer.groups, layer.columns), integers(first)],
        items: min(perLaunch, count - first))
      try queue.finish()
    }
    var result = dense
    var loss = 0.0
    for group in 0..<layer.groups {
      var rows: [[Double]] = (0..<layer.rows).map { row in
        order.map { Double(dense[(group * layer.rows + row) * layer.columns + $0]) }
      }
      for column in hessian.dead[group] {
        for row in rows.indices { rows[row][column] = 0 }
      }
      let perChunk = Self.rowsPerChunk(layer, in: queue.context)
      let elimination = try Elimination(
        queue, layer, block: method.blockColumns(of: layer), inverses: products, group: group,
        rowsPerChunk: perChunk, launchOperations: min(Self.launchOperations, perChunk * Self.rowOperations))
      let trajectories = try elimination.trajectories(of: rows)
      let counts = trajectories.spend(Int((Double(layer.rows * method.steps(of: layer)) * sparsity).rounded(.up)))
      let restored = try elimination.restored(rows, trajectories, counts)
      guard try !elimination.hasFailed() else {
        throw failure("the inverse Hessian loses its positive pivots while columns are removed")
      }
      for (row, values) in restored.enumerated() {
        for (column, value) in values.enumerated() {
          result[(group * layer.rows + row) * layer.columns + order[column]] = Float(value)
        }
        loss += trajectories.losses[row].prefix(counts[row]).reduce(0, +)
      }
    }
    let level = hessian.levels.max() ?? 0
    return PrunedLayer(
      weights: Tensor(result, shape: layer.weightShape), loss: loss, damping: Self.dampings[level],
      wasDampedFurther: level > 0, deadColumns: hessian.dead.reduce(0) { $0 + $1.count })
  }
}

/// In which order every row lost its blocks, and at what loss.
private struct Trajectories {
  var order: [[Int32]] = []
  var losses: [[Double]] = []

  /// How many removals of each row are among the `budget` smallest losses of all; equal ones in order of row and step.
  func spend(_ budget: Int) -> [Int] {
    let all = losses.enumerated().flatMap { row, values in values.enumerated().map { (row, $0.offset, $0.element) } }
    var counts = [Int](repeating: 0, count: losses.count)
    for (row, _, _) in all.sorted(by: { ($0.2, $0.0, $0.1) < ($1.2, $1.0, $1.1) }).prefix(max(budget, 0)) {
      counts[row] += 1
    }
    return counts
  }
}

/// The elimination of one group's rows, as many at a time as there is memory for.
private struct Elimination {
  private let queue: SolverQueue
  private let layer: LayerGeometry
  /// The inverse Hessians of all groups.
  private let inverses: SolverMemory
  private let group: Int
  private let matrices, weights, scratch, removed, order, losses, counts, failures: SolverMemory
  private let chunk: Int
  private let stepsPerLaunch: Int
  /// Columns that are removed at once, and removals that empty a row.
  private let block, steps: Int

  init(
    _ queue: SolverQueue, _ layer: LayerGeometry, block: Int, inverses: SolverMemory, group: Int, rowsPerChunk: Int,
    launchOperations: Int
  ) throws(ComputeError) {
    self.queue = queue
    self.layer = layer
    self.inverses = inverses
    self.group = group
    self.block = block
    chunk = rowsPerChunk
    let columns = layer.columns
    steps = columns / block
    stepsPerLaunch = max(1, launchOperations / (chunk * block * columns * columns))
    matrices = try queue.numbers(chunk * columns * columns)
    weights = try queue.numbers(chunk * columns)
    scratch = try queue.numbers(chunk * columns * (block + 2))
    removed = try queue.bytes(chunk * steps * 4)
    order = try queue.bytes(chunk * steps * 4)
    losses = try queue.numbers(chunk * steps)
    counts = try queue.bytes(chunk * 4)
    failures = try queue.bytes(4)
    try queue.write([Int32(0)], to: failures)
  }

  /// Removes all blocks of every row.
  func trajectories(of rows: [[Double]]) throws(ComputeError) -> Trajectories {
    var result = Trajectories()
    for range in chunks(rows.count) {
      try begin(rows[range])
      try run(range.count, follows: false, upTo: steps)
      let found = try queue.read(range.count * steps, of: Int32(0), from: order)
      let lost = try queue.read(range.count * steps, of: 0.0, from: losses)
      for row in 0..<range.count {
        result.order.append(Array(found[row * steps..<(row + 1) * steps]))
        result.losses.append(Array(lost[row * steps..<(row + 1) * steps]))
      }
    }
    return result
  }

  /// Every row after its first counts[row] removals.
  func restored(
    _ rows: [[Double]], _ trajectories: Trajectories, _ wanted: [Int]
  ) throws(ComputeError) -> [[Double]] {
    var result: [[Double]] = []
    for range in chunks(rows.count) {
      try begin(rows[range])
      try queue.write(Array(trajectories.order[range].joined()), to: order)
      try queue.write(wanted[range].map { Int32($0) }, to: counts)
      try run(range.count, follows: true, upTo: wanted[range].max() ?? 0)
      let values = try queue.read(range.count * layer.columns, of: 0.0, from: weights)
      for row in 0..<range.count { result.append(Array(values[row * layer.columns..<(row + 1) * layer.columns])) }
    }
    return result
  }

  /// Whether a pivot was not positive.
  func hasFailed() throws(ComputeError) -> Bool { try queue.read(1, of: Int32(0), from: failures)[0] != 0 }

  private func chunks(_ count: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: chunk).map { $0..<min($0 + chunk, count) }
  }

  private func begin(_ rows: ArraySlice<[Double]>) throws(ComputeError) {
    try queue.write(Array(rows.joined()), to: weights)
    try queue.write([Int32](repeating: 0, count: rows.count * steps), to: removed)
    try queue.launch(
      "eliminate_begin", [inverses.argument, matrices.argument, integers(rows.count, layer.columns), integers(group)],
      items: layer.columns * layer.columns)
  }

  private func run(_ rows: Int, follows: Bool, upTo end: Int) throws(ComputeError) {
    for first in stride(from: 0, to: end, by: stepsPerLaunch) {
      try queue.checkCancellation()
      try queue.launch(
        "eliminate_steps",
        [
          matrices.argument, weights.argument, scratch.argument, removed.argument, order.argument, losses.argument,
          follows ? counts.argument : .memory(nil), failures.argument,
          integers(layer.columns, block, first, min(first + stepsPerLaunch, end)),
        ], groups: rows)
      try queue.finish()
    }
  }
}
