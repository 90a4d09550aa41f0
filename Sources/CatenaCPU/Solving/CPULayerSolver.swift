import COpenBLAS
import CSolvers
import CatenaCompute
import CatenaTensors

/// One layer's Hessian as the products that make it up, and its solver.
package actor CPULayerSolver: LayerSolver {
  package nonisolated let accumulatorBytes: Int
  package nonisolated let workingBytes: Int
  nonisolated let layer: LayerGeometry
  nonisolated let method: PruningMethod
  nonisolated let threads: Int
  private nonisolated let thread: OwnedThread
  let scratch: SolverScratch
  private let products: HessianProducts
  private(set) var images = 0
  /// The exact solver's, by group, and the weights that they are of: another ratio needs no other elimination.
  var eliminations: [Int: Elimination] = [:]
  private var eliminatedWeights: Tensor?

  package nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  init(
    _ layer: LayerGeometry, _ method: PruningMethod, images: Int, thread: OwnedThread, threads: Int,
    scratch: SolverScratch, withCorrelations: Bool?
  ) {
    self.layer = layer
    self.method = method
    self.thread = thread
    self.threads = threads
    self.scratch = scratch
    products = HessianProducts(
      layer, isDouble: method.isExact, images: images, threads: threads, withCorrelations: withCorrelations)
    accumulatorBytes = products.byteCount + (method.isExact ? Self.eliminatedBytes(layer, method) : 0)
    workingBytes = max(products.workingBytes(images: images), Self.solvingBytes(layer, method, threads: threads))
  }

  package func add(_ inputs: Tensor) throws(ComputeError) {
    let expected: Shape = [inputs.shape[0], layer.source[0], layer.source[1], layer.groups * layer.channels]
    precondition(inputs.shape == expected && inputs.elementType == .float32, "\(inputs.shape) is not \(expected)")
    images += inputs.shape[0]
    eliminatedWeights = nil
    inputs.withElements(of: Float.self) { values in
      guard let source = values.baseAddress, inputs.elementCount > 0 else { return }
      products.add(source, images: inputs.shape[0], scratch: scratch)
    }
  }

  package func solve(_ weights: Tensor, sparsity: Double) async throws(ComputeError) -> PrunedLayer {
    precondition(weights.shape == layer.weightShape && weights.elementType == .float32, "\(weights.shape)")
    precondition(images > 0, "a layer is solved after its inputs were added")
    let isFinite = weights.withElements(of: Float.self) { values in values.allSatisfy(\.isFinite) }
    guard isFinite else { throw Self.failure("the weights hold NaN or infinite numbers") }
    products.finish(scratch: scratch)
    return method.isExact
      ? try await solveExactly(weights, sparsity: sparsity) : try solveFast(weights, sparsity: sparsity)
  }

  /// Forgets what was eliminated from other weights, or before the last images came.
  func forgetEliminations(ofOther weights: Tensor) {
    if let known = eliminatedWeights, known.isBitIdentical(to: weights) { return }
    eliminations = [:]
    eliminatedWeights = weights
  }

  /// Writes the Hessian of a group, rows and columns in the order (channel, tap).
  func assemble(group: Int, into hessian: UnsafeMutableRawPointer) {
    products.assemble(group: group, scale: 2 / Double(images), into: hessian)
  }

  /// Whether the Hessian is made from correlations of whole images.
  package nonisolated var hasCorrelations: Bool { products.hasCorrelations }

  /// A group's Hessian without damping, row after row, rows and columns in the order (channel, tap).
  package func hessian(group: Int) -> [Double] {
    products.finish(scratch: scratch)
    let count = layer.columns * layer.columns
    func elements<Element>(of type: Element.Type) -> [Element] {
      [Element](unsafeUninitializedCapacity: count) { target, filled in
        if let address = target.baseAddress { assemble(group: group, into: UnsafeMutableRawPointer(address)) }
        filled = count
      }
    }
    return method.isExact ? elements(of: Double.self) : elements(of: Float.self).map(Double.init)
  }

  static func failure(_ detail: String) -> ComputeError {
    .callFailed(call: "solve", code: "no solution", device: deviceName, detail: detail)
  }

  private static func solvingBytes(_ layer: LayerGeometry, _ method: PruningMethod, threads: Int) -> Int {
    method.isExact ? exactBytes(layer, method, threads: threads) : fastBytes(layer)
  }
}

extension PruningMethod {
  var isExact: Bool {
    if case .exact = algorithm { true } else { false }
  }
}
