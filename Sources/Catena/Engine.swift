import CatenaCPU
import CatenaCompute
import CatenaOpenCL

/// An opened device, ready to run networks.
///
/// The library changes nothing process-wide; an engine may be made per thread count and memory limit.
public final class Engine: Sendable {
  /// What runs graphs.
  public let backend: any Backend
  /// What solves the layers of traces: a GPU that was opened, with the CPU for what it does not solve; else the CPU.
  public let solvers: any LayerSolverBackend
  /// How programs are compiled: the memory limit, the precision of products.
  public let compileOptions: CompileOptions
  /// Which device was opened, and why.
  public let description: String
  /// What is to be known besides, a line each, such as tuned parameters that could not be used, or that a device has no
  /// tensor cores for the precision.
  public let remarks: [String]

  /// Opens a device.
  /// - Parameters:
  ///   - device: Which one; `automatic` takes the best OpenCL GPU, else the CPU.
  ///   - threads: Threads of the CPU back end; `nil` for what the affinity mask and the control group allow.
  ///   - memoryLimit: The most bytes that a program's plan may hold; `nil` for no limit of our own.
  ///   - precision: The lowest precision that products may be computed in.
  /// - Throws: `ComputeError.noDevice` when the device that was asked for cannot be used.
  public init(
    device: DeviceChoice = .automatic, threads: Int? = nil, memoryLimit: Int? = nil, precision: Precision = .f32
  ) throws(ComputeError) {
    compileOptions = CompileOptions(memoryLimit: memoryLimit, precision: precision)
    let reason: String
    switch device {
    case .automatic: (backend, reason) = Engine.openAutomatically(threads: threads)
    default:
      backend = try Engine.backend(device, threads: threads)
      reason = "as asked"
    }
    solvers = Engine.solvers(beside: backend, threads: threads)
    remarks = (backend as? OpenCLBackend)?.remarks(for: precision) ?? []
    description = Engine.describe(backend, reason)
  }

  /// An engine for tests: a back end that was opened otherwise.
  package init(backend: any Backend, solvers: any LayerSolverBackend = CPUSolverBackend()) {
    self.backend = backend
    self.solvers = solvers
    compileOptions = CompileOptions()
    remarks = []
    description = Engine.describe(backend, "given")
  }

  private static func solvers(beside backend: any Backend, threads: Int?) -> any LayerSolverBackend {
    if let processor = backend as? CPUBackend { return CPUSolverBackend(sharing: processor) }
    let processor = CPUSolverBackend(threads: threads)
    guard let device = backend as? OpenCLBackend, device.isGPU else { return processor }
    return OpenCLSolverBackend(device, substitute: processor)
  }

  private static func describe(_ backend: any Backend, _ reason: String) -> String {
    let opened = backend.device
    return "\(opened.backend): \(opened.name), \(opened.instructionSet), \(opened.threads) threads (\(reason))"
  }

  /// The best OpenCL GPU, else (also where it cannot be opened) the CPU, with the reason.
  private static func openAutomatically(threads: Int?) -> (any Backend, reason: String) {
    let choice = automaticChoice()
    do throws(ComputeError) {
      return (try backend(choice.device, threads: threads), choice.reason)
    } catch {
      return (CPUBackend(threads: threads), firstLine(error))
    }
  }

  private static func backend(_ device: DeviceChoice, threads: Int?) throws(ComputeError) -> any Backend {
    switch device {
    case .automatic, .cpu: CPUBackend(threads: threads)
    case .openCL(let index): try OpenCLBackend(deviceAt: index)
    case .reference: ReferenceBackend()
    }
  }

  /// The best OpenCL GPU, else the CPU, with the reason.
  static func automaticChoice() -> (device: DeviceChoice, reason: String) {
    let devices = OpenCLDevices.all
    let gpus = devices.filter { $0.kind == .gpu }
    if let best = gpus.filter({ $0.problem == nil }).max(by: { $0.computeUnits < $1.computeUnits }) {
      return (.openCL(index: best.index), "the largest OpenCL GPU")
    }
    if let unusable = gpus.first { return (.cpu, "\(unusable.name) cannot be used: \(unusable.problem ?? "")") }
    return (.cpu, OpenCLDevices.reasonForNone ?? "no OpenCL device is a GPU")
  }
}

/// What can compute here.
public struct DeviceSurvey: Sendable, Codable {
  /// One device.
  public struct Entry: Sendable, Codable {
    /// What `--device` takes for it.
    public var choice: String
    /// The device; `nil` when it cannot be used.
    public var description: DeviceDescription?
    /// What to know about it.
    public var remark: String
  }
  /// All devices, usable or not.
  public var devices: [Entry]
  /// What `auto` means here.
  public var chosen: String
  /// Why.
  public var reason: String
}

extension Engine {
  /// Lists the devices of this machine.
  public static func survey() -> DeviceSurvey {
    var entries = [
      DeviceSurvey.Entry(choice: "cpu", description: CPUBackend().device, remark: "oneDNN and own kernels")
    ]
    for device in OpenCLDevices.all {
      let use = device.kind == .gpu ? "OpenCL GPU" : "OpenCL on a \(device.kind.rawValue): only when named"
      entries.append(
        DeviceSurvey.Entry(
          choice: "opencl:\(device.index)", description: device.problem == nil ? device.description : nil,
          remark: device.problem ?? use))
    }
    entries.append(
      DeviceSurvey.Entry(
        choice: "reference", description: ReferenceBackend().device, remark: "literal, in double, slow: for checks"))
    let choice = automaticChoice()
    return DeviceSurvey(devices: entries, chosen: choice.device.description, reason: choice.reason)
  }
}
