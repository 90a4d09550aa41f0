import CSolvers
import CatenaCompute
import CatenaTensors

extension CPULayerSolver {
  /// Relative damping of the fast solver, and what is tried where that is not enough.
  private static let dampings = [0.01, 0.1, 1, 10]

  /// Bytes of one group's Hessian and of the sweep.
  static func fastBytes(_ layer: LayerGeometry) -> Int {
    var sweep = catena_sweep()
    (sweep.rows, sweep.columns, sweep.group) = (Int64(layer.rows), Int64(layer.columns), Int64(layer.taps))
    return 4 * (layer.columns * layer.columns + Int(catena_sweep_scratch_floats(&sweep))) + 64
  }

  /// FastSPADE (ALGORITHMS, section 2.1).
  func solveFast(_ weights: Tensor, sparsity: Double) throws(ComputeError) -> PrunedLayer {
    var result = PrunedLayer(weights: weights, loss: 0, damping: 0, wasDampedFurther: false, deadColumns: 0)
    result.weights = try Tensor(elementType: .float32, shape: weights.shape) { (bytes) throws(ComputeError) in
      weights.withUnsafeBytes { bytes.copyMemory(from: $0) }
      let values = bytes.bindMemory(to: Float.self)
      let groupSize = layer.rows * layer.columns
      for group in 0..<layer.groups {
        let part = UnsafeMutableBufferPointer(rebasing: values[group * groupSize..<(group + 1) * groupSize])
        try solveFast(part, group: group, sparsity: sparsity, &result)
      }
    }
    return result
  }

  private func solveFast(
    _ weights: UnsafeMutableBufferPointer<Float>, group: Int, sparsity: Double, _ result: inout PrunedLayer
  ) throws(ComputeError) {
    let columns = layer.columns
    var sweep = catena_sweep()
    (sweep.rows, sweep.columns, sweep.group) = (Int64(layer.rows), Int64(columns), Int64(layer.taps))
    sweep.count = Int64(Double(layer.rows * layer.taps) * sparsity)
    sweep.includes_ties = method.isCompatible
    let memory = scratch.bytes(Self.fastBytes(layer)).assumingMemoryBound(to: Float.self)
    // The sweep's scratch begins with doubles.
    let hessian = memory + (Int(catena_sweep_scratch_floats(&sweep)) + 15) / 16 * 16
    var isFactorised = false
    for (level, damping) in Self.dampings.enumerated() where !isFactorised {
      assemble(group: group, into: UnsafeMutableRawPointer(hessian))
      var sum = 0.0
      var dead: [Int] = []
      for column in 0..<columns {
        let place = column * columns + column
        guard hessian[place].isFinite else { throw Self.failure("the layer's inputs hold NaN or infinite numbers") }
        if hessian[place] == 0 {
          hessian[place] = 1
          dead.append(column)
        }
        sum += Double(hessian[place])
      }
      let added = Float(damping * sum / Double(columns))
      for column in 0..<columns { hessian[column * columns + column] += added }
      isFactorised = catena_upper_factor(hessian, Int64(columns))
      guard isFactorised else { continue }
      for column in dead {
        for row in 0..<layer.rows { weights[row * columns + column] = 0 }
      }
      result.damping = max(result.damping, damping)
      result.wasDampedFurther = result.wasDampedFurther || level > 0
      result.deadColumns += dead.count
    }
    guard isFactorised, let first = weights.baseAddress else {
      throw Self.failure("the Hessian of the layer's inputs cannot be factorised, however much it is damped")
    }
    result.loss += catena_sweep_columns(&sweep, first, hessian, memory)
  }
}
