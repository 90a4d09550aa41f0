import CatenaCompute
import CatenaExplain

extension Engine {
  /// Does `work` on a device. Where an OpenCL device that was chosen automatically fails in the middle (it is lost, its
  /// driver builds nothing), `work` is done again from its beginning, on the CPU and in float32.
  ///
  /// - Parameters:
  ///   - device: Which device; only `automatic` allows the CPU in its place.
  ///   - threads: Threads of the CPU back end; `nil` for what the affinity mask and the control group allow.
  ///   - memoryLimit: The most bytes that a program's plan may hold; `nil` for no limit of our own.
  ///   - precision: The lowest precision that products may be computed in.
  ///   - fallingBack: Told in one line what happened to the device.
  ///   - work: The work. What it wrote before the device failed must not be in its way the second time.
  /// - Throws: What `work` throws, `ComputeError.deviceLost` of a device that was named among it;
  ///   `ComputeError.noDevice` when the device that was asked for cannot be used.
  public static func run<Value>(
    device: DeviceChoice = .automatic, threads: Int? = nil, memoryLimit: Int? = nil, precision: Precision = .f32,
    fallingBack: (String) -> Void, _ work: (Engine) async throws -> Value
  ) async throws -> Value {
    let engine = try Engine(device: device, threads: threads, memoryLimit: memoryLimit, precision: precision)
    return try await engine.run(
      mayFallBack: device == .automatic,
      replacement: { try Engine(device: .cpu, threads: threads, memoryLimit: memoryLimit) }, fallingBack: fallingBack,
      work)
  }

  /// Does `work`, and, where that is allowed, on another engine again when this one's OpenCL device fails.
  package func run<Value>(
    mayFallBack: Bool, replacement: () throws -> Engine, fallingBack: (String) -> Void,
    _ work: (Engine) async throws -> Value
  ) async throws -> Value {
    do {
      return try await work(self)
    } catch {
      guard mayFallBack, let fault = deviceFault(in: error) else { throw error }
      fallingBack("\(fault); starting again on the CPU")
      return try await work(replacement())
    }
  }

  /// What `error` says of this engine's OpenCL device, in one line; `nil` when the device did not cause it.
  private func deviceFault(in error: any Error) -> String? {
    guard backend.device.backend == "opencl" else { return nil }
    var cause = error as? ComputeError
    if case .compute(let inner)? = error as? ExplanationError { cause = inner }
    switch cause {
    case .deviceLost(let device, _)? where device == backend.device.name,
      .callFailed(_, _, let device, _)? where device == backend.device.name:
      return cause.map(Self.firstLine)
    default: return nil
    }
  }

  /// The first line of an error, which may show a whole build log.
  static func firstLine(_ error: ComputeError) -> String {
    error.description.split(separator: "\n", maxSplits: 1).first.map(String.init) ?? ""
  }
}
