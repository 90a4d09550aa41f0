import CatenaCompute
import CatenaOpenCL
import Foundation

/// The device that tests of OpenCL run on: the one that `CATENA_OPENCL_DEVICE` numbers, else the best GPU, else the
/// first that can be used. `EveryDeviceTests` has them run on the others, too, where the variable is not set.
package enum DeviceUnderTest {
  package static let variable = "CATENA_OPENCL_DEVICE"

  package static let result: Result<OpenCLBackend, ComputeError> = {
    do throws(ComputeError) { return .success(try OpenCLBackend(deviceAt: try index())) } catch {
      return .failure(error)
    }
  }()

  /// Why there is none; the suites are skipped with these words.
  package static var problem: String? {
    if case .failure(let error) = result { "skipped: \(error)" } else { nil }
  }

  package static var isAvailable: Bool { problem == nil }

  /// Whether the variable names one: a suite that is skipped then is a mistake.
  package static var isNamed: Bool { named != nil }

  /// Whether it is a processor.
  package static var isProcessor: Bool {
    if case .success(let backend) = result { backend.context.device.kind == .cpu } else { false }
  }

  package static var backend: OpenCLBackend {
    get throws { try result.get() }
  }

  /// The other devices that can be used; none where the variable names one.
  package static var others: [OpenCLDevice] {
    guard named == nil, case .success(let backend) = result else { return [] }
    return usable.filter { $0.index != backend.context.device.index }
  }

  private static var named: String? { ProcessInfo.processInfo.environment[variable] }
  private static var usable: [OpenCLDevice] { OpenCLDevices.all.filter { $0.problem == nil } }

  private static func index() throws(ComputeError) -> Int {
    if let named {
      guard let index = Int(named) else {
        throw .noDevice(reason: "\(variable) is '\(named)', which is no device's number")
      }
      return index
    }
    guard let chosen = usable.first(where: { $0.kind == .gpu }) ?? usable.first else {
      throw .noDevice(reason: OpenCLDevices.reasonForNone ?? "none can be used")
    }
    return chosen.index
  }
}
