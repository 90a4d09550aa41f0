import COpenCL
import CatenaCompute

/// Throws what an unsuccessful OpenCL call means.
/// - Parameters:
///   - code: what the call returned.
///   - call: the function's name.
///   - device: the device's name.
///   - waits: whether the call waits for kernels: then a lack of resources and a dead queue are what drivers report of a
///     device that broke off.
///   - detail: what the call was about, or a build log.
func check(
  _ code: cl_int, _ call: String, device: String, waits: Bool = false, detail: @autoclosure () -> String = ""
) throws(ComputeError) {
  guard code != CL_SUCCESS else { return }
  let name = openCLErrorName(code)
  let isLost =
    code == CL_DEVICE_NOT_AVAILABLE || code == illegalAccess
    || waits
      && [CL_OUT_OF_RESOURCES, CL_INVALID_COMMAND_QUEUE, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST].contains(code)
  if isLost {
    throw .deviceLost(device: device, detail: ["\(call) returned \(name)", detail()].joinedWhereNotEmpty)
  }
  throw .callFailed(call: call, code: name, device: device, detail: detail())
}

/// What NVIDIA's driver returns after a kernel read or wrote memory that is not its own; the context is unusable then.
private let illegalAccess: cl_int = -9999

extension [String] {
  fileprivate var joinedWhereNotEmpty: String { filter { !$0.isEmpty }.joined(separator: ": ") }
}

extension ComputeError {
  /// The error as a lack of memory, when that is what the driver meant.
  func asMemoryShortage(requested: Int, available: Int) -> ComputeError {
    guard case .callFailed(_, let code, let device, _) = self,
      [CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_HOST_MEMORY, CL_OUT_OF_RESOURCES].map(openCLErrorName).contains(code)
    else { return self }
    return .outOfMemory(requested: requested, available: available, device: device)
  }
}

/// Returns what a creating call made.
func created<Object>(
  _ call: String, device: String, detail: @autoclosure () -> String = "",
  _ create: (UnsafeMutablePointer<cl_int>) -> Object?
) throws(ComputeError) -> Object {
  var code: cl_int = CL_SUCCESS
  let object = create(&code)
  try check(code, call, device: device, detail: detail())
  guard let object else {
    throw .callFailed(call: call, code: "no object", device: device, detail: detail())
  }
  return object
}

/// The name of an error code, as cl.h spells it.
func openCLErrorName(_ code: cl_int) -> String { errorNames[code] ?? "error \(code)" }

private let errorNames: [cl_int: String] = [
  -1: "CL_DEVICE_NOT_FOUND", -2: "CL_DEVICE_NOT_AVAILABLE", -3: "CL_COMPILER_NOT_AVAILABLE",
  -4: "CL_MEM_OBJECT_ALLOCATION_FAILURE", -5: "CL_OUT_OF_RESOURCES", -6: "CL_OUT_OF_HOST_MEMORY",
  -7: "CL_PROFILING_INFO_NOT_AVAILABLE", -8: "CL_MEM_COPY_OVERLAP", -9: "CL_IMAGE_FORMAT_MISMATCH",
  -10: "CL_IMAGE_FORMAT_NOT_SUPPORTED", -11: "CL_BUILD_PROGRAM_FAILURE", -12: "CL_MAP_FAILURE",
  -13: "CL_MISALIGNED_SUB_BUFFER_OFFSET", -14: "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST",
  -15: "CL_COMPILE_PROGRAM_FAILURE", -16: "CL_LINKER_NOT_AVAILABLE", -17: "CL_LINK_PROGRAM_FAILURE",
  -18: "CL_DEVICE_PARTITION_FAILED", -19: "CL_KERNEL_ARG_INFO_NOT_AVAILABLE", -30: "CL_INVALID_VALUE",
  -31: "CL_INVALID_DEVICE_TYPE", -32: "CL_INVALID_PLATFORM", -33: "CL_INVALID_DEVICE", -34: "CL_INVALID_CONTEXT",
  -35: "CL_INVALID_QUEUE_PROPERTIES", -36: "CL_INVALID_COMMAND_QUEUE", -37: "CL_INVALID_HOST_PTR",
  -38: "CL_INVALID_MEM_OBJECT", -39: "CL_INVALID_IMAGE_FORMAT_DESCRIPTOR", -40: "CL_INVALID_IMAGE_SIZE",
  -41: "CL_INVALID_SAMPLER", -42: "CL_INVALID_BINARY", -43: "CL_INVALID_BUILD_OPTIONS", -44: "CL_INVALID_PROGRAM",
  -45: "CL_INVALID_PROGRAM_EXECUTABLE", -46: "CL_INVALID_KERNEL_NAME", -47: "CL_INVALID_KERNEL_DEFINITION",
  -48: "CL_INVALID_KERNEL", -49: "CL_INVALID_ARG_INDEX", -50: "CL_INVALID_ARG_VALUE", -51: "CL_INVALID_ARG_SIZE",
  -52: "CL_INVALID_KERNEL_ARGS", -53: "CL_INVALID_WORK_DIMENSION", -54: "CL_INVALID_WORK_GROUP_SIZE",
  -55: "CL_INVALID_WORK_ITEM_SIZE", -56: "CL_INVALID_GLOBAL_OFFSET", -57: "CL_INVALID_EVENT_WAIT_LIST",
  -58: "CL_INVALID_EVENT", -59: "CL_INVALID_OPERATION", -61: "CL_INVALID_BUFFER_SIZE",
  -63: "CL_INVALID_GLOBAL_WORK_SIZE", -64: "CL_INVALID_PROPERTY", -66: "CL_INVALID_COMPILER_OPTIONS",
  -67: "CL_INVALID_LINKER_OPTIONS", -68: "CL_INVALID_DEVICE_PARTITION_COUNT", -1001: "CL_PLATFORM_NOT_FOUND_KHR",
  -9999: "illegal read or write of a kernel (NVIDIA)",
]
