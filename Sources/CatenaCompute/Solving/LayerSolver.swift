import CatenaTensors

/// Which connections of a layer are removed, and how the others are updated.
public struct PruningMethod: Sendable, Hashable {
  /// The algorithm.
  public enum Algorithm: Sendable, Hashable {
    /// Column by column with a damped Hessian (SPADE, FastSPADE).
    case fast
    /// Greedy in every row, undamped, with a budget for the layer (SPADE, Optimal Brain Compression).
    case exact(Blocks)
  }
  /// What the exact algorithm removes at once from a convolution.
  public enum Blocks: String, Sendable, Hashable, Codable, CaseIterable {
    /// One input channel's kernel.
    case kernel
    /// As many columns as a kernel has, in the order (tap, channel): the published code's blocks.
    case tap
    /// Single weights.
    case weight
  }
  /// The algorithm.
  public var algorithm: Algorithm
  /// Whether to count and damp as the published code does: the fast solver prunes ties and one entry more per group, the
  /// exact one adds the identity where the Hessian, in single precision, cannot be factorised.
  public var isCompatible: Bool

  /// A method.
  public init(_ algorithm: Algorithm, isCompatible: Bool = false) {
    self.algorithm = algorithm
    self.isCompatible = isCompatible
  }

  /// Columns that the exact algorithm removes at once.
  package func blockColumns(of layer: LayerGeometry) -> Int { algorithm == .exact(.weight) ? 1 : layer.taps }

  /// Removals of the exact algorithm that empty a row.
  package func steps(of layer: LayerGeometry) -> Int { layer.columns / blockColumns(of: layer) }
}

/// What is left of a layer.
public struct PrunedLayer: Sendable {
  /// The new weights, float32 [groups * rows, columns].
  public var weights: Tensor
  /// The solver's own sum of losses: half the squared change of the layer's response to the (damped) inputs, per image.
  public var loss: Double
  /// What was added to the diagonal of the Hessian, relative to its mean; the largest of all groups.
  public var damping: Double
  /// Whether that is more than the method asks for, because a factorisation failed.
  public var wasDampedFurther: Bool
  /// Columns that are zero on all inputs, in all groups.
  public var deadColumns: Int

  /// A result.
  public init(weights: Tensor, loss: Double, damping: Double, wasDampedFurther: Bool, deadColumns: Int) {
    self.weights = weights
    self.loss = loss
    self.damping = damping
    self.wasDampedFurther = wasDampedFurther
    self.deadColumns = deadColumns
  }
}

/// Where the linear algebra of traces runs.
public protocol LayerSolverBackend: Sendable {
  /// Prepares for one layer: a Hessian of zeros.
  /// - Parameter images: The most images that one call of `add` brings.
  func makeSolver(
    for layer: LayerGeometry, method: PruningMethod, images: Int
  ) async throws(ComputeError) -> any LayerSolver
}

/// The Hessian of one layer, H = 2/n X X^T over n images, and the solver that uses it.
public protocol LayerSolver: Sendable {
  /// Bytes that are held from the first image to the solution.
  var accumulatorBytes: Int { get }
  /// Bytes more that a call needs while it runs, the most of all calls.
  var workingBytes: Int { get }

  /// Adds the layer's inputs for some images: float32 [images, height, width, channels of all groups].
  func add(_ inputs: Tensor) async throws(ComputeError)

  /// Removes connections from the dense weights, float32 [groups * rows, columns].
  /// - Parameters:
  ///   - weights: The dense weights.
  ///   - sparsity: The part to remove, from 0 to 1. What that means exactly is the method's own matter.
  /// - Throws: `ComputeError.cancelled`; `.callFailed` when no damping makes the Hessian positive definite or a number is
  ///   not finite.
  func solve(_ weights: Tensor, sparsity: Double) async throws(ComputeError) -> PrunedLayer
}
