import COneDNN
import CatenaCompute
import CatenaTensors

/// What a buffer is for.
enum BufferKind {
  /// Filled once when the program is made.
  case constant((UnsafeMutableRawPointer) throws(ComputeError) -> Void)
  /// Lives as long as the program: inputs, outputs, carried values.
  case persistent
  /// Lives from its first write to its last read.
  case intermediate
}

/// A buffer that a step writes and one that it reads, of which the first may take the second's place.
struct Takeover {
  var output: BufferID
  var input: BufferID
}

/// Kernels planned for one node or several fused ones.
struct PlannedStep {
  var record: KernelRecord
  var reads: [BufferID]
  var writes: [BufferID]
  var scratch = 0
  var takeovers: [Takeover] = []
  /// Whether this is where the blocks of samples run.
  var isSection = false
  /// Adds the kernels to the program once all addresses are known.
  var bind: (Binder) throws(ComputeError) -> Void
}

/// The addresses of a program's memory, while kernels are bound to them.
struct Binder {
  let program: OpaquePointer
  let addresses: [UnsafeMutableRawPointer]
  let scratch: UnsafeMutableRawPointer
  let threads: Int

  /// Where a view's first element lies.
  func pointer(_ view: View) -> UnsafeMutableRawPointer {
    addresses[view.buffer.index] + view.offset * view.storage.byteCount
  }

  func floats(_ view: View) -> UnsafeMutablePointer<Float> { pointer(view).assumingMemoryBound(to: Float.self) }
}

/// Everything known about a program before its memory exists.
struct Plan {
  var buffers: [(bytes: Int, kind: BufferKind)] = []
  var steps: [PlannedStep] = []
  /// Results that lie where a carried input does.
  var aliases: [BufferID: BufferID] = [:]

  mutating func addBuffer(bytes: Int, _ kind: BufferKind) -> BufferID {
    buffers.append((bytes, kind))
    return BufferID(index: buffers.count - 1)
  }
}

extension Plan {
  /// Brings all constants into their places.
  func fillConstants(_ addresses: [UnsafeMutableRawPointer]) throws(ComputeError) {
    for (index, buffer) in buffers.enumerated() {
      if case .constant(let fill) = buffer.kind { try fill(addresses[index]) }
    }
  }
}

extension catena_status {
  /// Throws when the call failed.
  func check(device: String) throws(ComputeError) {
    guard let call else { return }
    throw .callFailed(
      call: String(cString: call), code: String(cString: catena_status_name(code)), device: device, detail: "")
  }
}

/// The device's name in errors.
let deviceName = "cpu"
