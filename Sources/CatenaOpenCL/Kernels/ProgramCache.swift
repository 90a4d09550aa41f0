import COpenCL
import CatenaCompute
import Foundation
import Synchronization

/// A built program; safe to make kernels from on any thread.
package final class BuiltProgram: @unchecked Sendable {
  let program: cl_program
  package let name: String

  fileprivate init(_ program: cl_program, name: String) {
    self.program = program
    self.name = name
  }

  deinit { clReleaseProgram(program) }

  /// The names of its kernels.
  package var kernelNames: [String] {
    text { clGetProgramInfo(program, cl_program_info(CL_PROGRAM_KERNEL_NAMES), $0, $1, $2) }
      .split(separator: ";").map(String.init)
  }
}

/// The programs of one device, each built once for its source and options, in this process and (with a store) in all.
package final class ProgramCache: Sendable {
  private struct Key: Hashable, Sendable {
    var source: String
    var options: String
  }
  /// How the programs came about.
  package struct Statistics: Sendable, Hashable {
    /// Compiled from source.
    package var built = 0
    /// Taken from the store.
    package var loaded = 0
  }
  private struct State: Sendable {
    var programs: [Key: BuiltProgram] = [:]
    var statistics = Statistics()
  }
  private let context: ContextHandle
  private let device: OpenCLDevice
  let store: ProgramStore?
  private let state = Mutex(State())

  init(_ context: ContextHandle, device: OpenCLDevice, store: ProgramStore?) {
    self.context = context
    self.device = device
    self.store = store
  }

  /// How the programs came about so far.
  package var statistics: Statistics { state.withLock { $0.statistics } }

  /// The program of this source text. Builds run one after the other: drivers' compilers are not all safe side by side.
  package func program(named name: String, source: String, options: String) throws(ComputeError) -> BuiltProgram {
    let key = Key(source: source, options: options)
    let result: Result<BuiltProgram, ComputeError> = state.withLock { state in
      if let program = state.programs[key] { return .success(program) }
      do throws(ComputeError) {
        let program = try make(name: name, key, &state.statistics)
        state.programs[key] = program
        return .success(program)
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  private func make(name: String, _ key: Key, _ statistics: inout Statistics) throws(ComputeError) -> BuiltProgram {
    let stored = ProgramStore.Key(device: device.identity, options: key.options, source: key.source)
    if let store, let binary = store.load(stored) {
      if let program = load(binary, name: name, options: key.options) {
        statistics.loaded += 1
        return program
      }
      store.remove(stored)
    }
    let program = try build(name: name, key)
    statistics.built += 1
    if let store, let binary = context.driver.programBinary(program.program) { store.save(binary, stored) }
    return program
  }

  // MARK: From source

  private func build(name: String, _ key: Key) throws(ComputeError) -> BuiltProgram {
    let program = try created("clCreateProgramWithSource", device: device.name, detail: name) { code in
      key.source.withCString { text in
        var text: UnsafePointer<CChar>? = text
        return clCreateProgramWithSource(context.context, 1, &text, nil, code)
      }
    }
    let result = BuiltProgram(program, name: name)
    let code = context.driver.buildProgram(program, device.handle.id, key.options)
    guard code == CL_SUCCESS else {
      let log = context.driver.buildLog(program, device.handle.id)
      let isEmpty = log.allSatisfy { $0.isWhitespace || $0 == "\0" }
      throw .callFailed(
        call: "clBuildProgram", code: openCLErrorName(code), device: device.name,
        detail: "the kernels '\(name)' do not build: "
          + (isEmpty ? DeviceTraits.hintForEmptyBuildLog(platform: device.platform) : log))
    }
    return result
  }

  // MARK: From a binary

  /// The program of a binary, unless the driver refuses it: another version of it may have the same name.
  private func load(_ binary: [UInt8], name: String, options: String) -> BuiltProgram? {
    var id: cl_device_id? = device.handle.id
    var (code, status): (cl_int, cl_int) = (CL_SUCCESS, CL_SUCCESS)
    let program = binary.withUnsafeBufferPointer { bytes in
      var length = bytes.count
      var start = bytes.baseAddress
      return clCreateProgramWithBinary(context.context, 1, &id, &length, &start, &status, &code)
    }
    guard let program else { return nil }
    let result = BuiltProgram(program, name: name)
    guard code == CL_SUCCESS, status == CL_SUCCESS,
      context.driver.buildProgram(program, device.handle.id, options) == CL_SUCCESS
    else { return nil }
    return result
  }
}
