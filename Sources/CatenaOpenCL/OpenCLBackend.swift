import CatenaCompute
import CatenaGraph
import CatenaReference

/// Runs graphs on an OpenCL device in f32.
public struct OpenCLBackend: Backend {
  /// The device's description.
  public var device: DeviceDescription { context.device.description }
  /// Why this device was chosen.
  public let reason: String
  let context: OpenCLContext

  /// The back end of the best GPU.
  /// - Throws: `ComputeError.noDevice` with the reason when there is none.
  public init() throws(ComputeError) {
    let (device, reason) = try OpenCLDevices.preferred()
    context = try OpenCLContext.shared(for: device)
    self.reason = reason
  }

  /// The back end of the device with that number in `OpenCLDevices.all`, of whatever kind.
  /// - Throws: `ComputeError.noDevice` with the reason when it cannot be used.
  public init(deviceAt index: Int) throws(ComputeError) {
    context = try OpenCLContext.shared(for: OpenCLDevices.device(at: index))
    reason = "named as opencl:\(index)"
  }

  /// The back end of a context that others do not share.
  init(context: OpenCLContext) {
    self.context = context
    reason = "given"
  }

  /// Folds constants, fuses, plans memory, builds kernels and uploads constants.
  /// - Throws: `ComputeError.unsupported` naming every node without a kernel, `.outOfMemory`, `.callFailed` with the
  ///   build log, `.invalidGraph`, `.mismatch` for a carry that does not fit.
  public func compile(_ program: Program, options: CompileOptions) async throws(ComputeError) -> any Executable {
    try await executable(program, options: options)
  }

  func executable(_ program: Program, options: CompileOptions) async throws(ComputeError) -> OpenCLExecutable {
    let ready = try simplified(program)
    let refusals = KernelSupport(hasDoubles: context.device.hasDoubles).refusals(of: ready.graph)
    guard refusals.isEmpty else { throw .unsupported(backend: "opencl", nodes: refusals) }
    let thread = DriverThread(name: "catena-opencl")
    let result = await thread.perform { () -> Result<OpenCLExecutable, ComputeError> in
      do throws(ComputeError) {
        return .success(
          try OpenCLExecutable(ready, in: context, memoryLimit: options.memoryLimit, on: thread))
      } catch {
        return .failure(error)
      }
    }
    if case .failure = result { thread.stop() }
    return try result.get()
  }

  /// The program with constants folded, unused nodes removed, and an order that lets chains be fused.
  private func simplified(_ program: Program) throws(ComputeError) -> Program {
    do throws(GraphError) { try program.graph.checkInvariants() } catch { throw .invalidGraph(error) }
    try program.checkCarries()
    var graph = program.graph
    // Carried values need not be outputs, but must be made.
    graph.outputs += program.carries.map(\.output)
    do throws(GraphError) {
      graph = try graph.pruned().foldingConstants(maximumElements: Self.largestFoldedConstant)
    } catch { throw .invalidGraph(error) }
    graph = graph.schedulingMixersLate()
    graph.outputs = program.graph.outputs
    return Program(graph, carries: program.carries)
  }

  /// Larger results of constants are computed on the device when it prepares the program.
  private static let largestFoldedConstant = 1 << 16
}
