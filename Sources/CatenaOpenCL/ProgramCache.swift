import COpenCL
import CatenaCompute
import Synchronization

/// A built program; safe to make kernels from on any thread.
final class BuiltProgram: @unchecked Sendable {
  let program: cl_program
  let name: String

  fileprivate init(_ program: cl_program, name: String) {
    self.program = program
    self.name = name
  }

  deinit { clReleaseProgram(program) }
}

/// The programs of one device, each built once for its source and options.
final class ProgramCache: Sendable {
  private struct Key: Hashable, Sendable {
    var source: String
    var options: String
  }
  private let context: ContextHandle
  private let device: OpenCLDevice
  private let options: String
  private let built = Mutex<[Key: BuiltProgram]>([:])

  init(_ context: ContextHandle, device: OpenCLDevice, options: String) {
    self.context = context
    self.device = device
    self.options = options
  }

  /// The program of a kernel family. Builds run one after the other: drivers' compilers are not all safe side by side.
  func program(_ family: KernelFamily) throws(ComputeError) -> BuiltProgram {
    try program(named: family.rawValue, source: family.source)
  }

  /// The program of this source text.
  func program(named name: String, source: String) throws(ComputeError) -> BuiltProgram {
    let key = Key(source: source, options: options)
    let result: Result<BuiltProgram, ComputeError> = built.withLock { built in
      if let program = built[key] { return .success(program) }
      do throws(ComputeError) {
        let program = try build(name: name, source: source)
        built[key] = program
        return .success(program)
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  private func build(name: String, source: String) throws(ComputeError) -> BuiltProgram {
    let program = try created("clCreateProgramWithSource", device: device.name, detail: name) { code in
      source.withCString { text in
        var text: UnsafePointer<CChar>? = text
        return clCreateProgramWithSource(context.context, 1, &text, nil, code)
      }
    }
    let result = BuiltProgram(program, name: name)
    var id: cl_device_id? = device.handle.id
    let code = clBuildProgram(program, 1, &id, options, nil, nil)
    guard code == CL_SUCCESS else {
      let log = text {
        clGetProgramBuildInfo(program, device.handle.id, cl_program_build_info(CL_PROGRAM_BUILD_LOG), $0, $1, $2)
      }
      let isEmpty = log.allSatisfy(\.isWhitespace)
      throw .callFailed(
        call: "clBuildProgram", code: openCLErrorName(code), device: device.name,
        detail: "the kernels '\(name)' do not build: "
          + (isEmpty ? DeviceTraits.hintForEmptyBuildLog(platform: device.platform) : log))
    }
    return result
  }
}
