import CSolvers
import CatenaCompute
import CatenaTensors

/// A flag that another thread may raise while a kernel runs.
private final class CancellationFlag: @unchecked Sendable {
  // Written once, from false to true; the kernel looks at it between rows.
  let pointer: UnsafeMutablePointer<Bool>

  init() {
    pointer = .allocate(capacity: 1)
    pointer.initialize(to: false)
  }

  deinit { pointer.deallocate() }

  func raise() { pointer.pointee = true }
}

/// What one group's elimination found: it does not depend on how much is to be removed in the end.
struct Elimination {
  /// The place of the damping that let the factorisation succeed.
  let level: Int
  /// Per row and step, the loss.
  let losses: [Double]
  /// Per row and step, the removed block.
  let order: [Int32]
}

/// The double matrices of one group's elimination.
private struct ExactMemory {
  let hessian, inverse, weights, restored, losses: UnsafeMutablePointer<Double>
  let order: UnsafeMutablePointer<Int32>
  let scratch: UnsafeMutableRawPointer
}

extension CPULayerSolver {
  /// What is added, relative to the mean of the diagonal, where the Hessian as it is cannot be factorised.
  private static let dampings = [0, 1e-8, 1e-6, 1e-4, 1e-2]
  /// The smallest pivot over the largest of a factorisation that counts.
  private static let leastPivot = 1e-12

  private static func eliminationBytes(_ layer: LayerGeometry, _ method: PruningMethod, threads: Int) -> Int {
    var problem = catena_elimination()
    (problem.rows, problem.columns) = (Int64(layer.rows), Int64(layer.columns))
    problem.block = Int64(method.blockColumns(of: layer))
    return catena_elimination_scratch_bytes(&problem, Int32(threads))
  }

  /// Bytes of what is kept of the eliminations of all groups: loss and block of every step.
  static func eliminatedBytes(_ layer: LayerGeometry, _ method: PruningMethod) -> Int {
    12 * layer.groups * layer.rows * method.steps(of: layer)
  }

  /// Bytes of one group's matrices and of all threads' rows.
  static func exactBytes(_ layer: LayerGeometry, _ method: PruningMethod, threads: Int) -> Int {
    let matrices = 2 * layer.columns * layer.columns + 2 * layer.rows * layer.columns
    return 8 * (matrices + 2 * layer.rows * method.steps(of: layer) + 16)
      + eliminationBytes(layer, method, threads: threads)
  }

  private func memory() -> ExactMemory {
    let (rows, columns, steps) = (layer.rows, layer.columns, method.steps(of: layer))
    let base = scratch.bytes(Self.exactBytes(layer, method, threads: threads)).assumingMemoryBound(to: Double.self)
    let inverse = base + columns * columns
    let weights = inverse + columns * columns
    let restored = weights + rows * columns
    let losses = restored + rows * columns
    let order = losses + rows * steps
    return ExactMemory(
      hessian: base, inverse: inverse, weights: weights, restored: restored, losses: losses,
      order: UnsafeMutableRawPointer(order).assumingMemoryBound(to: Int32.self),
      scratch: UnsafeMutableRawPointer(order + rows * steps))
  }

  /// The place in the file's order of each column in the order that blocks are cut from.
  private var columnOrder: [Int] {
    guard method.algorithm == .exact(.tap) else { return Array(0..<layer.columns) }
    return (0..<layer.columns).map { $0 % layer.channels * layer.taps + $0 / layer.channels }
  }

  /// SPADE with Optimal Brain Compression (ALGORITHMS, section 2.2).
  func solveExactly(_ weights: Tensor, sparsity: Double) async throws(ComputeError) -> PrunedLayer {
    let flag = CancellationFlag()
    let outcome: Result<PrunedLayer, ComputeError> = await withTaskCancellationHandler {
      do throws(ComputeError) { return .success(try eliminate(weights, sparsity, flag)) } catch {
        return .failure(error)
      }
    } onCancel: {
      flag.raise()
    }
    return try outcome.get()
  }

  private func eliminate(
    _ weights: Tensor, _ sparsity: Double, _ flag: CancellationFlag
  ) throws(ComputeError) -> PrunedLayer {
    var result = PrunedLayer(weights: weights, loss: 0, damping: 0, wasDampedFurther: false, deadColumns: 0)
    forgetEliminations(ofOther: weights)
    let dense = weights.elements(of: Float.self)
    let groupSize = layer.rows * layer.columns
    result.weights = try Tensor(elementType: .float32, shape: weights.shape) { (bytes) throws(ComputeError) in
      let target = bytes.bindMemory(to: Float.self)
      for group in 0..<layer.groups {
        let places = group * groupSize..<(group + 1) * groupSize
        try eliminate(
          group, dense[places], sparsity, flag, UnsafeMutableBufferPointer(rebasing: target[places]), &result)
      }
    }
    return result
  }

  private func eliminate(
    _ group: Int, _ dense: ArraySlice<Float>, _ sparsity: Double, _ flag: CancellationFlag,
    _ target: UnsafeMutableBufferPointer<Float>, _ result: inout PrunedLayer
  ) throws(ComputeError) {
    let (rows, columns, order, memory) = (layer.rows, layer.columns, columnOrder, memory())
    let steps = method.steps(of: layer)
    var counts = [Int64](repeating: 0, count: rows)
    var problem = catena_elimination(
      rows: Int64(rows), columns: Int64(columns), block: Int64(method.blockColumns(of: layer)), hessian: memory.hessian,
      inverse: memory.inverse, weights: memory.weights)
    let budget = Int64((Double(rows * steps) * sparsity).rounded(.up))
    let known = eliminations[group]
    for level in Self.dampings.indices where level >= known?.level ?? 0 {
      guard let dead = try factorise(group, level: level, memory) else { continue }
      for row in 0..<rows {
        for column in 0..<columns {
          memory.weights[row * columns + column] = Double(dense[dense.startIndex + row * columns + order[column]])
        }
        for column in dead { memory.weights[row * columns + column] = 0 }
      }
      if let known {
        memory.losses.update(from: known.losses, count: known.losses.count)
        memory.order.update(from: known.order, count: known.order.count)
      } else {
        let isDone = catena_eliminate(&problem, memory.losses, memory.order, memory.scratch, flag.pointer)
        if flag.pointer.pointee { throw .cancelled }
        guard isDone else { continue }
        eliminations[group] = Elimination(
          level: level, losses: Array(UnsafeBufferPointer(start: memory.losses, count: rows * steps)),
          order: Array(UnsafeBufferPointer(start: memory.order, count: rows * steps)))
      }
      catena_spend_budget(memory.losses, Int64(rows), Int64(steps), budget, &counts)
      guard catena_restore_rows(&problem, memory.order, counts, memory.restored, memory.scratch) else { continue }
      for row in 0..<rows {
        for column in 0..<columns {
          target[row * columns + order[column]] = Float(memory.restored[row * columns + column])
        }
        for step in 0..<Int(counts[row]) { result.loss += memory.losses[row * steps + step] }
      }
      result.damping = max(result.damping, damping(level, memory.hessian))
      result.wasDampedFurther = result.wasDampedFurther || level > 0
      result.deadColumns += dead.count
      return
    }
    throw Self.failure("the Hessian of the layer's inputs cannot be factorised, however much it is damped")
  }

  /// Makes the Hessian with the damping of `level` and its inverse; gives the dead columns, or `nil` when the
  /// factorisation fails or the method has no such level.
  private func factorise(_ group: Int, level: Int, _ memory: ExactMemory) throws(ComputeError) -> [Int]? {
    let (columns, order, hessian) = (layer.columns, columnOrder, memory.hessian)
    if method.isCompatible, level > 1 { return nil }
    assemble(group: group, into: UnsafeMutableRawPointer(memory.inverse))
    for row in 0..<columns {
      for column in 0..<columns {
        hessian[row &* columns &+ column] = memory.inverse[order[row] &* columns &+ order[column]]
      }
    }
    var dead: [Int] = []
    for column in 0..<columns {
      let place = column * columns + column
      guard hessian[place].isFinite else { throw Self.failure("the layer's inputs hold NaN or infinite numbers") }
      if hessian[place] == 0 {
        hessian[place] = 1
        dead.append(column)
      }
    }
    let added = level == 0 ? 0 : method.isCompatible ? 1 : Self.dampings[level] * meanDiagonal(hessian)
    for column in 0..<columns { hessian[column * columns + column] += added }
    if method.isCompatible, !factorisesInSinglePrecision(hessian) { return nil }
    memory.inverse.update(from: hessian, count: columns * columns)
    guard catena_cholesky(memory.inverse, Int64(columns)) >= Self.leastPivot else { return nil }
    catena_inverse_from_factor(memory.inverse, Int64(columns))
    return dead
  }

  private func meanDiagonal(_ hessian: UnsafePointer<Double>) -> Double {
    (0..<layer.columns).reduce(0) { $0 + hessian[$1 * layer.columns + $1] } / Double(layer.columns)
  }

  /// What `level` added, relative to the mean of the diagonal without it.
  private func damping(_ level: Int, _ hessian: UnsafePointer<Double>) -> Double {
    guard level > 0, method.isCompatible else { return Self.dampings[level] }
    return 1 / (meanDiagonal(hessian) - 1)
  }

  /// The published code factorises in single precision, and adds the identity where that fails.
  private func factorisesInSinglePrecision(_ hessian: UnsafePointer<Double>) -> Bool {
    var rounded = (0..<layer.columns * layer.columns).map { Float(hessian[$0]) }
    return catena_upper_factor(&rounded, Int64(layer.columns))
  }
}
