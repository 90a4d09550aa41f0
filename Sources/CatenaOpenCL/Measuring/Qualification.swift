import CatenaCompute
import CatenaGraph
import CatenaProblems
import CatenaReference
import CatenaTensors
import Foundation

/// What a device must show before its results and its speed are believed: its features, every problem of the shared
/// tables against another back end, and rates as parts of the device's own limits.
package struct Qualification: Sendable, Codable {
  /// What the file is.
  package var format = "catena-qualification"
  /// The form's version.
  package var formatVersion = "1.0"
  /// The device.
  package var device: DeviceDescription
  /// The instruction set that the driver tells, where it does.
  package var architecture: String
  /// Bytes of local memory of a work-group.
  package var localMemory: Int
  /// What the results were compared with.
  package var comparedWith: DeviceDescription
  /// The build options of each family that was tuned.
  package var tuned: [String: String]
  /// What to know besides.
  package var remarks: [String]
  /// Features beyond OpenCL 1.2.
  package var features: [DeviceFeature.Finding] = []
  /// What was found out about the builds for tensor cores.
  package var tensorCores: [TensorVerdict] = []
  /// Correctness, family by family.
  package var families: [FamilyResult] = []
  /// Kernels of the programs that no problem ran.
  package var kernelsNotRun: [String] = []
  /// The device's own limits.
  package var limits: DeviceLimits?
  /// Rates.
  package var rates: [RateResult] = []

  /// Whether every problem's results were right.
  package var isCorrect: Bool { families.allSatisfy(\.failures.isEmpty) }

  /// The errors of a family's problems. An error is the distance from the other back end's number, relative to the
  /// largest magnitude in the same output.
  package struct FamilyResult: Sendable, Codable, Hashable {
    /// The family.
    package var family: String
    /// Problems that ran, each on fractions and on integers.
    package var problems = 0
    /// Numbers that were compared.
    package var numbers = 0
    /// The errors below which 50, 99 and 99.9 per cent of the numbers lie, and the largest.
    package var percentile50 = 0.0
    package var percentile99 = 0.0
    package var percentile999 = 0.0
    package var largest = 0.0
    /// The line of every problem that failed, with what was wrong.
    package var failures: [String] = []
  }

  /// A kernel's speed.
  package struct RateResult: Sendable, Codable, Hashable {
    /// The measurement.
    package var rate: KernelRate
    /// The precision of products that was allowed.
    package var precision: Precision
    /// The part of the rate that the device's limits allow.
    package var shareOfLimit: Double
  }
}

extension Qualification {
  /// Examines the device of `backend`.
  /// - Parameters:
  ///   - reference: what results are compared with.
  ///   - families: the tables that run.
  ///   - measuresSpeed: whether rates are measured too.
  ///   - progress: told what comes next.
  /// - Throws: `ComputeError.deviceLost`, `.cancelled`, and what goes wrong before anything can be said.
  package init(
    of backend: OpenCLBackend, against reference: any Backend, families: [ProblemFamily] = ProblemFamily.allCases,
    measuresSpeed: Bool = true, progress: (String) -> Void = { _ in }
  ) async throws(ComputeError) {
    let context = backend.context
    device = backend.device
    architecture = context.device.architecture
    localMemory = context.device.localMemory
    comparedWith = reference.device
    tuned = [:]
    for (family, traits) in context.traits.tuned { tuned[family.rawValue] = traits.buildOptions }
    remarks = context.remarks
    progress("features")
    for feature in DeviceFeature.allCases { features.append(try feature.examine(on: context)) }
    if context.traits.device.hasTensorPTX {
      for family in KernelFamily.allCases where family.tile != nil {
        tensorCores.append(context.tensorCores.verdict(family, in: context))
      }
    }
    var kernelsRun: Set<String> = []
    for family in families {
      progress("correctness: \(family.rawValue)")
      try await self.families.append(Self.result(family, backend, reference, &kernelsRun))
    }
    for family in KernelFamily.allCases where family.runsGraphs {
      let names = try context.program(family).kernelNames
      kernelsNotRun += names.filter { !kernelsRun.contains($0) }
    }
    if measuresSpeed { try await measureSpeed(of: backend, progress: progress) }
  }

  // MARK: Correctness

  private static func result(
    _ family: ProblemFamily, _ backend: OpenCLBackend, _ reference: any Backend, _ kernels: inout Set<String>
  ) async throws(ComputeError) -> FamilyResult {
    var result = FamilyResult(family: family.rawValue)
    var errors: [Double] = []
    let list: [Problem]
    do { list = try problems(for: family) } catch { throw .mismatch("\(error)") }
    for problem in list {
      if Task.isCancelled { throw .cancelled }
      result.problems += 1
      for data in ProblemData.allCases {
        // Weights are constants in networks, and prepared by kernels of their own.
        for weightsAreConstant in problem.operands.contains(where: \.isWeight) ? [true, false] : [false] {
          let trial = Trial(problem: problem, data: data, weightsAreConstant: weightsAreConstant)
          do throws(ComputeError) {
            let found = try await trial.errors(of: backend, reference, &kernels)
            errors += found
            if let worst = found.max(), !(worst <= trial.bound) {
              result.failures.append("\(trial): off by \(worst) of the largest result")
            }
          } catch {
            switch error {
            case .deviceLost, .cancelled: throw error
            default: result.failures.append("\(trial): \(error)")
            }
          }
        }
      }
    }
    errors.sort()
    func percentile(_ part: Double) -> Double {
      errors.isEmpty ? 0 : errors[min(errors.count - 1, Int(Double(errors.count) * part))]
    }
    result.numbers = errors.count
    (result.percentile50, result.percentile99) = (percentile(0.5), percentile(0.99))
    (result.percentile999, result.largest) = (percentile(0.999), errors.last ?? 0)
    return result
  }

}

/// One problem with one kind of data.
private struct Trial: CustomStringConvertible {
  var problem: Problem
  var data: ProblemData
  var weightsAreConstant: Bool

  var description: String { "\(problem) (\(data.rawValue)\(weightsAreConstant ? ", constant weights" : ""))" }

  /// How far results may be off, relative to the largest.
  var bound: Double { data == .integers && problem.isExactOnIntegers ? 0 : problemTolerance }

  /// The error of every number of the results; infinite where one is not finite and should be.
  func errors(
    of backend: OpenCLBackend, _ reference: any Backend, _ kernels: inout Set<String>
  ) async throws(ComputeError) -> [Double] {
    let (operands, graph): ([Tensor], Graph)
    do throws(GraphError) {
      operands = try problem.tensors(data)
      graph = try problem.graph(weights: weightsAreConstant ? operands : nil)
    } catch { throw .invalidGraph(error) }
    let written = zip(problem.operands, operands).filter { !($0.0.isWeight && weightsAreConstant) }.map(\.1)
    let tested = try await backend.executable(Program(graph), options: CompileOptions())
    kernels.formUnion(tested.kernels + tested.preparationKernels)
    let found = try await Self.results(of: tested, graph, written)
    let expected: [Tensor]
    if bound == 0 {
      // The CPU's fast convolutions multiply by fractions, which no sum of integers survives exactly.
      do throws(GraphError) { expected = try Reference.evaluate(problem.operation, operands) } catch {
        throw .invalidGraph(error)
      }
    } else {
      let executable = try await reference.compile(Program(graph), options: CompileOptions())
      expected = try await Self.results(of: executable, graph, written)
    }
    return zip(found, expected).flatMap { Self.errors($0.0.doubles, $0.1.doubles) }
  }

  private static func results(
    of executable: any Executable, _ graph: Graph, _ inputs: [Tensor]
  ) async throws(ComputeError) -> [Tensor] {
    for (input, tensor) in zip(graph.inputs, inputs) { try await executable.write(tensor, to: input) }
    try await executable.run(steps: 1)
    var tensors: [Tensor] = []
    for output in graph.outputs { tensors.append(try await executable.read(output)) }
    return tensors
  }

  static func errors(_ found: [Double], _ expected: [Double]) -> [Double] {
    let magnitude = expected.lazy.filter(\.isFinite).map(abs).max() ?? 0
    return zip(found, expected).map { found, expected in
      if found == expected || found.isNaN && expected.isNaN { return 0 }
      let distance = abs(found - expected)
      return distance.isFinite && magnitude > 0 ? distance / magnitude : .infinity
    }
  }

}

// MARK: Speed

extension Qualification {
  private mutating func measureSpeed(
    of backend: OpenCLBackend, progress: (String) -> Void
  ) async throws(ComputeError) {
    progress("limits")
    let limits = try DeviceLimits.measured(on: backend.context)
    self.limits = limits
    let isLarge = backend.context.device.kind != .cpu
    let products =
      [RateProblems.largestProduct(isLargeDevice: isLarge)] + RateProblems.products(images: isLarge ? 20 : 4)
    let others = [RateProblems.copy(isLargeDevice: isLarge)] + RateProblems.memoryBound
    let precisions: [Precision] = backend.context.traits.device.hasTensorPTX ? [.f32, .tf32, .bf16] : [.f32]
    let runs = precisions.flatMap { precision in products.map { ($0, precision) } } + others.map { ($0, Precision.f32) }
    for (line, precision) in runs {
      if Task.isCancelled { throw .cancelled }
      progress("speed: \(line)")
      do throws(ComputeError) {
        let rate = try await KernelRate(of: line, on: backend, precision: precision)
        rates.append(
          RateResult(rate: rate, precision: precision, shareOfLimit: limits.seconds(rate.kernel) / rate.seconds))
      } catch {
        if case .deviceLost = error { throw error }
        remarks.append("\(line): \(error)")
      }
    }
  }
}
