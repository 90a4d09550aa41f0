import COpenCL
import CatenaOpenCL
import Foundation
import Synchronization

/// A driver that makes up for what oclgrind 21.10 does not keep in mind of unwritten memory.
///
/// - It knows only threads that made a context, and breaks off on others: every thread makes one before its first call.
/// - It forgets a buffer's contents where the host writes to a part of it: the host writes to a buffer of its own, from
///   which a kernel copies.
/// - It takes a new buffer for one that was released: none is released while the process runs.
/// - It takes a buffer's extent from the first argument that lies in it, which may be a part of it: a kernel gets the
///   whole buffer first.
///
/// It does not know all that an optimiser makes of kernels, either: they are built as they are written.
final class KernelChecker: Sendable {
  private struct Kernels: Sendable {
    var touch: DriverKernel?
    var copy: DriverKernel?
  }
  private let kernels = Mutex(Kernels())
  private static let source = """
    kernel void touch(global uchar *memory) {}
    kernel void copy(const global uchar *source, global uchar *target) {
      target[get_global_id(0)] = source[get_global_id(0)];
    }
    """

  var driver: Driver {
    var driver = Driver()
    let plain = driver
    driver.buildProgram = { plain.buildProgram($0, $1, $2 + " -cl-opt-disable") }
    driver.createBuffer = { [self] in Self.known(create($0, $1, $2)) }
    driver.write = { [self] in Self.known(write($0, $1, $2)) }
    driver.read = { Self.known(plain.read($0, $1, $2)) }
    driver.enqueueKernel = { Self.known(plain.enqueueKernel($0, $1, $2, $3, $4)) }
    driver.finish = { Self.known(plain.finish($0)) }
    driver.wait = { Self.known(plain.wait($0)) }
    return driver
  }

  /// Calls on a thread that the checker knows.
  private static func known<Result>(_ call: @autoclosure () -> Result) -> Result {
    let key = "context for the checker"
    if Thread.current.threadDictionary[key] == nil {
      var code: cl_int = CL_SUCCESS
      Thread.current.threadDictionary[key] =
        clCreateContextFromType(nil, cl_device_type(CL_DEVICE_TYPE_ALL), nil, nil, &code) != nil
    }
    return call()
  }

  private func create(_ context: cl_context, _ size: Int, _ code: UnsafeMutablePointer<cl_int>) -> cl_mem? {
    let plain = Driver()
    guard let memory = plain.createBuffer(context, size, code) else { return nil }
    kernels.withLock { kernels in
      do throws(DriverKernel.Failure) {
        let touch = try DriverKernel.made(&kernels.touch, "touch", Self.source, in: context)
        touch.set(0, to: memory)
        let queue = clCreateCommandQueue(context, touch.device, 0, code)
        guard let queue else { return }
        code.pointee = plain.enqueueKernel(queue, touch.kernel, 1, 1, nil)
        if code.pointee == CL_SUCCESS { code.pointee = plain.finish(queue) }
        clReleaseCommandQueue(queue)
      } catch { code.pointee = error.code }
    }
    clRetainMemObject(memory)
    return code.pointee == CL_SUCCESS ? memory : nil
  }

  private func write(_ queue: cl_command_queue, _ target: cl_mem, _ bytes: UnsafeRawBufferPointer) -> cl_int {
    kernels.withLock { kernels in
      do throws(DriverKernel.Failure) {
        let context = try DriverKernel.context(of: queue)
        let copy = try DriverKernel.made(&kernels.copy, "copy", Self.source, in: context)
        let plain = Driver()
        var code: cl_int = CL_SUCCESS
        guard let source = plain.createBuffer(context, bytes.count, &code) else { return code }
        code = plain.write(queue, source, bytes)
        guard code == CL_SUCCESS else { return code }
        copy.set(0, to: source)
        copy.set(1, to: target)
        code = plain.enqueueKernel(queue, copy.kernel, bytes.count, 1, nil)
        return code == CL_SUCCESS ? plain.finish(queue) : code
      } catch { return error.code }
    }
  }
}
