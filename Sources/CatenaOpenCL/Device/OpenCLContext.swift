import COpenCL
import CatenaCompute
import Foundation
import Synchronization

/// One device's context with its memory and programs: what all executables on that device share.
package final class OpenCLContext: Sendable {
  package let device: OpenCLDevice
  /// The shapes of kernels.
  package let traits: KernelTraits
  /// What is to be known of the tuned parameters: that those which were kept could not be used, and why.
  package let remarks: [String]
  package let pool: BufferPool
  package let programs: ProgramCache
  /// What was found out about tensor cores.
  package let tensorCores = TensorCores()
  package let handle: ContextHandle

  /// The device as programs and manifests name it, with the parameters that results depend on.
  package var description: DeviceDescription {
    var description = device.description
    if let digest = traits.digest { description.instructionSet += ", tuned \(digest)" }
    return description
  }

  /// A context that others do not share.
  /// - Parameters:
  ///   - traits: the shapes of kernels, by default those that suit the device and were tuned for it.
  ///   - cache: where built programs are kept.
  ///   - driver: the calls that may fail.
  ///   - keepsMemory: whether memory is handed on from one use to the next.
  package init(
    _ device: OpenCLDevice, traits: KernelTraits? = nil, cache: ProgramCacheLocation = .standard,
    driver: Driver = Driver(), keepsMemory: Bool = true
  ) throws(ComputeError) {
    self.device = device
    let store = cache.folder(environment: ProcessInfo.processInfo.environment).map { ProgramStore(folder: $0) }
    if let traits {
      (self.traits, remarks) = (traits, [])
    } else {
      (self.traits, remarks) = TuningStore(store).traits(of: device)
    }
    handle = try ContextHandle(device, driver: driver)
    pool = BufferPool(handle, device: device, keepsMemory: keepsMemory)
    programs = ProgramCache(handle, device: device, store: store)
  }

  /// The same device with memory of its own, for kernels that may break off: a context is of no use afterwards.
  package init(apartFrom other: OpenCLContext) throws(ComputeError) {
    (device, traits, remarks) = (other.device, other.traits, [])
    handle = try ContextHandle(device, driver: other.handle.givenDriver)
    pool = BufferPool(handle, device: device)
    programs = ProgramCache(handle, device: device, store: other.programs.store)
  }

  /// The same device, memory and programs with kernels in other shapes, for comparing these.
  package init(_ other: OpenCLContext, traits: KernelTraits) {
    (device, handle, pool, programs) = (other.device, other.handle, other.pool, other.programs)
    self.traits = traits
    remarks = []
  }

  /// The program of a kernel family.
  package func program(_ family: KernelFamily) throws(ComputeError) -> BuiltProgram {
    try programs.program(named: family.rawValue, source: family.source, options: traits.buildOptions(family))
  }

  /// The context of `device`, made when first asked for, and anew after the device was lost: one per device, since several
  /// would not share programs.
  static func shared(for device: OpenCLDevice, cache: ProgramCacheLocation) throws(ComputeError) -> OpenCLContext {
    let key = Key(device: device.index, cache: cache)
    let result: Result<OpenCLContext, ComputeError> = contexts.withLock { contexts in
      if let context = contexts[key], !context.handle.isLost { return .success(context) }
      do throws(ComputeError) {
        let context = try OpenCLContext(device, cache: cache)
        contexts[key] = context
        return .success(context)
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  private struct Key: Hashable, Sendable {
    var device: Int
    var cache: ProgramCacheLocation
  }
  private static let contexts = Mutex<[Key: OpenCLContext]>([:])
}

/// Owns a `cl_context`, which is safe to use from any thread.
package final class ContextHandle: @unchecked Sendable {
  package let context: cl_context
  let device: DeviceHandle
  /// The driver's calls, as the device needs them.
  package let driver: Driver
  /// The driver's calls as they are.
  let givenDriver: Driver
  private let lost = Atomic(false)

  init(_ device: OpenCLDevice, driver: Driver) throws(ComputeError) {
    let needsTurns = DeviceTraits.confusesLaunches(platform: device.platform, version: device.platformVersion)
    self.driver = needsTurns ? QueueTurns.taken(by: driver) : driver
    givenDriver = driver
    self.device = device.handle
    var id: cl_device_id? = device.handle.id
    context = try created("clCreateContext", device: device.name) { clCreateContext(nil, 1, &id, nil, nil, $0) }
  }

  deinit { clReleaseContext(context) }

  /// Whether the device broke off: nothing works in this context any more.
  package var isLost: Bool { lost.load(ordering: .relaxed) }

  /// Does `work`, and remembers where that loses the device.
  func noting<Value>(_ work: () throws(ComputeError) -> Value) throws(ComputeError) -> Value {
    do throws(ComputeError) {
      return try work()
    } catch {
      if case .deviceLost = error { lost.store(true, ordering: .relaxed) }
      throw error
    }
  }
}
