import CatenaCPU
import CatenaCompute
import CatenaTensors
import TestSupport
import Testing

extension LayerCase: CustomTestStringConvertible {
  func solved(
    _ method: PruningMethod, sparsity: Double, threads: Int = 2, inputs: Tensor? = nil
  ) async throws -> PrunedLayer {
    try await solved(
      method, sparsity: sparsity, inputs: [inputs ?? self.inputs], on: CPUSolverBackend(threads: threads))
  }
}

@Suite("Layer solvers on the CPU")
struct LayerSolverTests {
  @Test("solve as the formulas say, one weight at a time: fast", arguments: LayerCase.all, [0.3, 0.8])
  func fast(test: LayerCase, sparsity: Double) async throws {
    let literal = LiteralSolver(test.layer, test.inputs).fast(test.weights, sparsity: sparsity)
    check(try await test.solved(PruningMethod(.fast), sparsity: sparsity), literal)
  }

  @Test("solve as the formulas say, one weight at a time: exact", arguments: LayerCase.all, [0.3, 0.8])
  func exact(test: LayerCase, sparsity: Double) async throws {
    let literal = LiteralSolver(test.layer, test.inputs).exact(test.weights, sparsity: sparsity)
    let solved = try await test.solved(PruningMethod(.exact(.kernel)), sparsity: sparsity)
    #expect(solved.damping == 0)
    check(solved, literal)
  }

  @Test("cut the published blocks", arguments: [0.4, 0.9])
  func taps(sparsity: Double) async throws {
    let test = LayerCase.all[0]
    let literal = LiteralSolver(test.layer, test.inputs).exact(test.weights, sparsity: sparsity, blocks: .tap)
    check(try await test.solved(PruningMethod(.exact(.tap)), sparsity: sparsity), literal)
  }

  @Test(
    "remove single weights where that is asked for",
    arguments: LayerCase.all.filter { $0.layer.columns <= 60 } + [LayerCase.manyColumns])
  func singleWeights(test: LayerCase) async throws {
    let literal = LiteralSolver(test.layer, test.inputs).exact(test.weights, sparsity: 0.6, blocks: .weight)
    check(try await test.solved(PruningMethod(.exact(.weight)), sparsity: 0.6), literal)
  }

  private func check(_ solved: PrunedLayer, _ literal: [[Double]]) {
    let values = solved.weights.floats
    let expected = literal.flatMap { $0 }
    let scale = expected.map(abs).max() ?? 1
    #expect(zip(values, expected).allSatisfy { ($0 == 0) == ($1 == 0) }, "the masks differ")
    let error = zip(values, expected).map { abs(Double($0) - $1) }.max() ?? 0
    #expect(error <= 1e-4 * scale)
  }

  @Test("remove exactly floor(R b s) of each group of columns")
  func counts() async throws {
    let test = LayerCase.all[0]
    let weights = try await test.solved(PruningMethod(.fast), sparsity: 0.35).weights.floats
    let (rows, columns, taps) = (test.layer.rows, test.layer.columns, test.layer.taps)
    for group in 0..<test.layer.channels {
      let zeros = (0..<rows * taps).filter { weights[$0 / taps * columns + group * taps + $0 % taps] == 0 }
      #expect(zeros.count == Int(Double(rows * taps) * 0.35))
    }
  }

  @Test(
    "exact loses no more than fast where single weights go, at equal count on the undamped objective",
    arguments: LayerCase.all.filter { $0.layer.groups == 1 }, [0.25, 0.5, 0.75])
  func exactIsBetter(test: LayerCase, sparsity: Double) async throws {
    let literal = LiteralSolver(test.layer, test.inputs)
    let fast = try await test.solved(PruningMethod(.fast), sparsity: sparsity).weights
    let removed = fast.floats.filter { $0 == 0 }.count
    let exact = try await test.solved(
      PruningMethod(.exact(.weight)), sparsity: Double(removed) / Double(fast.elementCount))
    #expect(exact.weights.floats.filter { $0 == 0 }.count == removed)
    let losses = (literal.objective(test.weights, fast), literal.objective(test.weights, exact.weights))
    Measured.report("\(test.testDescription) \(sparsity): fast \(losses.0), exact \(losses.1)")
    #expect(losses.1 <= losses.0)
    #expect(abs(exact.loss - losses.1) <= 1e-5 * losses.1)
  }

  @Test("give the same bits again, and the same answer with another number of threads", arguments: LayerCase.all)
  func repeatable(test: LayerCase) async throws {
    for method in [PruningMethod(.fast), PruningMethod(.exact(.kernel))] {
      let first = try await test.solved(method, sparsity: 0.5).weights
      let again = try await test.solved(method, sparsity: 0.5).weights
      #expect(first.isBitIdentical(to: again))
      let single = try await test.solved(method, sparsity: 0.5, threads: 1).weights
      #expect(zip(first.floats, single.floats).allSatisfy { ($0 == 0) == ($1 == 0) && abs($0 - $1) < 1e-4 })
    }
  }

  @Test("remember what they eliminated for another ratio, but not for other weights or inputs")
  func remembered() async throws {
    let test = LayerCase.all[0]
    let method = PruningMethod(.exact(.kernel))
    let solver = try await CPUSolverBackend(threads: 2).makeSolver(for: test.layer, method: method, images: test.images)
    try await solver.add(test.inputs)
    for sparsity in [0.3, 0.8, 0.3] {
      let solved = try await solver.solve(test.weights, sparsity: sparsity)
      let fresh = try await test.solved(method, sparsity: sparsity)
      #expect(solved.weights.isBitIdentical(to: fresh.weights) && solved.loss == fresh.loss)
    }
    let opposite = Tensor(test.weights.floats.reversed(), shape: test.weights.shape)
    let other = try await solver.solve(opposite, sparsity: 0.5)
    let literal = LiteralSolver(test.layer, test.inputs).exact(opposite, sparsity: 0.5)
    check(other, literal)
    let more = Tensor(test.inputs.floats.reversed(), shape: test.inputs.shape)
    try await solver.add(more)
    let both = Tensor(
      test.inputs.floats + more.floats, shape: Shape([2 * test.images] + more.shape.dimensions.dropFirst()))
    check(
      try await solver.solve(opposite, sparsity: 0.5), LiteralSolver(test.layer, both).exact(opposite, sparsity: 0.5))
  }

  @Test("damp what cannot be factorised, and say so: fewer samples than features, or a constant input")
  func singular() async throws {
    let test = LayerCase(testDescription: "", layer: LayerGeometry(linear: 5, features: 20, tokens: 1), images: 4)
    let constant = Tensor([Float](repeating: 0.5, count: 80), shape: [4, 1, 1, 20])
    for inputs in [test.inputs, constant] {
      let exact = try await test.solved(PruningMethod(.exact(.kernel)), sparsity: 0.5, inputs: inputs)
      #expect(exact.wasDampedFurther && exact.damping > 0)
      #expect(exact.weights.floats.filter { $0 == 0 }.count == 50)
      let fast = try await test.solved(PruningMethod(.fast), sparsity: 0.5, inputs: inputs)
      #expect(fast.damping == 0.01 && !fast.wasDampedFurther)
    }
  }

  @Test("zero the columns that no input reaches")
  func dead() async throws {
    let test = LayerCase(testDescription: "", layer: LayerGeometry(linear: 5, features: 6, tokens: 3), images: 8)
    var values = test.inputs.floats
    for index in stride(from: 2, to: values.count, by: 6) { values[index] = 0 }
    for method in [PruningMethod(.fast), PruningMethod(.exact(.kernel))] {
      let solved = try await test.solved(method, sparsity: 0.2, inputs: Tensor(values, shape: test.inputs.shape))
      #expect(solved.deadColumns == 1)
      #expect((0..<5).allSatisfy { solved.weights.floats[$0 * 6 + 2] == 0 })
    }
  }

  @Test("refuse numbers that are not finite")
  func notFinite() async throws {
    let test = LayerCase(testDescription: "", layer: LayerGeometry(linear: 5, features: 6, tokens: 3), images: 8)
    var values = test.inputs.floats
    values[4] = .nan
    let inputs = Tensor(values, shape: test.inputs.shape)
    for method in [PruningMethod(.fast), PruningMethod(.exact(.kernel))] {
      await #expect(throws: ComputeError.self) { try await test.solved(method, sparsity: 0.5, inputs: inputs) }
    }
  }
}
