/// What differs from device to device, in one place: the shapes of kernels and the build options that follow.
package struct DeviceTraits: Sendable, Hashable {
  /// Channels in one vector.
  var lanes: Int
  /// Output positions (or matrix rows) that one work-item owns.
  var pixels: Int
  /// Consecutive elements that one work-item of an element-wise kernel walks.
  var run: Int
  /// Work-items per group, the same in every kernel.
  var groupSize: Int
  /// Rows that one work-item of a reduction's first stage walks, at least.
  var rowsPerPart: Int
  /// Whether inline PTX for tensor cores can be built (sm_80 and later).
  var hasTensorPTX = false

  init(_ device: OpenCLDevice) {
    defer { hasTensorPTX = Self.hasTensorPTX(architecture: device.architecture) }
    switch device.kind {
    case .cpu:
      // A work-item is a loop body on one core: long vectors, much work each, no cooperation between work-items.
      self.init(lanes: 16, pixels: 8, run: 64, groupSize: 8, rowsPerPart: 256)
    case .gpu, .accelerator, .other:
      // Registers are per work-item and neighbours read together: short vectors, little work each.
      self.init(lanes: 4, pixels: 4, run: 1, groupSize: 64, rowsPerPart: 64)
    }
  }

  package init(lanes: Int, pixels: Int, run: Int, groupSize: Int, rowsPerPart: Int) {
    self.lanes = lanes
    self.pixels = pixels
    self.run = run
    self.groupSize = groupSize
    self.rowsPerPart = rowsPerPart
  }

  /// The build options of every program. None relaxes the mathematics: results are compared with the reference.
  package var buildOptions: String {
    "-cl-std=CL1.2 -DLANES=\(lanes) -DPIXELS=\(pixels) -DRUN=\(run) -DGROUP_SIZE=\(groupSize) "
      + "-DTENSOR_PTX=\(hasTensorPTX ? 1 : 0)"
  }

  /// The instruction set of an NVIDIA device of that compute capability; empty for other devices.
  static func nvidiaArchitecture(major: Int, minor: Int) -> String { major > 0 ? "sm_\(major)\(minor)" : "" }

  /// Whether a device of that instruction set has `mma.sync` for tf32 and bf16, `ldmatrix` and `cp.async`.
  static func hasTensorPTX(architecture: String) -> Bool {
    architecture.hasPrefix("sm_") && Int(architecture.dropFirst(3)).map { $0 >= 80 } ?? false
  }

  /// What a driver that fails to build without saying why most likely lacks.
  static func hintForEmptyBuildLog(platform: String) -> String {
    platform.contains("NVIDIA")
      ? "the build log is empty; newer NVIDIA drivers need the library libnvidia-nvvm.so beside libnvidia-opencl.so: "
        + "add its folder to LD_LIBRARY_PATH"
      : "the build log is empty"
  }
}
