import Foundation

/// What one launch of a step does, for measurements.
package struct KernelRecord: Sendable, Hashable, Codable {
  /// The kernel's name.
  package var name: String
  /// The family of kernels that it is built with.
  package var family: String
  /// The extents that it works on.
  package var shape: [Int]
  /// Floating-point operations of products; elements written, for other kernels.
  package var operations: Int
  /// Bytes of all tensors that it reads and writes, each once.
  package var bytes: Int

  /// A record.
  package init(name: String, family: String, shape: [Int], operations: Int, bytes: Int) {
    self.name = name
    self.family = family
    self.shape = shape
    self.operations = operations
    self.bytes = bytes
  }

  /// One line: name, shape, time, rates.
  package func line(seconds: Double) -> String {
    let rates = [Double(operations), Double(bytes)].map { seconds > 0 ? $0 / seconds * 1e-9 : 0 }
    let extents = shape.map(String.init).joined(separator: "x")
    return String(
      format: "%@ %@: %.3f ms, %.1f GFLOP/s, %.1f GB/s", name, extents, seconds * 1e3, rates[0], rates[1])
  }
}

extension KernelRecord {
  /// The record of a launch among its program's slots.
  init(_ launch: Launch, in program: LoweredProgram) {
    let written = launch.writes.map { program.slots[$0.index].elementCount }
    name = launch.kernel
    family = launch.family.rawValue
    shape = launch.shape.isEmpty ? Array(written.prefix(1)) : launch.shape
    operations = launch.operations ?? written.reduce(0, +)
    bytes = Set(launch.reads + launch.writes).reduce(0) { $0 + program.slots[$1.index].byteCount }
  }
}
