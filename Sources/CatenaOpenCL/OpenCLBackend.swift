import CatenaCompute
import CatenaGraph
import CatenaReference

/// Runs graphs on an OpenCL device in f32.
public struct OpenCLBackend: Backend {
  /// The device's description.
  public var device: DeviceDescription { context.description }
  /// Whether the device is a GPU.
  public var isGPU: Bool { context.device.kind == .gpu }
  /// Why this device was chosen.
  public let reason: String
  /// What is to be known besides, a line each: tuned parameters that could not be used, and what products that may be
  /// computed in `precision` are computed in. Where the device has tensor cores, it is found out first, which takes
  /// seconds once.
  public func remarks(for precision: Precision) -> [String] {
    context.remarks + context.tensorCores.remarks(for: precision, in: context)
  }
  package let context: OpenCLContext
  /// Which products run on tensor cores, where that is not to be found out.
  private let tensorPolicy: TensorPolicy?
  /// What memory holds before a kernel writes to it, where that is checked.
  private let unwrittenBits: UInt64?

  /// The back end of the best GPU.
  /// - Parameter cache: where built programs are kept.
  /// - Throws: `ComputeError.noDevice` with the reason when there is none.
  public init(cache: ProgramCacheLocation = .standard) throws(ComputeError) {
    let (device, reason) = try OpenCLDevices.preferred()
    context = try OpenCLContext.shared(for: device, cache: cache)
    self.reason = reason
    (tensorPolicy, unwrittenBits) = (nil, nil)
  }

  /// The back end of the device with that number in `OpenCLDevices.all`, of whatever kind.
  /// - Parameters:
  ///   - index: the device's number.
  ///   - cache: where built programs are kept.
  /// - Throws: `ComputeError.noDevice` with the reason when it cannot be used.
  public init(deviceAt index: Int, cache: ProgramCacheLocation = .standard) throws(ComputeError) {
    context = try OpenCLContext.shared(for: OpenCLDevices.device(at: index), cache: cache)
    reason = "named as opencl:\(index)"
    (tensorPolicy, unwrittenBits) = (nil, nil)
  }

  /// The back end of a context that others do not share.
  /// - Parameters:
  ///   - context: the device with its memory and programs.
  ///   - tensorPolicy: which products run on tensor cores, where that is not to be found out.
  ///   - unwrittenBits: what every element of a result, of scratch and of packed weights holds when a kernel first
  ///     writes to it, in the bits that it has room for: results must not depend on it. `nil` for whatever it held.
  package init(context: OpenCLContext, tensorPolicy: TensorPolicy? = nil, unwrittenBits: UInt64? = nil) {
    self.context = context
    self.tensorPolicy = tensorPolicy
    self.unwrittenBits = unwrittenBits
    reason = "given"
  }

  /// Folds constants, fuses, plans memory, builds kernels and uploads constants.
  /// - Throws: `ComputeError.unsupported` naming every node without a kernel, `.outOfMemory`, `.callFailed` with the
  ///   build log, `.invalidGraph`, `.mismatch` for a carry that does not fit.
  public func compile(_ program: Program, options: CompileOptions) async throws(ComputeError) -> any Executable {
    try await executable(program, options: options)
  }

  package func executable(_ program: Program, options: CompileOptions) async throws(ComputeError) -> OpenCLExecutable {
    let ready = try simplified(program)
    let refusals = KernelSupport(hasDoubles: context.device.hasDoubles).refusals(of: ready.graph)
    guard refusals.isEmpty else { throw .unsupported(backend: "opencl", nodes: refusals) }
    do throws(ComputeError) {
      return try await prepared(ready, options)
    } catch {
      // Memory that is kept for later may be what the driver lacks now.
      guard case .outOfMemory = error, context.pool.statistics.bytesKept > 0 else { throw error }
      context.pool.flush()
      return try await prepared(ready, options)
    }
  }

  private func prepared(_ ready: Program, _ options: CompileOptions) async throws(ComputeError) -> OpenCLExecutable {
    let thread = DriverThread(name: "catena-opencl")
    let result = await thread.perform { () -> Result<OpenCLExecutable, ComputeError> in
      do throws(ComputeError) {
        return .success(
          try OpenCLExecutable(
            ready, in: context, memoryLimit: options.memoryLimit,
            tensorPolicy: tensorPolicy ?? context.tensorCores.policy(for: options.precision, in: context),
            unwrittenBits: unwrittenBits, on: thread))
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
