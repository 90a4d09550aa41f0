import COpenCL
import CatenaCompute

/// A launch that is ready to be enqueued, once or several times: a kernel object of its own with all arguments set.
final class PreparedLaunch {
  let name: String
  private let kernel: cl_kernel
  private var globalSize: Int
  private let groupSize: Int
  private let device: String

  /// Makes a kernel of `program` and sets its arguments; `workItems` is rounded up to whole groups.
  init(
    _ name: String, in program: BuiltProgram, arguments: [KernelArgument], workItems: Int, groupSize: Int,
    device: String
  ) throws(ComputeError) {
    self.name = name
    self.groupSize = groupSize
    self.device = device
    globalSize = Self.wholeGroups(workItems, groupSize)
    kernel = try created("clCreateKernel", device: device, detail: "\(name) in \(program.name)") {
      clCreateKernel(program.program, name, $0)
    }
    for (index, argument) in arguments.enumerated() { try set(argument, at: index) }
  }

  private static func wholeGroups(_ workItems: Int, _ groupSize: Int) -> Int {
    (max(workItems, 1) + groupSize - 1) / groupSize * groupSize
  }

  /// Changes an argument for the times to come; what has been enqueued keeps its own.
  func set(_ argument: KernelArgument, at index: Int) throws(ComputeError) {
    try check(
      argument.set(index: cl_uint(index), of: kernel), "clSetKernelArg", device: device,
      detail: "argument \(index) of \(name)")
  }

  /// Changes the number of work-items for the times to come, which is rounded up to whole groups.
  func set(workItems: Int) { globalSize = Self.wholeGroups(workItems, groupSize) }

  deinit { clReleaseKernel(kernel) }

  func enqueue(
    on queue: cl_command_queue, driver: Driver, event: UnsafeMutablePointer<cl_event?>?
  ) throws(ComputeError) {
    try check(
      driver.enqueueKernel(queue, kernel, globalSize, groupSize, event), "clEnqueueNDRangeKernel", device: device,
      detail: "\(name), \(globalSize) work-items in groups of \(groupSize)")
  }
}

/// An argument of a kernel.
enum KernelArgument {
  case memory(cl_mem?)
  /// One number, or a vector of 2, 4, 8.
  case integers([Int32])
  case floats([Float])

  fileprivate func set(index: cl_uint, of kernel: cl_kernel) -> cl_int {
    switch self {
    case .memory(let memory):
      guard var memory else { return clSetKernelArg(kernel, index, MemoryLayout<cl_mem>.size, nil) }
      return clSetKernelArg(kernel, index, MemoryLayout<cl_mem>.size, &memory)
    case .integers(let values): return clSetKernelArg(kernel, index, values.count * 4, values)
    case .floats(let values): return clSetKernelArg(kernel, index, values.count * 4, values)
    }
  }
}
