import COpenCL

/// The calls of the OpenCL driver that fail because of the machine: no driver, no memory, a compiler that is broken, a
/// device that goes away. A table, so that tests can make each of them fail.
package struct Driver: Sendable {
  /// `clGetPlatformIDs`.
  package var platformIDs:
    @Sendable (cl_uint, UnsafeMutablePointer<cl_platform_id?>?, UnsafeMutablePointer<cl_uint>?) -> cl_int = {
      clGetPlatformIDs($0, $1, $2)
    }
  /// `clGetDeviceIDs`, for devices of every type.
  package var deviceIDs:
    @Sendable (cl_platform_id, cl_uint, UnsafeMutablePointer<cl_device_id?>?, UnsafeMutablePointer<cl_uint>?) -> cl_int =
      { clGetDeviceIDs($0, cl_device_type(CL_DEVICE_TYPE_ALL), $1, $2, $3) }
  /// `clCreateBuffer`, for memory that kernels read and write.
  package var createBuffer: @Sendable (cl_context, Int, UnsafeMutablePointer<cl_int>) -> cl_mem? = {
    clCreateBuffer($0, cl_mem_flags(CL_MEM_READ_WRITE), $1, nil, $2)
  }
  /// `clBuildProgram`.
  package var buildProgram: @Sendable (cl_program, cl_device_id, String) -> cl_int = { program, device, options in
    var device: cl_device_id? = device
    return clBuildProgram(program, 1, &device, options, nil, nil)
  }
  /// What the driver's compiler said last about a program.
  package var buildLog: @Sendable (cl_program, cl_device_id) -> String = { program, device in
    text { clGetProgramBuildInfo(program, device, cl_program_build_info(CL_PROGRAM_BUILD_LOG), $0, $1, $2) }
  }
  /// A program as the driver can take it back (`CL_PROGRAM_BINARIES`); `nil` where it has no such form.
  package var programBinary: @Sendable (cl_program) -> [UInt8]? = { program in
    var size = 0
    let sizes = cl_program_info(CL_PROGRAM_BINARY_SIZES)
    guard clGetProgramInfo(program, sizes, MemoryLayout<Int>.size, &size, nil) == CL_SUCCESS, size > 0 else {
      return nil
    }
    var bytes = [UInt8](repeating: 0, count: size)
    let code = bytes.withUnsafeMutableBufferPointer { bytes in
      var start = bytes.baseAddress
      let binaries = cl_program_info(CL_PROGRAM_BINARIES)
      return clGetProgramInfo(program, binaries, MemoryLayout<UnsafeMutablePointer<UInt8>?>.size, &start, nil)
    }
    return code == CL_SUCCESS ? bytes : nil
  }
  /// `clEnqueueNDRangeKernel` in one dimension.
  package var enqueueKernel:
    @Sendable (cl_command_queue, cl_kernel, Int, Int, UnsafeMutablePointer<cl_event?>?) -> cl_int = {
      queue, kernel, globalSize, groupSize, event in
      var (globalSize, groupSize) = (globalSize, groupSize)
      return clEnqueueNDRangeKernel(queue, kernel, 1, nil, &globalSize, &groupSize, 0, nil, event)
    }
  /// `clFinish`.
  package var finish: @Sendable (cl_command_queue) -> cl_int = { clFinish($0) }
  /// `clWaitForEvents` of one event.
  package var wait: @Sendable (cl_event) -> cl_int = { event in
    var event: cl_event? = event
    return clWaitForEvents(1, &event)
  }
  /// A write from host memory, which blocks.
  package var write: @Sendable (cl_command_queue, cl_mem, UnsafeRawBufferPointer) -> cl_int = {
    clEnqueueWriteBuffer($0, $1, cl_bool(CL_TRUE), 0, $2.count, $2.baseAddress, 0, nil, nil)
  }
  /// A read to host memory, which blocks.
  package var read: @Sendable (cl_command_queue, cl_mem, UnsafeMutableRawBufferPointer) -> cl_int = {
    clEnqueueReadBuffer($0, $1, cl_bool(CL_TRUE), 0, $2.count, $2.baseAddress, 0, nil, nil)
  }

  /// The machine's own driver.
  package init() {}
}
