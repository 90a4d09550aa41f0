import CatenaCPU
import CatenaCompute
import CatenaOpenCL
import CatenaTensors
import Foundation
import TestSupport
import Testing

@Suite(
  "Layer solvers on OpenCL", .enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? ""))
)
struct OpenCLSolverTests {
  private static func solved(
    _ test: LayerCase, _ method: PruningMethod, sparsity: Double, inputs: [Tensor]? = nil
  ) async throws -> PrunedLayer {
    try await test.solved(
      method, sparsity: sparsity, inputs: inputs ?? [test.inputs], on: OpenCLSolverBackend(DeviceUnderTest.backend))
  }

  /// The masks are the processor's, the weights as near as rounding allows.
  private static func check(_ test: LayerCase, _ method: PruningMethod, sparsity: Double) async throws {
    let found = try await solved(test, method, sparsity: sparsity)
    let expected = try await test.solved(method, sparsity: sparsity)
    let difference = test.difference(found, expected, method)
    #expect(difference == nil, "\(test.testDescription), \(method), \(sparsity)")
  }

  @Test("give the processor's masks and weights: fast")
  func fast() async throws {
    for test in LayerCase.all {
      for sparsity in [0, 0.3, 0.8] {
        try await Self.check(test, PruningMethod(.fast), sparsity: sparsity)
        try await Self.check(test, PruningMethod(.fast, isCompatible: true), sparsity: sparsity)
      }
    }
  }

  @Test("give the processor's masks and weights: exact")
  func exact() async throws {
    for test in LayerCase.all {
      for sparsity in [0, 0.3, 0.8] {
        for blocks in PruningMethod.Blocks.allCases {
          try await Self.check(test, PruningMethod(.exact(blocks)), sparsity: sparsity)
        }
      }
    }
  }

  /// More columns than one launch inverts, and than one multiplies.
  @Test(
    "give the processor's results where layers have many columns",
    arguments: [(PruningMethod(.fast), 2_060), (PruningMethod(.exact(.kernel)), 1_300)])
  func wide(_ method: PruningMethod, features: Int) async throws {
    let layer = LayerGeometry(linear: 1, features: features, tokens: 1)
    try await Self.check(LayerCase(testDescription: "wide", layer: layer, images: 40), method, sparsity: 0.5)
  }

  @Test("are refused where kernels cannot index the columns' products")
  func indices() async throws {
    let layer = LayerGeometry(linear: 1, features: 46_400, tokens: 1)
    let error = await #expect(throws: ComputeError.self) {
      _ = try await OpenCLSolverBackend(DeviceUnderTest.backend).makeSolver(
        for: layer, method: PruningMethod(.fast), images: 1)
    }
    #expect(error?.description.contains("46400 columns") == true)
  }

  /// Kernels in the shapes that suit GPUs, wherever the tests run.
  @Test("give the processor's masks and weights in the shapes for GPUs")
  func graphicsShaped() async throws {
    let context = try OpenCLContext(
      DeviceUnderTest.backend.context.device, traits: KernelTraits(DeviceTraits(kind: .gpu)))
    let backend = OpenCLSolverBackend(OpenCLBackend(context: context))
    for test in LayerCase.all {
      for method in [PruningMethod(.fast), PruningMethod(.exact(.kernel))] where backend.refusal(of: method) == nil {
        let found = try await test.solved(method, sparsity: 0.6, inputs: test.parts, on: backend)
        let expected = try await test.solved(method, sparsity: 0.6)
        let difference = test.difference(found, expected, method)
        #expect(difference == nil, "\(test.testDescription), \(method)")
      }
    }
  }

  /// More columns than one block of the factorisation and than one late block of the sweep; columns without input, which
  /// are left out; fewer samples than features, which needs damping; numbers that are none.
  @Test("give the processor's results where layers are large or singular")
  func special() async throws {
    let large = LayerCase.convolution(
      "large", channels: 26, rows: 24, kernel: [3, 3], source: [9, 9], pads: [1, 1])
    let singular = LayerCase(
      testDescription: "", layer: LayerGeometry(linear: 5, features: 20, tokens: 1), images: 4)
    var values = singular.inputs.floats
    for image in 0..<4 { values[image * 20 + 3] = 0 }
    let inputs = Tensor(values, shape: singular.inputs.shape)
    for method in [PruningMethod(.fast), PruningMethod(.exact(.kernel))] {
      try await Self.check(large, method, sparsity: 0.6)
      let found = try await Self.solved(singular, method, sparsity: 0.5, inputs: [inputs])
      let expected = try await singular.solved(method, sparsity: 0.5, inputs: inputs)
      #expect(found.deadColumns == 1 && expected.deadColumns == 1)
      #expect(found.damping == expected.damping && found.wasDampedFurther == expected.wasDampedFurther)
      #expect((0..<5).allSatisfy { found.weights.floats[$0 * 20 + 3] == 0 })
      #expect(found.weights.floats.allSatisfy { $0.isFinite })
    }
    values[5] = .nan
    let broken = Tensor(values, shape: singular.inputs.shape)
    await #expect(throws: ComputeError.self) {
      try await Self.solved(singular, PruningMethod(.fast), sparsity: 0.5, inputs: [broken])
    }
  }

  @Test("refuse what the device does not have, or leave it to another")
  func refusals() async throws {
    let test = LayerCase.all[0]
    let method = PruningMethod(.exact(.tap), isCompatible: true)
    await #expect(throws: ComputeError.self) { try await Self.solved(test, method, sparsity: 0.5) }
    let backend = OpenCLSolverBackend(try DeviceUnderTest.backend, substitute: CPUSolverBackend())
    let solver = try await backend.makeSolver(for: test.layer, method: method, images: test.images)
    try await solver.add(test.inputs)
    let found = try await solver.solve(test.weights, sparsity: 0.5).weights
    #expect(found.isBitIdentical(to: try await test.solved(method, sparsity: 0.5).weights))
  }
}
