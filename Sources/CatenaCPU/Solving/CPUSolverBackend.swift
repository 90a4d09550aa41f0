import CatenaCompute
import CatenaTensors

/// The linear algebra of traces on the processor: OpenBLAS's matrix products and LAPACK's factorisations, own sweeps.
///
/// All layers of one back end are worked on by one thread with a team, one call after the other. Results are the same bits
/// for the same inputs, processor and number of threads.
public struct CPUSolverBackend: LayerSolverBackend {
  private let thread: OwnedThread
  private let threads: Int
  private let scratch = SolverScratch()

  /// Uses `threads` threads, or as many as the affinity mask and the control group's quota allow.
  /// - Precondition: `threads` is positive.
  public init(threads: Int? = nil) {
    precondition(threads.map { $0 > 0 } ?? true, "a solver needs a thread")
    self.threads = threads ?? Machine.usableProcessors
    thread = OwnedThread(threads: self.threads)
  }

  /// Uses the threads of `backend`, in turn with its programs: a network's Hessians and its forward pass then follow one
  /// another without waking other threads.
  public init(sharing backend: CPUBackend) {
    threads = backend.device.threads
    thread = backend.driver()
  }

  /// Prepares for one layer.
  public func makeSolver(
    for layer: LayerGeometry, method: PruningMethod, images: Int
  ) async throws(ComputeError) -> any LayerSolver {
    makeSolver(for: layer, method: method, images: images, withCorrelations: nil)
  }

  /// The same, with the Hessian from correlations of whole images or without, whichever is cheaper.
  package func makeSolver(
    for layer: LayerGeometry, method: PruningMethod, images: Int, withCorrelations: Bool?
  ) -> CPULayerSolver {
    CPULayerSolver(
      layer, method, images: images, thread: thread, threads: threads, scratch: scratch,
      withCorrelations: withCorrelations)
  }
}

/// Memory that all solvers of a back end use in turn. Used on the back end's thread only.
final class SolverScratch: @unchecked Sendable {
  private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)

  deinit { memory.deallocate() }

  /// At least `bytes` bytes, 64-byte aligned, of any content; valid until the next call.
  func bytes(_ count: Int) -> UnsafeMutableRawPointer {
    if memory.count < count || memory.baseAddress == nil {
      memory.deallocate()
      memory = .allocate(byteCount: max(count, 64), alignment: 64)
    }
    guard let address = memory.baseAddress else { preconditionFailure("an allocation has an address") }
    return address
  }
}
