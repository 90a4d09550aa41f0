import CatenaCompute
import CatenaGraph
import CatenaOpenCL
import CatenaTensors
import Foundation
import Synchronization
import TestSupport
import Testing

/// Counts calls, to fail from the n-th on.
private final class Calls: Sendable {
  private let count = Mutex(0)
  /// The number of this call, from 0.
  func next() -> Int {
    count.withLock { count in
      defer { count += 1 }
      return count
    }
  }
}

/// Codes that drivers return, by their values in cl.h.
private enum Code {
  static let deviceNotAvailable: Int32 = -2
  static let allocationFailure: Int32 = -4
  static let outOfResources: Int32 = -5
  static let buildFailure: Int32 = -11
  static let invalidCommandQueue: Int32 = -36
  static let noPlatform: Int32 = -1001
}

@Suite struct DiscoveryFaultTests {
  @Test func noDriverIsSaidWithTheWayOut() {
    var driver = Driver()
    driver.platformIDs = { _, _, _ in Code.noPlatform }
    let (devices, reason) = OpenCLDevices.discover(driver, named: nil)
    #expect(devices.isEmpty)
    #expect(reason?.contains("no driver (CL_PLATFORM_NOT_FOUND_KHR); install one") == true)
    #expect(reason?.contains("OCL_ICD_VENDORS") == true)
    #expect(OpenCLDevices.discover(driver, named: "/no").reasonForNone?.contains("OCL_ICD_VENDORS is '/no'") == true)
  }

  @Test(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
  func aDriverWithoutDevicesIsNamed() {
    var driver = Driver()
    driver.deviceIDs = { _, _, _, _ in -1 }
    let (devices, reason) = OpenCLDevices.discover(driver)
    #expect(devices.isEmpty)
    #expect(reason?.contains("no driver offers a device") == true)
    #expect(reason?.contains("CL_DEVICE_NOT_FOUND") == true)
  }

  /// The loader itself, in a process in which it finds no driver.
  @Test func anEmptyFolderOfDriversLeavesNoDevice() async throws {
    await #expect(processExitsWith: .success) {
      let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      setenv("OCL_ICD_VENDORS", folder, 1)
      #expect(OpenCLDevices.all.isEmpty)
      #expect(OpenCLDevices.reasonForNone?.contains("found no driver") == true)
      #expect(throws: ComputeError.self) { try OpenCLDevices.preferred() }
      #expect(throws: ComputeError.self) { try OpenCLBackend(deviceAt: 0) }
      try FileManager.default.removeItem(atPath: folder)
    }
  }
}

@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct DeviceFaultTests {
  private static func backend(_ change: (inout Driver) -> Void) throws -> OpenCLBackend {
    var driver = Driver()
    change(&driver)
    return OpenCLBackend(
      context: try OpenCLContext(DeviceUnderTest.backend.context.device, cache: .off, driver: driver))
  }

  /// x + 1, carried to x.
  private static func counter() throws -> (program: Program, input: ValueID) {
    var graph = Graph()
    let x = graph.addInput("x", TensorType(.float32, [64]))
    let one = graph.addConstant("one", Tensor(scalar: Float(1)))
    let next = try graph.add(.binary(.add), x, one)
    return (Program(graph, carries: [Program.Carry(from: next, to: x)]), x)
  }

  private static func error(of work: () async throws -> Void) async -> ComputeError? {
    do {
      try await work()
      return nil
    } catch { return error as? ComputeError }
  }

  // MARK: Builds

  @Test(arguments: ["", " \n\0"])
  func aDriverThatBuildsNothingIsSaid(log: String) async throws {
    let backend = try Self.backend { driver in
      driver.buildProgram = { _, _, _ in Code.buildFailure }
      driver.buildLog = { _, _ in log }
    }
    let program = try Self.counter().program
    let error = await Self.error { _ = try await backend.compile(program, options: CompileOptions()) }
    guard case .callFailed("clBuildProgram", "CL_BUILD_PROGRAM_FAILURE", _, let detail) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(detail.contains("the build log is empty"))
  }

  @Test func theWholeBuildLogIsShown() async throws {
    let log = (1...3000).map { "line \($0) of the log" }.joined(separator: "\n")
    let backend = try Self.backend { driver in
      driver.buildProgram = { _, _, _ in Code.buildFailure }
      driver.buildLog = { _, _ in log }
    }
    let program = try Self.counter().program
    let error = await Self.error { _ = try await backend.compile(program, options: CompileOptions()) }
    #expect(error?.description.contains(log) == true)
  }

  // MARK: Memory

  @Test func aBufferIsTriedASecondTime() async throws {
    let calls = Calls()
    let backend = try Self.backend { driver in
      let create = driver.createBuffer
      driver.createBuffer = { context, size, code in
        guard calls.next() == 0 else { return create(context, size, code) }
        code.pointee = Code.allocationFailure
        return nil
      }
    }
    let (program, input) = try Self.counter()
    let executable = try await backend.compile(program, options: CompileOptions())
    try await executable.write(Tensor(zeros: [64]), to: input)
    try await executable.run(steps: 2)
    #expect(try await executable.read(input).floats == [Float](repeating: 2, count: 64))
  }

  @Test func aLackOfMemoryComesWithItsNumbers() async throws {
    let backend = try Self.backend { driver in
      driver.createBuffer = { _, _, code in
        code.pointee = Code.allocationFailure
        return nil
      }
    }
    let program = try Self.counter().program
    let error = await Self.error { _ = try await backend.compile(program, options: CompileOptions()) }
    guard case .outOfMemory(let requested, let available, _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(requested > 0 && available > 0)
    #expect(error?.description.contains("--batch") == true && error?.description.contains("--memory") == true)
    #expect(backend.context.pool.statistics.buffersInUse == 0)
  }

  /// Drivers that reserve memory at first use say so when a kernel is enqueued.
  @Test(arguments: [Code.allocationFailure, Code.outOfResources])
  func aLackOfMemoryAtFirstUseIsOne(code: Int32) async throws {
    let calls = Calls()
    let backend = try Self.backend { driver in
      let enqueue = driver.enqueueKernel
      driver.enqueueKernel = { queue, kernel, global, local, event in
        calls.next() < 3 ? enqueue(queue, kernel, global, local, event) : code
      }
    }
    let (program, input) = try Self.counter()
    let executable = try await backend.compile(program, options: CompileOptions())
    try await executable.write(Tensor(zeros: [64]), to: input)
    let error = await Self.error { try await executable.run(steps: 5) }
    guard case .outOfMemory(let requested, _, _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(requested == executable.memoryPlan.total)
  }

  /// What fails gives its memory to the pool, and others get it: until then everything under way must be done.
  @Test func nothingIsUnderWayOnceALaunchHasFailed() async throws {
    let (launches, waits) = (Calls(), Calls())
    let isFailing = Mutex(false)
    let backend = try Self.backend { driver in
      let plain = driver
      driver.enqueueKernel = { queue, kernel, global, local, event in
        guard isFailing.withLock({ $0 }), launches.next() >= 1 else {
          return plain.enqueueKernel(queue, kernel, global, local, event)
        }
        return Code.allocationFailure
      }
      driver.finish = { queue in
        if isFailing.withLock({ $0 }) { _ = waits.next() }
        return plain.finish(queue)
      }
    }
    let (program, input) = try Self.counter()
    let executable = try await backend.compile(program, options: CompileOptions())
    try await executable.write(Tensor(zeros: [64]), to: input)
    isFailing.withLock { $0 = true }
    let error = await Self.error { try await executable.run(steps: 2) }
    #expect(error != nil && waits.next() == 1)
    #expect(!backend.context.handle.isLost)
  }

  // MARK: A device that goes away

  enum Loss: CaseIterable { case whileEnqueuing, whileWaiting, whileReading }

  @Test(arguments: Loss.allCases)
  func aLostDeviceIsOne(_ loss: Loss) async throws {
    let calls = Calls()
    let backend = try Self.backend { driver in
      let plain = driver
      switch loss {
      case .whileEnqueuing:
        driver.enqueueKernel = { queue, kernel, global, local, event in
          calls.next() < 4 ? plain.enqueueKernel(queue, kernel, global, local, event) : Code.deviceNotAvailable
        }
      case .whileWaiting:
        driver.wait = { calls.next() < 2 ? plain.wait($0) : Code.outOfResources }
      case .whileReading:
        driver.read = { _, _, _ in Code.invalidCommandQueue }
      }
    }
    let (program, input) = try Self.counter()
    let executable = try await backend.compile(program, options: CompileOptions())
    try await executable.write(Tensor(zeros: [64]), to: input)
    let error = await Self.error {
      try await executable.run(steps: 10)
      _ = try await executable.read(input)
    }
    guard case .deviceLost(let device, let detail) = error else {
      Issue.record("\(loss): \(String(describing: error))")
      return
    }
    #expect(device == backend.device.name && detail.contains("returned"))
    #expect(backend.context.handle.isLost)
  }

  // MARK: Measurements

  @Test func everyKernelIsTimed() async throws {
    let step = try GatedStep()
    let executable = try await DeviceUnderTest.backend.executable(step.program, options: CompileOptions())
    try await step.fill(executable)
    let seconds = try await executable.runTimed()
    #expect(seconds.count == executable.kernels.count && seconds.allSatisfy { $0 > 0 && $0 < 60 })
    #expect(executable.records.map(\.name) == executable.kernels)
    #expect(executable.records.allSatisfy { $0.operations > 0 && $0.bytes > 0 && !$0.shape.isEmpty })
    let record = KernelRecord(
      name: "matrix_multiply", family: "gemm", shape: [1, 20, 30, 40], operations: 48_000, bytes: 17_600)
    #expect(
      record.line(seconds: 1e-7) == "matrix_multiply 1x20x30x40: 0.000 ms, 480.0 GFLOP/s, 176.0 GB/s")
  }
}
