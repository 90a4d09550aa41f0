import CatenaCompute
import CatenaGraph
import CatenaTensors
import Foundation
import Synchronization

/// What was found out about one build for tensor cores.
package struct TensorVerdict: Sendable, Hashable, Codable {
  /// The build.
  package var family: String
  /// Whether it was built and agreed with the plain kernel.
  package var can: Bool
  /// Whether it was faster than the plain kernel as well.
  package var should: Bool
  /// The largest difference from the plain kernel, relative to the largest result; `nil` when it never ran.
  package var error: Double?
  /// How many times faster it was; `nil` when it was not timed.
  package var speedup: Double?
  /// Why not.
  package var reason: String

  /// The verdict in one line.
  package func remark(_ precision: Precision) -> String {
    let kernels = "the kernels '\(family)' for \(precision) on tensor cores are"
    guard should else { return "\(kernels) not used: \(reason.prefix { $0 != "\n" })" }
    return kernels + " used" + (speedup.map { String(format: ", %.1f times as fast as the plain ones", $0) } ?? "")
  }
}

/// Finds out, once per context, which builds for tensor cores can be used and which should be.
package final class TensorCores: Sendable {
  private let verdicts = Mutex<[KernelFamily: TensorVerdict]>([:])

  /// The builds for products in `precision` that can and should be used on `context`; to be called where its device may
  /// be waited for.
  func policy(for precision: Precision, in context: OpenCLContext) -> TensorPolicy {
    guard precision != .f32, context.traits.device.hasTensorPTX else { return .none }
    let families = KernelFamily.allCases.filter { $0.tile?.precision == precision }
    return TensorPolicy(
      families: families.filter { verdict($0, in: context).should }, leastGroups: context.device.computeUnits)
  }

  /// What a user is to know of products that may be computed in `precision`, a line each.
  func remarks(for precision: Precision, in context: OpenCLContext) -> [String] {
    guard precision != .f32 else { return [] }
    guard context.traits.device.hasTensorPTX else {
      return ["products are computed in f32, not in \(precision): no tensor cores of this device are known"]
    }
    return KernelFamily.allCases.filter { $0.tile?.precision == precision }
      .map { verdict($0, in: context).remark(precision) }
  }

  /// What is known of a build; found out when first asked for.
  package func verdict(_ family: KernelFamily, in context: OpenCLContext) -> TensorVerdict {
    if let known = verdicts.withLock({ $0[family] }) { return known }
    let found = Self.examine(family, in: context)
    verdicts.withLock { $0[family] = found }
    return found
  }

  private static func examine(_ family: KernelFamily, in context: OpenCLContext) -> TensorVerdict {
    var verdict = TensorVerdict(family: family.rawValue, can: false, should: false, reason: "")
    guard let tile = family.tile else {
      verdict.reason = "it is no build for tensor cores"
      return verdict
    }
    guard tile.localMemory <= context.device.localMemory else {
      verdict.reason = "it needs \(tile.localMemory) bytes of local memory, there are \(context.device.localMemory)"
      return verdict
    }
    do throws(ComputeError) {
      // A kernel that breaks off takes its context with it: the plain kernels must go on in this one.
      let context = try OpenCLContext(apartFrom: context)
      // Odd extents: rows, columns and depth that end in the middle of tiles, fragments and chunks.
      let small = try Trial(samples: 2, inputs: 20, height: 9, width: 11, outputs: 37, in: context)
      let error = try small.difference(family)
      verdict.error = error
      verdict.can = error <= tolerance(tile.precision)
      guard verdict.can else {
        verdict.reason = "it differs from the plain kernel by \(error) of the largest result"
        return verdict
      }
      let large = try Trial(samples: 64, inputs: 128, height: 28, width: 28, outputs: 128, in: context)
      let (plain, fast) = (try large.seconds(.none), try large.seconds(Trial.only(family)))
      verdict.speedup = plain / fast
      verdict.should = fast < plain
      if !verdict.should { verdict.reason = "the plain kernel is as fast" }
    } catch {
      verdict.reason = error.description
    }
    return verdict
  }

  /// How far results may be off, relative to the largest: both factors are rounded, errors of a sum partly cancel.
  package static func tolerance(_ precision: Precision) -> Double {
    switch precision {
    case .f32: 1e-5
    case .tf32: 0x1p-10
    case .bf16: 0x1p-7
    }
  }
}

/// A convolution with random data, to compare kernels with each other.
private struct Trial {
  private let program: Program
  private let input: ValueID
  private let samples: Tensor
  private let context: OpenCLContext

  init(
    samples: Int, inputs: Int, height: Int, width: Int, outputs: Int, in context: OpenCLContext
  ) throws(ComputeError) {
    self.context = context
    var generator = SeededGenerator(seed: 1)
    func random(_ shape: Shape) -> Tensor {
      Tensor((0..<shape.elementCount).map { _ in Float(2 * generator.uniform() - 1) }, shape: shape)
    }
    var graph = Graph()
    input = graph.addInput("x", TensorType(.float32, [samples, inputs, height, width]))
    let weight = graph.addConstant("w", random([outputs, inputs, 3, 3]))
    let bias = graph.addConstant("b", random([outputs]))
    let convolution = Convolution(strides: [1, 1], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1])
    do throws(GraphError) {
      graph.outputs = [try graph.add(.convolution(convolution), input, weight, bias)]
    } catch { throw .invalidGraph(error) }
    program = Program(graph)
    self.samples = random(graph.shape(input))
  }

  static func only(_ family: KernelFamily) -> TensorPolicy { TensorPolicy(families: [family], leastGroups: 1) }

  private func prepared(_ policy: TensorPolicy) throws(ComputeError) -> PreparedProgram {
    let lowered = Lowering.lower(program, traits: context.traits, tensorPolicy: policy)
    let prepared = try PreparedProgram(lowered, in: context, memoryLimit: nil)
    guard let location = prepared.location(ofInput: input) else { preconditionFailure("the input was lowered") }
    try prepared.write(samples, to: location)
    return prepared
  }

  private func result(_ policy: TensorPolicy) throws(ComputeError) -> [Float] {
    let prepared = try prepared(policy)
    _ = try prepared.run(steps: 1) { false }
    let output = program.graph.outputs[0]
    guard let location = prepared.location(ofReadable: output) else { preconditionFailure("the output was lowered") }
    return try prepared.read(program.graph.shape(output), from: location).floats
  }

  /// The largest difference of the build from the plain kernel, relative to the largest result.
  func difference(_ family: KernelFamily) throws(ComputeError) -> Double {
    let (found, expected) = (try result(Self.only(family)), try result(.none))
    var (difference, largest) = (0.0, 0.0)
    for (found, expected) in zip(found, expected) {
      guard found.isFinite else { return .infinity }
      difference = max(difference, Double(abs(found - expected)))
      largest = max(largest, Double(abs(expected)))
    }
    return difference / largest
  }

  /// The fastest of some runs: what else the device does only slows down.
  func seconds(_ policy: TensorPolicy) throws(ComputeError) -> Double {
    let prepared = try prepared(policy)
    var best = Double.infinity
    for _ in 0..<4 {
      let times = try prepared.runTimed()
      let product = zip(prepared.records, times).filter { $0.0.name.contains("convolution") }
      best = min(best, product.reduce(0) { $0 + $1.1 })
    }
    return best
  }
}
