import COpenCL
import CatenaCompute
import Foundation

/// An OpenCL device as the discovery found it.
public struct OpenCLDevice: Sendable {
  /// What kind of processor a device is.
  public enum Kind: String, Sendable, Hashable, Codable { case gpu, accelerator, cpu, other }

  /// Its number: position in `OpenCLDevices.all`.
  public let index: Int
  /// The device's own name.
  public let name: String
  /// Who made it.
  public let vendor: String
  /// The platform (driver family) that offers it.
  public let platform: String
  /// The platform's version.
  package let platformVersion: String
  /// The driver's version, which results may depend on.
  public let driverVersion: String
  /// The version of OpenCL that the device offers.
  package let version: String
  /// The instruction set, such as `sm_90`, where the driver tells it; else empty.
  public let architecture: String
  /// What kind of processor it is.
  public let kind: Kind
  /// Compute units.
  public let computeUnits: Int
  /// Bytes of its memory.
  public let memory: Int
  /// The largest single allocation, in bytes.
  public let largestAllocation: Int
  /// Local memory of a work-group, in bytes.
  public let localMemory: Int
  /// The most work-items of a work-group.
  package let largestGroup: Int
  /// The highest clock, in MHz.
  package let clock: Int
  /// Whether its memory is the host's.
  package let sharesHostMemory: Bool
  /// Alignment that a part of a buffer needs, in bytes.
  let subBufferAlignment: Int
  /// Why it cannot be used; `nil` when it can.
  public let problem: String?
  let handle: DeviceHandle

  /// What tells this device and its driver from others: what is built or tuned for one may be wrong on another.
  package var identity: [String] { [platform, platformVersion, vendor, name, version, driverVersion] }

  /// The device as programs and manifests name it.
  public var description: DeviceDescription {
    DeviceDescription(
      backend: "opencl", name: name, instructionSet: "\(platform), driver \(driverVersion)", threads: computeUnits,
      memory: memory)
  }
}

/// A device id. Ids of root devices are constants of the process, so they may be used from any thread.
struct DeviceHandle: @unchecked Sendable {
  let id: cl_device_id
}

/// The OpenCL devices of this machine.
public enum OpenCLDevices {
  /// All devices, usable or not, in the order in which the loader lists them. Found once: first use of the loader is
  /// not safe on several threads.
  public static let all: [OpenCLDevice] = discovery.devices

  /// Why there are no devices; `nil` when there are some.
  public static var reasonForNone: String? { discovery.reasonForNone }

  /// The best GPU, with the reason for the choice. A device of type CPU is never chosen: the CPU back end serves it
  /// better.
  public static func preferred() throws(ComputeError) -> (device: OpenCLDevice, reason: String) {
    let candidates = all.filter { $0.kind == .gpu && $0.problem == nil }
    if let best = candidates.max(by: { $0.strength < $1.strength }) {
      return (best, "the strongest GPU among \(candidates.count)")
    }
    if let reasonForNone { throw .noDevice(reason: reasonForNone) }
    let seen = all.map { "opencl:\($0.index) \($0.name) (\($0.kind.rawValue)\($0.problem.map { ": \($0)" } ?? ""))" }
    let usable = all.first { $0.problem == nil }
    let advice = usable.map { "; name one, such as opencl:\($0.index), to use it all the same" } ?? ""
    throw .noDevice(reason: "OpenCL offers no usable GPU, only \(seen.joined(separator: ", "))\(advice)")
  }

  /// The device with that number.
  public static func device(at index: Int) throws(ComputeError) -> OpenCLDevice {
    if let reasonForNone { throw .noDevice(reason: reasonForNone) }
    guard all.indices.contains(index) else {
      throw .noDevice(reason: "there is no device opencl:\(index); the last is opencl:\(all.count - 1)")
    }
    if let problem = all[index].problem {
      throw .noDevice(reason: "opencl:\(index) (\(all[index].name)): \(problem)")
    }
    return all[index]
  }

  private static let discovery = discover(Driver())

  /// The devices that `driver` lists, or why there are none.
  /// - Parameter named: what `OCL_ICD_VENDORS` says.
  package static func discover(
    _ driver: Driver, named: String? = ProcessInfo.processInfo.environment["OCL_ICD_VENDORS"]
  ) -> (devices: [OpenCLDevice], reasonForNone: String?) {
    var count: cl_uint = 0
    let code = driver.platformIDs(0, nil, &count)
    guard code == CL_SUCCESS, count > 0 else {
      let advice =
        if let named, !named.isEmpty {
          "OCL_ICD_VENDORS is '\(named)': it must name a driver's library or a folder of .icd files that do"
        } else {
          "install one, or name its library or a folder of .icd files in OCL_ICD_VENDORS"
        }
      return (
        [],
        "the OpenCL loader found no driver (\(code == CL_SUCCESS ? "no platform" : openCLErrorName(code))); \(advice)"
      )
    }
    var platforms = [cl_platform_id?](repeating: nil, count: Int(count))
    _ = driver.platformIDs(count, &platforms, nil)
    var devices: [OpenCLDevice] = []
    var problems: [String] = []
    for platform in platforms.compactMap(\.self) {
      let platformName = text { clGetPlatformInfo(platform, cl_platform_info(CL_PLATFORM_NAME), $0, $1, $2) }
      var deviceCount: cl_uint = 0
      let code = driver.deviceIDs(platform, 0, nil, &deviceCount)
      guard code == CL_SUCCESS, deviceCount > 0 else {
        problems.append("\(platformName): \(code == CL_SUCCESS ? "no device" : openCLErrorName(code))")
        continue
      }
      var ids = [cl_device_id?](repeating: nil, count: Int(deviceCount))
      _ = driver.deviceIDs(platform, deviceCount, &ids, nil)
      let platformVersion = text { clGetPlatformInfo(platform, cl_platform_info(CL_PLATFORM_VERSION), $0, $1, $2) }
      for id in ids.compactMap(\.self) {
        devices.append(
          describe(id, platform: platformName, platformVersion: platformVersion, index: devices.count))
      }
    }
    return (devices, devices.isEmpty ? "no driver offers a device (\(problems.joined(separator: "; ")))" : nil)
  }

  private static func describe(
    _ id: cl_device_id, platform: String, platformVersion: String, index: Int
  ) -> OpenCLDevice {
    func string(_ key: Int32) -> String {
      text { clGetDeviceInfo(id, cl_device_info(key), $0, $1, $2) }
    }
    func number<Number: FixedWidthInteger>(_ key: Int32, as type: Number.Type) -> Int {
      // Stays 0 where the device does not know the key.
      var value: Number = 0
      clGetDeviceInfo(id, cl_device_info(key), MemoryLayout<Number>.size, &value, nil)
      return Int(clamping: value)
    }
    let type = number(CL_DEVICE_TYPE, as: cl_device_type.self)
    let kind: OpenCLDevice.Kind =
      type & Int(CL_DEVICE_TYPE_GPU) != 0
      ? .gpu
      : type & Int(CL_DEVICE_TYPE_ACCELERATOR) != 0 ? .accelerator : type & Int(CL_DEVICE_TYPE_CPU) != 0 ? .cpu : .other
    let largestGroup = number(CL_DEVICE_MAX_WORK_GROUP_SIZE, as: Int.self)
    let version = string(CL_DEVICE_VERSION)
    let available = number(CL_DEVICE_AVAILABLE, as: cl_bool.self) != 0
    let compiler = number(CL_DEVICE_COMPILER_AVAILABLE, as: cl_bool.self) != 0
    return OpenCLDevice(
      index: index, name: string(CL_DEVICE_NAME), vendor: string(CL_DEVICE_VENDOR), platform: platform,
      platformVersion: platformVersion, driverVersion: string(CL_DRIVER_VERSION), version: version,
      architecture: DeviceTraits.nvidiaArchitecture(
        major: number(computeCapabilityMajor, as: cl_uint.self), minor: number(computeCapabilityMinor, as: cl_uint.self)
      ),
      kind: kind,
      computeUnits: number(CL_DEVICE_MAX_COMPUTE_UNITS, as: cl_uint.self),
      memory: number(CL_DEVICE_GLOBAL_MEM_SIZE, as: cl_ulong.self),
      largestAllocation: number(CL_DEVICE_MAX_MEM_ALLOC_SIZE, as: cl_ulong.self),
      localMemory: number(CL_DEVICE_LOCAL_MEM_SIZE, as: cl_ulong.self),
      largestGroup: largestGroup,
      clock: number(CL_DEVICE_MAX_CLOCK_FREQUENCY, as: cl_uint.self),
      sharesHostMemory: number(CL_DEVICE_HOST_UNIFIED_MEMORY, as: cl_bool.self) != 0,
      subBufferAlignment: max(number(CL_DEVICE_MEM_BASE_ADDR_ALIGN, as: cl_uint.self) / 8, 64),
      problem: !available
        ? "the driver says it is not available"
        : !compiler
          ? "the driver has no compiler"
          : DeviceTraits.problem(kind: kind, version: version, largestGroup: largestGroup),
      handle: DeviceHandle(id: id))
  }
}

/// The keys of the extension `cl_nv_device_attribute_query`.
private let computeCapabilityMajor: Int32 = 0x4000
private let computeCapabilityMinor: Int32 = 0x4001

/// The text that an OpenCL query answers.
func text(_ query: (Int, UnsafeMutableRawPointer?, UnsafeMutablePointer<Int>?) -> cl_int) -> String {
  var size = 0
  guard query(0, nil, &size) == CL_SUCCESS, size > 0 else { return "" }
  var bytes = [UInt8](repeating: 0, count: size)
  guard query(size, &bytes, nil) == CL_SUCCESS else { return "" }
  return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
}
