import COpenCL
import CatenaOpenCL

/// A kernel that a test's driver runs beside the engine's.
final class DriverKernel: @unchecked Sendable {
  let kernel: cl_kernel
  let program: cl_program
  let device: cl_device_id

  /// - Throws: `Failure` with what the driver returned.
  init(_ name: String, _ source: String, in context: cl_context) throws(Failure) {
    var device: cl_device_id?
    var code = clGetContextInfo(
      context, cl_context_info(CL_CONTEXT_DEVICES), MemoryLayout<cl_device_id>.size, &device, nil)
    guard code == CL_SUCCESS, let device else { throw Failure(code: code) }
    let program = source.withCString { text in
      var text: UnsafePointer<CChar>? = text
      return clCreateProgramWithSource(context, 1, &text, nil, &code)
    }
    guard let program else { throw Failure(code: code) }
    code = Driver().buildProgram(program, device, "-cl-std=CL1.2")
    guard code == CL_SUCCESS, let kernel = clCreateKernel(program, name, &code) else {
      clReleaseProgram(program)
      throw Failure(code: code)
    }
    self.kernel = kernel
    self.program = program
    self.device = device
  }

  deinit {
    clReleaseKernel(kernel)
    clReleaseProgram(program)
  }

  struct Failure: Error {
    let code: cl_int
  }

  /// The kernel that `kept` holds, made when it holds none.
  static func made(
    _ kept: inout DriverKernel?, _ name: String, _ source: String, in context: cl_context
  ) throws(Failure) -> DriverKernel {
    if let kept { return kept }
    let kernel = try DriverKernel(name, source, in: context)
    kept = kernel
    return kernel
  }

  /// Sets an argument.
  func set<Value: BitwiseCopyable>(_ index: cl_uint, to value: Value) {
    var value = value
    clSetKernelArg(kernel, index, MemoryLayout<Value>.size, &value)
  }

  /// Sets an argument to local memory.
  func setLocal(_ index: cl_uint, byteCount: Int) { clSetKernelArg(kernel, index, byteCount, nil) }

  /// The context of a queue.
  static func context(of queue: cl_command_queue) throws(Failure) -> cl_context {
    var context: cl_context?
    let code = clGetCommandQueueInfo(
      queue, cl_command_queue_info(CL_QUEUE_CONTEXT), MemoryLayout<cl_context>.size, &context, nil)
    guard code == CL_SUCCESS, let context else { throw Failure(code: code) }
    return context
  }
}
