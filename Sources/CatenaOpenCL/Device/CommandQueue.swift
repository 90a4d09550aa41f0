import COpenCL
import CatenaCompute

/// An in-order queue of one device. Used by one thread at a time.
///
/// Once a call has failed nothing is under way any more: what the failure ends gives its memory back to the pool, and
/// others get it.
final class CommandQueue {
  private let queue: cl_command_queue
  private let context: ContextHandle
  private let device: String

  /// A queue; one that `profiles` can say how long a kernel took, and is slower.
  init(_ context: OpenCLContext, profiles: Bool = false) throws(ComputeError) {
    self.context = context.handle
    device = context.device.name
    let properties = profiles ? cl_command_queue_properties(CL_QUEUE_PROFILING_ENABLE) : 0
    queue = try created("clCreateCommandQueue", device: device) {
      clCreateCommandQueue(context.handle.context, context.device.handle.id, properties, $0)
    }
  }

  deinit { clReleaseCommandQueue(queue) }

  func enqueue(_ launch: PreparedLaunch) throws(ComputeError) {
    try settling { () throws(ComputeError) in try launch.enqueue(on: queue, driver: context.driver, event: nil) }
  }

  /// Enqueues a kernel of a queue that profiles, and returns what its time can be asked of.
  func enqueueProfiled(_ launch: PreparedLaunch) throws(ComputeError) -> Marker {
    var event: cl_event?
    try settling { () throws(ComputeError) in try launch.enqueue(on: queue, driver: context.driver, event: &event) }
    return try marker(event, of: "clEnqueueNDRangeKernel")
  }

  /// Starts what has been enqueued and returns a marker behind it.
  func submit() throws(ComputeError) -> Marker {
    var event: cl_event?
    try check(clEnqueueMarkerWithWaitList(queue, 0, nil, &event), "clEnqueueMarkerWithWaitList", device: device)
    let marker = try marker(event, of: "clEnqueueMarkerWithWaitList")
    try check(clFlush(queue), "clFlush", device: device)
    return marker
  }

  private func marker(_ event: cl_event?, of call: String) throws(ComputeError) -> Marker {
    guard let event else { throw .callFailed(call: call, code: "no event", device: device, detail: "") }
    return Marker(event, context: context, device: device)
  }

  /// Waits for everything that has been enqueued.
  func finish() throws(ComputeError) {
    try context.noting { () throws(ComputeError) in
      try check(context.driver.finish(queue), "clFinish", device: device, waits: true)
    }
  }

  /// Does `work`, and waits for everything that has been enqueued where that fails.
  func settling<Value>(_ work: () throws(ComputeError) -> Value) throws(ComputeError) -> Value {
    do throws(ComputeError) {
      return try context.noting(work)
    } catch {
      _ = context.driver.finish(queue)
      throw error
    }
  }

  /// Copies bytes to the beginning of `memory` and waits.
  func write(_ bytes: UnsafeRawBufferPointer, to memory: cl_mem) throws(ComputeError) {
    guard bytes.count > 0 else { return }
    // The write may be the first to touch the memory, which drivers reserve as late as that: a lack of resources is
    // what it says.
    try settling { () throws(ComputeError) in
      try check(
        context.driver.write(queue, memory, bytes), "clEnqueueWriteBuffer", device: device,
        detail: "\(bytes.count) bytes")
    }
  }

  /// Copies bytes from the beginning of `memory` when everything enqueued is done.
  func read(_ bytes: UnsafeMutableRawBufferPointer, from memory: cl_mem) throws(ComputeError) {
    guard bytes.count > 0 else { return }
    try settling { () throws(ComputeError) in
      try check(
        context.driver.read(queue, memory, bytes), "clEnqueueReadBuffer", device: device, waits: true,
        detail: "\(bytes.count) bytes")
    }
  }

  /// Copies numbers to the beginning of `memory` and waits.
  func write<Number: BitwiseCopyable>(_ numbers: [Number], to memory: cl_mem) throws(ComputeError) {
    let result = numbers.withUnsafeBytes { bytes in
      Result<Void, ComputeError> { () throws(ComputeError) in try write(bytes, to: memory) }
    }
    try result.get()
  }

  /// Copies numbers from the beginning of `memory` when everything enqueued is done.
  func read<Number: BitwiseCopyable>(_ numbers: inout [Number], from memory: cl_mem) throws(ComputeError) {
    let result = numbers.withUnsafeMutableBytes { bytes in
      Result<Void, ComputeError> { () throws(ComputeError) in try read(bytes, from: memory) }
    }
    try result.get()
  }

  /// A point in the queue that can be waited for.
  struct Marker: ~Copyable {
    private let event: cl_event
    private let context: ContextHandle
    private let device: String

    fileprivate init(_ event: cl_event, context: ContextHandle, device: String) {
      self.event = event
      self.context = context
      self.device = device
    }

    deinit { clReleaseEvent(event) }

    func wait() throws(ComputeError) {
      try context.noting { () throws(ComputeError) in
        try check(context.driver.wait(event), "clWaitForEvents", device: device, waits: true)
      }
    }

    /// How long the kernel ran that the marker stands behind, which must be done.
    func seconds() throws(ComputeError) -> Double {
      var times: (start: cl_ulong, end: cl_ulong) = (0, 0)
      for (key, isStart) in [(CL_PROFILING_COMMAND_START, true), (CL_PROFILING_COMMAND_END, false)] {
        var time: cl_ulong = 0
        try check(
          clGetEventProfilingInfo(event, cl_profiling_info(key), MemoryLayout<cl_ulong>.size, &time, nil),
          "clGetEventProfilingInfo", device: device)
        if isStart { times.start = time } else { times.end = time }
      }
      return Double(times.end &- times.start) * 1e-9
    }
  }
}
