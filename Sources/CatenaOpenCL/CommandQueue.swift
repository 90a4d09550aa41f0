import COpenCL
import CatenaCompute

/// An in-order queue of one device. Used by one thread at a time.
final class CommandQueue {
  private let queue: cl_command_queue
  private let context: ContextHandle
  private let device: String

  init(_ context: OpenCLContext) throws(ComputeError) {
    self.context = context.handle
    device = context.device.name
    queue = try created("clCreateCommandQueue", device: device) {
      clCreateCommandQueue(context.handle.context, context.device.handle.id, 0, $0)
    }
  }

  deinit { clReleaseCommandQueue(queue) }

  func enqueue(_ launch: PreparedLaunch) throws(ComputeError) { try launch.enqueue(on: queue) }

  /// Starts what has been enqueued and returns a marker behind it.
  func submit() throws(ComputeError) -> Marker {
    var event: cl_event?
    try check(clEnqueueMarkerWithWaitList(queue, 0, nil, &event), "clEnqueueMarkerWithWaitList", device: device)
    guard let event else {
      throw .callFailed(call: "clEnqueueMarkerWithWaitList", code: "no event", device: device, detail: "")
    }
    let marker = Marker(event, device: device)
    try check(clFlush(queue), "clFlush", device: device)
    return marker
  }

  /// Waits for everything that has been enqueued.
  func finish() throws(ComputeError) { try check(clFinish(queue), "clFinish", device: device) }

  /// Copies bytes to the beginning of `memory` and waits.
  func write(_ bytes: UnsafeRawBufferPointer, to memory: cl_mem) throws(ComputeError) {
    guard let base = bytes.baseAddress, bytes.count > 0 else { return }
    try check(
      clEnqueueWriteBuffer(queue, memory, cl_bool(CL_TRUE), 0, bytes.count, base, 0, nil, nil),
      "clEnqueueWriteBuffer", device: device, detail: "\(bytes.count) bytes")
  }

  /// Copies bytes from the beginning of `memory` when everything enqueued is done.
  func read(_ bytes: UnsafeMutableRawBufferPointer, from memory: cl_mem) throws(ComputeError) {
    guard let base = bytes.baseAddress, bytes.count > 0 else { return }
    try check(
      clEnqueueReadBuffer(queue, memory, cl_bool(CL_TRUE), 0, bytes.count, base, 0, nil, nil),
      "clEnqueueReadBuffer", device: device, detail: "\(bytes.count) bytes")
  }

  /// A point in the queue that can be waited for.
  struct Marker: ~Copyable {
    private let event: cl_event
    private let device: String

    fileprivate init(_ event: cl_event, device: String) {
      self.event = event
      self.device = device
    }

    deinit { clReleaseEvent(event) }

    func wait() throws(ComputeError) {
      var event: cl_event? = event
      try check(clWaitForEvents(1, &event), "clWaitForEvents", device: device)
    }
  }
}
