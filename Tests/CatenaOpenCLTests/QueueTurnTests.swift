import COpenCL
import CatenaCompute
import CatenaOpenCL
import Foundation
import TestSupport
import Testing

/// Launches of several queues at once, which some releases of PoCL mistake for each other.
@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct QueueTurnTests {
  /// Group 0 works for `first` rounds, every other group for `others`.
  private static let source = """
    kernel __attribute__((reqd_work_group_size(8, 1, 1)))
    void spin(global float *target, const int first, const int others) {
      const int rounds = get_group_id(0) == 0 ? first : others;
      float value = get_local_id(0) + 1;
      for (int round = 0; round < rounds; ++round) value = sin(value) + 1.0f;
      target[get_global_id(0)] = value;
    }
    """

  /// Three launches of a kernel are under way when one of more groups begins, and end after it: what PoCL 3.1 does not
  /// survive on two threads. The first keeps both busy, one of them longer; the other thread begins the second launch,
  /// whose last group is left for the former, which before and after it begins the third and the fourth.
  /// In a process of its own, which a driver that breaks off takes with it.
  @Test func aWiderLaunchMayBeginWhileOthersAreUnderWay() async throws {
    await #expect(processExitsWith: .success) {
      for name in ["POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT"] { setenv(name, "2", 1) }
      let handle = try OpenCLContext(DeviceUnderTest.backend.context.device, cache: .off).handle
      let kernel = try DriverKernel("spin", Self.source, in: handle.context)
      var code: cl_int = CL_SUCCESS
      var queues: [cl_command_queue] = []
      var targets: [cl_mem] = []
      let launches: [(groups: Int, first: Int, others: Int)] = [(2, 2, 1), (2, 6, 1), (2, 2, 1), (8, 0, 0)]
      let unit = 100_000
      for launch in launches {
        queues.append(try #require(clCreateCommandQueue(handle.context, kernel.device, 0, &code)))
        targets.append(try #require(handle.driver.createBuffer(handle.context, launch.groups * 32, &code)))
      }
      for (index, launch) in launches.enumerated() {
        kernel.set(0, to: targets[index])
        kernel.set(1, to: cl_int(launch.first * unit))
        kernel.set(2, to: cl_int(launch.others * unit))
        #expect(handle.driver.enqueueKernel(queues[index], kernel.kernel, launch.groups * 8, 8, nil) == CL_SUCCESS)
        clFlush(queues[index])
      }
      for queue in queues { #expect(clFinish(queue) == CL_SUCCESS) }
      for queue in queues { clReleaseCommandQueue(queue) }
      for target in targets { clReleaseMemObject(target) }
    }
  }

  /// Nothing runs while a program is asked for its binary: PoCL 3.1 breaks off when a kernel ends whose program, of whichever
  /// context, was asked meanwhile.
  @Test func aProgramIsAskedForItsBinaryWhenNothingRuns() async throws {
    let context = try DeviceUnderTest.backend.context
    let device = context.device
    guard DeviceTraits.confusesLaunches(platform: device.platform, version: device.platformVersion) else { return }
    let handle = context.handle
    let kernel = try DriverKernel("spin", Self.source, in: handle.context)
    var code: cl_int = CL_SUCCESS
    let queue = try #require(clCreateCommandQueue(handle.context, kernel.device, 0, &code))
    let target = try #require(handle.driver.createBuffer(handle.context, 64, &code))
    kernel.set(0, to: target)
    for index in 1...2 { kernel.set(cl_uint(index), to: cl_int(2_000_000)) }
    var event: cl_event?
    #expect(handle.driver.enqueueKernel(queue, kernel.kernel, 16, 8, &event) == CL_SUCCESS)
    clFlush(queue)
    #expect(handle.driver.programBinary(kernel.program)?.isEmpty == false)
    var status: cl_int = CL_QUEUED
    let name = cl_event_info(CL_EVENT_COMMAND_EXECUTION_STATUS)
    clGetEventInfo(event, name, MemoryLayout<cl_int>.size, &status, nil)
    #expect(status == CL_COMPLETE)
    withExtendedLifetime(kernel) {}
    event.map { _ = clReleaseEvent($0) }
    clReleaseMemObject(target)
    clReleaseCommandQueue(queue)
  }

  @Test(arguments: [
    ("OpenCL 1.2 pocl 1.1 None+Asserts, LLVM 6.0.1", true), ("OpenCL 3.0 PoCL 3.1+debian  Linux, None+Asserts", true),
    ("OpenCL 3.0 PoCL 5.0  Linux, Release", true), ("OpenCL 3.0 PoCL 6.0  Linux, Release", false),
    ("OpenCL 3.0 PoCL 10.2  Linux, Release", false), ("OpenCL 3.0", true), ("OpenCL 3.0 PoCL HEAD", true),
  ])
  func areKeptApartWhereTheReleaseNeedsIt(version: String, isNeeded: Bool) {
    #expect(DeviceTraits.confusesLaunches(platform: "Portable Computing Language", version: version) == isNeeded)
    #expect(!DeviceTraits.confusesLaunches(platform: "NVIDIA CUDA", version: version))
  }
}
