import CatenaCompute
import CatenaTensors

/// Solves the layers of traces on an OpenCL device: the fast solver in f32, the exact one in f64 where the device has it.
public struct OpenCLSolverBackend: LayerSolverBackend {
  private let context: OpenCLContext
  private let substitute: (any LayerSolverBackend)?

  /// Solvers on the device of `backend`, which share its memory and programs.
  /// - Parameter substitute: solves with the methods that the device does not have; `nil` to have them refused.
  public init(_ backend: OpenCLBackend, substitute: (any LayerSolverBackend)? = nil) {
    context = backend.context
    self.substitute = substitute
  }

  /// Whether the device solves with `method`; the reason when it does not.
  public func refusal(of method: PruningMethod) -> String? {
    guard case .exact = method.algorithm else { return nil }
    if method.isCompatible { return "the published code's damping of the exact solver is done on the CPU only" }
    return context.device.hasDoubles ? nil : "the exact solver needs float64, which \(context.device.name) lacks"
  }

  /// Whether kernels can index the layer's matrices; the reason when they cannot.
  static func refusal(of layer: LayerGeometry) -> String? {
    layer.groups * layer.columns * layer.columns <= OpenCLDevice.largestCount
      ? nil : "the products of \(layer.columns) columns are more numbers than kernels can index"
  }

  /// Prepares for one layer.
  /// - Throws: `ComputeError.unsupported` for a method, or for matrices of a size, that neither the device nor a substitute
  ///   has; `.outOfMemory`.
  public func makeSolver(
    for layer: LayerGeometry, method: PruningMethod, images: Int
  ) async throws(ComputeError) -> any LayerSolver {
    if let refusal = refusal(of: method) ?? Self.refusal(of: layer) {
      if let substitute { return try await substitute.makeSolver(for: layer, method: method, images: images) }
      throw .unsupported(backend: "opencl", nodes: ["a layer's solver: \(refusal)"])
    }
    let thread = DriverThread(name: "catena-opencl-solver")
    let context = context
    let result = await thread.perform { () -> Result<OpenCLLayerSolver, ComputeError> in
      do throws(ComputeError) {
        return .success(try OpenCLLayerSolver(layer, method, images: images, in: context, on: thread))
      } catch {
        return .failure(error)
      }
    }
    if case .failure = result { thread.stop() }
    return try result.get()
  }
}
