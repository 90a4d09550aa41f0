import COpenCL

extension OpenCLDevice {
  /// Whether the device computes in f64.
  package var hasDoubles: Bool { configuration(CL_DEVICE_DOUBLE_FP_CONFIG) != 0 }

  /// Whether divisions and roots in f32 are rounded correctly where a program's build asks for it.
  package var roundsDivisions: Bool {
    configuration(CL_DEVICE_SINGLE_FP_CONFIG) & cl_device_fp_config(CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0
  }

  private func configuration(_ key: Int32) -> cl_device_fp_config {
    var result: cl_device_fp_config = 0
    let code = clGetDeviceInfo(
      handle.id, cl_device_info(key), MemoryLayout.size(ofValue: result), &result, nil)
    return code == CL_SUCCESS ? result : 0
  }
}
