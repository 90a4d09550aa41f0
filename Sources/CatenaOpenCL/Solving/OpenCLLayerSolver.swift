import CatenaCompute
import CatenaTensors

/// One layer's Hessian on a device, and its solver. The actor runs on a thread of its own, which alone waits for the device.
actor OpenCLLayerSolver: LayerSolver {
  nonisolated let accumulatorBytes: Int
  nonisolated let workingBytes: Int
  nonisolated let layer: LayerGeometry
  nonisolated let method: PruningMethod
  let queue: SolverQueue
  private nonisolated let thread: DriverThread
  /// The sums of products, groups x columns x columns.
  let sums: SolverMemory
  private let patches: SolverMemory
  private let positionsPerChunk: Int
  /// Floats from one position's window to the next one's.
  private let patchPitch: Int
  private(set) var images = 0

  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  /// What the windows of one chunk of positions may take.
  private static let patchBytes = 64 << 20

  /// Reserves memory and sets the Hessian to zero; to be called on `thread`.
  init(
    _ layer: LayerGeometry, _ method: PruningMethod, images: Int, in context: OpenCLContext, on thread: DriverThread
  ) throws(ComputeError) {
    self.layer = layer
    self.method = method
    self.thread = thread
    let queue = try SolverQueue(context, isDouble: method.isExact)
    let count = layer.groups * layer.columns * layer.columns
    accumulatorBytes = count * queue.numberBytes
    patchPitch = dividedUp(layer.columns, queue.vectorColumns) * queue.vectorColumns
    let positionBytes = layer.groups * patchPitch * 4
    let positions = images * layer.destination[0] * layer.destination[1]
    positionsPerChunk = max(1, min(positions, Self.patchBytes / max(positionBytes, 1)))
    let inputBytes = images * layer.source[0] * layer.source[1] * layer.groups * layer.channels * 4
    workingBytes = max(
      positionsPerChunk * positionBytes + inputBytes,
      method.isExact ? Self.exactBytes(method, layer, in: context) : Self.fastBytes(layer))
    let sums = try queue.numbers(count)
    try queue.clear(sums, count: count)
    patches = try queue.bytes(positionsPerChunk * positionBytes)
    self.sums = sums
    self.queue = queue
  }

  deinit { thread.stop() }

  func add(_ inputs: Tensor) throws(ComputeError) {
    let channels = layer.groups * layer.channels
    let expected: Shape = [inputs.shape[0], layer.source[0], layer.source[1], channels]
    precondition(inputs.shape == expected && inputs.elementType == .float32, "\(inputs.shape) is not \(expected)")
    images += inputs.shape[0]
    guard inputs.elementCount > 0 else { return }
    let data = try queue.bytes(inputs.elementCount * 4)
    try queue.write(inputs.floats, to: data)
    let count = inputs.shape[0] * layer.destination[0] * layer.destination[1]
    let blocks = dividedUp(layer.columns, 4) * dividedUp(layer.columns, queue.lanes)
    for first in stride(from: 0, to: count, by: positionsPerChunk) {
      let positions = min(positionsPerChunk, count - first)
      try queue.launch(
        "layer_patches",
        [
          data.argument, patches.argument, integers(layer.source[0], layer.source[1], channels, layer.channels),
          integers(layer.kernel[0], layer.kernel[1], layer.destination[0], layer.destination[1]),
          integers(
            layer.strides[0], layer.strides[1], layer.dilations[0], layer.dilations[1], layer.pads[0], layer.pads[1], 0,
            0),
          integers(layer.groups, first, positions, patchPitch),
        ], items: layer.groups * positions * dividedUp(patchPitch, queue.run))
      try queue.launch(
        "hessian_add",
        [patches.argument, sums.argument, integers(layer.groups, layer.columns, positions, patchPitch)],
        items: layer.groups * blocks)
    }
    try queue.finish()
  }

  func solve(_ weights: Tensor, sparsity: Double) throws(ComputeError) -> PrunedLayer {
    precondition(weights.shape == layer.weightShape && weights.elementType == .float32, "\(weights.shape)")
    precondition(images > 0, "a layer is solved after its inputs were added")
    let dense = weights.floats
    guard dense.allSatisfy(\.isFinite) else { throw failure("the weights hold NaN or infinite numbers") }
    return method.isExact ? try solveExactly(dense, sparsity: sparsity) : try solveFast(dense, sparsity: sparsity)
  }

  func failure(_ detail: String) -> ComputeError {
    .callFailed(call: "solve", code: "no solution", device: queue.context.device.name, detail: detail)
  }

  /// Memory for the diagonal and its damping, and everything else that one solution needs.
  static func fastBytes(_ layer: LayerGeometry) -> Int {
    4 * layer.groups
      * (2 * layer.columns * layer.columns + layer.rows * (layer.columns + lateColumns(layer) + layer.taps))
  }
}

// MARK: Factors

/// The factorised Hessians of all groups.
struct FactorisedHessian {
  /// Inverses of the Cholesky factors (of the matrices from their end to their beginning, for the fast solver).
  let inverses: SolverMemory
  /// The level of damping that each group needed.
  let levels: [Int]
  /// Columns of each group that are zero on all inputs.
  let dead: [[Int]]
  /// The mean of each group's diagonal, dead columns counted as 1.
  let means: [Double]
}

extension OpenCLLayerSolver {
  /// Factorises the Hessians of all groups with the least of `dampings` (parts of the diagonal's mean) that each needs.
  /// - Parameters:
  ///   - order: the place of every column.
  ///   - leastPivot: the smallest pivot over the largest of a factorisation that counts.
  func factorise(
    dampings: [Double], order: [Int], isReversed: Bool, leastPivot: Double
  ) throws(ComputeError) -> FactorisedHessian {
    let (groups, columns) = (layer.groups, layer.columns)
    let diagonal = try queue.numbers(groups * columns)
    try queue.launch(
      "hessian_diagonal", [sums.argument, diagonal.argument, integers(groups, columns, images, 0)],
      items: groups * columns)
    let entries = try queue.readNumbers(groups * columns, from: diagonal)
    guard entries.allSatisfy(\.isFinite) else { throw failure("the layer's inputs hold NaN or infinite numbers") }
    let rows = (0..<groups).map { Array(entries[$0 * columns..<($0 + 1) * columns]) }
    let means = rows.map { row in row.reduce(0) { $0 + ($1 == 0 ? 1 : $1) } / Double(columns) }
    let matrices = try queue.numbers(groups * columns * columns)
    let damping = try queue.numbers(groups)
    let failures = try queue.bytes(groups * 4)
    let places = try queue.bytes(columns * 4)
    try queue.write(order.map { Int32($0) }, to: places)
    var levels = [Int](repeating: 0, count: groups)
    while true {
      try queue.writeNumbers(zip(levels, means).map { dampings[$0] * $1 }, to: damping)
      try queue.write([Int32](repeating: 0, count: groups), to: failures)
      try queue.launch(
        "hessian_damped",
        [
          sums.argument, matrices.argument, damping.argument, places.argument, integers(groups, columns, images, 0),
          integers(isReversed ? 1 : 0),
        ], items: groups * columns * columns)
      try cholesky(matrices, failures)
      // The diagonal of the factor: the roots of the pivots.
      try queue.launch(
        "hessian_diagonal", [matrices.argument, diagonal.argument, integers(groups, columns, 2, 0)],
        items: groups * columns)
      let roots = try queue.readNumbers(groups * columns, from: diagonal)
      var failed = try queue.read(groups, of: Int32(0), from: failures).map { $0 != 0 }
      for group in 0..<groups where !failed[group] {
        let pivots = roots[group * columns..<(group + 1) * columns].map { $0 * $0 }
        let (least, most) = (pivots.min() ?? 1, pivots.max() ?? 1)
        failed[group] = !(most.isFinite && least >= leastPivot * most)
      }
      if !failed.contains(true) { break }
      for group in 0..<groups where failed[group] {
        levels[group] += 1
        guard levels[group] < dampings.count else {
          throw failure("the Hessian of the layer's inputs cannot be factorised, however much it is damped")
        }
      }
    }
    let inverses = try queue.numbers(groups * columns * columns)
    let rowsPerLaunch = max(1, Self.inverseSteps / columns)
    for first in stride(from: 0, to: columns, by: rowsPerLaunch) {
      try queue.launch(
        "triangular_inverse",
        [
          matrices.argument, inverses.argument, integers(groups, columns),
          integers(first, min(first + rowsPerLaunch, columns)),
        ], items: groups * columns)
      try queue.finish()
    }
    let dead = rows.map { row in (0..<columns).filter { row[order[$0]] == 0 } }
    return FactorisedHessian(inverses: inverses, levels: levels, dead: dead, means: means)
  }

  /// Multiply-adds, one after the other, of a launch's longest work-item in the triangular inverse, so that the device
  /// answers soon.
  private static let inverseSteps = 1 << 22

  /// Columns that are factorised at a time; solver/factor.cl has the same number.
  private static let factorBlock = 32

  private func cholesky(_ matrices: SolverMemory, _ failures: SolverMemory) throws(ComputeError) {
    let (groups, columns) = (layer.groups, layer.columns)
    let extents = integers(groups, columns)
    for first in stride(from: 0, to: columns, by: Self.factorBlock) {
      try queue.launch(
        "cholesky_block", [matrices.argument, failures.argument, extents, integers(first)], groups: groups)
      let rest = columns - first - Self.factorBlock
      guard rest > 0 else { continue }
      try queue.launch("cholesky_panel", [matrices.argument, extents, integers(first)], items: groups * rest)
      try queue.launch("cholesky_update", [matrices.argument, extents, integers(first)], items: groups * rest * rest)
    }
  }
}

extension PruningMethod {
  var isExact: Bool {
    if case .exact = algorithm { true } else { false }
  }
}
