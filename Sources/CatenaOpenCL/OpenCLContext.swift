import COpenCL
import CatenaCompute
import Synchronization

/// One device's context with its memory and programs: what all executables on that device share.
final class OpenCLContext: Sendable {
  let device: OpenCLDevice
  let traits: DeviceTraits
  let pool: BufferPool
  let programs: ProgramCache
  let handle: ContextHandle

  init(_ device: OpenCLDevice) throws(ComputeError) {
    self.device = device
    traits = DeviceTraits(device)
    handle = try ContextHandle(device)
    pool = BufferPool(handle, device: device)
    programs = ProgramCache(handle, device: device, options: traits.buildOptions)
  }

  /// The context of `device`, made when first asked for: one per device, since several would not share programs.
  static func shared(for device: OpenCLDevice) throws(ComputeError) -> OpenCLContext {
    let result: Result<OpenCLContext, ComputeError> = contexts.withLock { contexts in
      if let context = contexts[device.index] { return .success(context) }
      do throws(ComputeError) {
        let context = try OpenCLContext(device)
        contexts[device.index] = context
        return .success(context)
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  private static let contexts = Mutex<[Int: OpenCLContext]>([:])
}

/// Owns a `cl_context`, which is safe to use from any thread.
final class ContextHandle: @unchecked Sendable {
  let context: cl_context
  let device: DeviceHandle

  init(_ device: OpenCLDevice) throws(ComputeError) {
    self.device = device.handle
    var id: cl_device_id? = device.handle.id
    context = try created("clCreateContext", device: device.name) { clCreateContext(nil, 1, &id, nil, nil, $0) }
  }

  deinit { clReleaseContext(context) }
}
