import CatenaCompute
import CatenaGraph
import CatenaProblems
import CatenaTensors
import Foundation

/// What a kernel's time is read from.
package enum KernelClock: Sendable {
  /// The device's own record of when a kernel began and ended.
  case device
  /// The time of this process on all processors: for devices of type CPU on a machine that does other work too, where a
  /// kernel that waits for its turn would seem slow. Nothing else in the process may run.
  case processor

  /// The seconds that this process has been running, of all threads together.
  static var processorSeconds: Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}

/// What a problem's slowest kernel, which is the one that does its work, reaches on a device.
package struct KernelRate: Sendable, Codable, Hashable {
  /// The problem's line.
  package var problem: String
  /// The kernel.
  package var kernel: KernelRecord
  /// The fastest of some runs.
  package var seconds: Double

  /// Billions of operations per second.
  package var gigaflops: Double { seconds > 0 ? Double(kernel.operations) / seconds * 1e-9 : 0 }
  /// Billions of bytes per second, each tensor counted once.
  package var gigabytes: Double { seconds > 0 ? Double(kernel.bytes) / seconds * 1e-9 : 0 }

  /// Measures the device of `backend`, which nothing else should use meanwhile.
  /// - Throws: `ComputeError`; `.mismatch` when the line describes no problem.
  package init(
    of line: String, on backend: OpenCLBackend, precision: Precision = .f32, runs: Int = 9,
    clock: KernelClock = .device
  ) async throws(ComputeError) {
    let (operands, graph): ([Tensor], Graph)
    let problem: Problem
    do { problem = try Problem(line) } catch { throw .mismatch("\(error)") }
    do throws(GraphError) {
      operands = try problem.tensors(.reals)
      graph = try problem.graph(weights: operands)
    } catch { throw .invalidGraph(error) }
    let executable = try await backend.executable(Program(graph), options: CompileOptions(precision: precision))
    let written = zip(problem.operands, operands).filter { !$0.0.isWeight }.map(\.1)
    for (input, tensor) in zip(graph.inputs, written) { try await executable.write(tensor, to: input) }
    var least = [Double](repeating: .infinity, count: executable.records.count)
    for _ in 0..<runs { least = zip(least, try await executable.runTimed(by: clock)).map { min($0.0, $0.1) } }
    guard let index = least.indices.max(by: { least[$0] < least[$1] }) else {
      throw .mismatch("'\(line)' runs no kernel")
    }
    self.problem = line
    kernel = executable.records[index]
    seconds = least[index]
  }
}
