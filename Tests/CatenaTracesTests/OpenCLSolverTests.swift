import CatenaCPU
import CatenaCompute
import CatenaOpenCL
import CatenaTensors
import Foundation
import TestSupport
import Testing

/// The device that CATENA_OPENCL_DEVICE numbers, else the best GPU, else the first usable one.
private let device: Result<OpenCLBackend, ComputeError> = {
  do throws(ComputeError) {
    let usable = OpenCLDevices.all.filter { $0.problem == nil }
    let named = ProcessInfo.processInfo.environment["CATENA_OPENCL_DEVICE"].flatMap { Int($0) }
    guard let index = named ?? (usable.first { $0.kind == .gpu } ?? usable.first)?.index else {
      throw .noDevice(reason: OpenCLDevices.reasonForNone ?? "none can be used")
    }
    return .success(try OpenCLBackend(deviceAt: index))
  } catch { return .failure(error) }
}()

private var problem: String? {
  if case .failure(let error) = device { "skipped: \(error)" } else { nil }
}

@Suite("Layer solvers on OpenCL", .serialized, .enabled(if: problem == nil, Comment(rawValue: problem ?? "")))
struct OpenCLSolverTests {
  private func solved(
    _ test: LayerCase, _ method: PruningMethod, sparsity: Double, inputs: [Tensor]? = nil
  ) async throws -> PrunedLayer {
    let solver = try await OpenCLSolverBackend(device.get()).makeSolver(
      for: test.layer, method: method, images: test.images)
    for part in inputs ?? [test.inputs] { try await solver.add(part) }
    return try await solver.solve(test.weights, sparsity: sparsity)
  }

  /// The masks are the processor's, the weights as near as rounding allows.
  private func check(_ found: PrunedLayer, _ expected: PrunedLayer) {
    let (values, wanted) = (found.weights.floats, expected.weights.floats)
    #expect(zip(values, wanted).allSatisfy { ($0 == 0) == ($1 == 0) }, "the masks differ")
    let scale = wanted.map(abs).max() ?? 1
    #expect(zip(values, wanted).allSatisfy { abs($0 - $1) <= 1e-4 * scale })
    #expect(abs(found.loss - expected.loss) <= 1e-3 * max(expected.loss, 1e-6))
    #expect(found.damping == expected.damping && found.wasDampedFurther == expected.wasDampedFurther)
    #expect(found.deadColumns == expected.deadColumns)
  }

  @Test("give the processor's masks and weights: fast", arguments: LayerCase.all, [0, 0.3, 0.8])
  func fast(test: LayerCase, sparsity: Double) async throws {
    for isCompatible in [false, true] {
      let method = PruningMethod(.fast, isCompatible: isCompatible)
      check(
        try await solved(test, method, sparsity: sparsity), try await test.solved(method, sparsity: sparsity))
    }
  }

  @Test("give the processor's masks and weights: exact", arguments: LayerCase.all, [0, 0.3, 0.8])
  func exact(test: LayerCase, sparsity: Double) async throws {
    for blocks in PruningMethod.Blocks.allCases {
      let method = PruningMethod(.exact(blocks))
      check(
        try await solved(test, method, sparsity: sparsity), try await test.solved(method, sparsity: sparsity))
    }
  }

  /// More columns than one block of the factorisation and than one late block of the sweep.
  @Test("give the processor's results on a larger layer")
  func larger() async throws {
    let test = LayerCase.convolution(
      "3x3", channels: 26, rows: 24, kernel: [3, 3], source: [9, 9], pads: [1, 1])
    for method in [PruningMethod(.fast), PruningMethod(.exact(.kernel))] {
      check(try await solved(test, method, sparsity: 0.6), try await test.solved(method, sparsity: 0.6))
    }
  }

  @Test("leave out columns without input, and damp what cannot be factorised")
  func singular() async throws {
    let test = LayerCase(testDescription: "", layer: LayerGeometry(linear: 5, features: 20, tokens: 1), images: 4)
    var values = test.inputs.floats
    for image in 0..<4 { values[image * 20 + 3] = 0 }
    let inputs = Tensor(values, shape: test.inputs.shape)
    for method in [PruningMethod(.fast), PruningMethod(.exact(.kernel))] {
      let found = try await solved(test, method, sparsity: 0.5, inputs: [inputs])
      let expected = try await test.solved(method, sparsity: 0.5, inputs: inputs)
      #expect(found.deadColumns == 1 && expected.deadColumns == 1)
      #expect(found.damping == expected.damping && found.wasDampedFurther == expected.wasDampedFurther)
      #expect((0..<5).allSatisfy { found.weights.floats[$0 * 20 + 3] == 0 })
      #expect(found.weights.floats.allSatisfy { $0.isFinite })
    }
  }

  @Test("refuse what the device does not have, and numbers that are none")
  func refusals() async throws {
    let test = LayerCase.all[0]
    await #expect(throws: ComputeError.self) {
      try await solved(test, PruningMethod(.exact(.tap), isCompatible: true), sparsity: 0.5)
    }
    var values = test.inputs.floats
    values[5] = .nan
    let inputs = Tensor(values, shape: test.inputs.shape)
    await #expect(throws: ComputeError.self) {
      try await solved(test, PruningMethod(.fast), sparsity: 0.5, inputs: [inputs])
    }
  }
}
