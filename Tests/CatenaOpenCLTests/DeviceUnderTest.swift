import COpenCL
import CatenaCompute
import CatenaOpenCL
import Foundation

/// The device that the tests run on: the one that `CATENA_OPENCL_DEVICE` numbers, else the best GPU, else the first that
/// can be used.
enum DeviceUnderTest {
  static let result: Result<OpenCLBackend, ComputeError> = {
    do throws(ComputeError) { return .success(try choose()) } catch { return .failure(error) }
  }()

  /// Why there is none; the suites are skipped with these words.
  static var problem: String? {
    if case .failure(let error) = result { "skipped: \(error)" } else { nil }
  }

  static var isAvailable: Bool { problem == nil }

  static var backend: OpenCLBackend {
    get throws { try result.get() }
  }

  private static func choose() throws(ComputeError) -> OpenCLBackend {
    if let name = ProcessInfo.processInfo.environment["CATENA_OPENCL_DEVICE"] {
      guard let index = Int(name) else {
        throw .noDevice(reason: "CATENA_OPENCL_DEVICE is '\(name)', which is no device's number")
      }
      return try OpenCLBackend(deviceAt: index)
    }
    let usable = OpenCLDevices.all.filter { $0.problem == nil }
    guard let chosen = usable.first(where: { $0.kind == .gpu }) ?? usable.first else {
      throw .noDevice(reason: OpenCLDevices.reasonForNone ?? "none can be used")
    }
    return try OpenCLBackend(deviceAt: chosen.index)
  }
}

extension Driver {
  /// A driver whose new memory has all bits set, which as a fraction is no number: what reads memory that was never
  /// written gives wrong results.
  static var settingAllBits: Driver {
    var driver = Driver()
    driver.createBuffer = { context, size, code in
      var bits = [UInt8](repeating: 0xFF, count: size)
      return clCreateBuffer(context, cl_mem_flags(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR), size, &bits, code)
    }
    return driver
  }
}
