import CatenaCompute
import CatenaGraph
import CatenaTensors

/// A program that is ready to be replayed.
struct CompiledProgram: Sendable {
  let executable: any Executable
  let input: ValueID
  let seed: ValueID?
  let reference: ValueID?
  let logits: ValueID
  let results: [ValueID]
  let inputType: TensorType
  let logitsType: TensorType

  var batch: Int { inputType.shape[0] }

  init(_ plan: ExplanationGraph, executable: any Executable) {
    self.executable = executable
    (input, seed, reference, logits, results) = (plan.input, plan.seed, plan.reference, plan.logits, plan.results)
    inputType = plan.graph.type(plan.input)
    logitsType = plan.graph.type(plan.logits)
  }
}

/// What a program computed for one row.
struct ProgramRow {
  let logits: UnsafeBufferPointer<Float>
  /// The kind's own results.
  let results: [UnsafeBufferPointer<Float>]
}

extension Explainer {
  /// Runs a program on `rows` rows, a batch at a time; memory does not grow with their number.
  /// - Parameters:
  ///   - input: Writes the input of a row.
  ///   - target: The class whose logit is explained, of a row; read by programs with a backward pass.
  ///   - reference: DeepLIFT's baseline, the same for all rows.
  ///   - consume: Takes a row's results, in order.
  func stream(
    _ kind: ProgramKind, rows: Int, for method: AttributionMethod,
    input: (Int, UnsafeMutableBufferPointer<Float>) -> Void, target: (Int) -> Int = { _ in 0 },
    reference: [Float]? = nil, consume: (Int, ProgramRow) throws(ExplanationError) -> Void
  ) async throws(ExplanationError) {
    let program = try await program(kind, rows: rows, for: method)
    let size = program.batch
    do throws(ComputeError) {
      if let value = program.reference, let reference {
        let repeated = [Float]((0..<size).map { _ in reference }.joined())
        try await program.executable.write(Tensor(repeated, shape: program.inputType.shape), to: value)
      }
    } catch { throw .compute(error) }
    for first in stride(from: 0, to: rows, by: size) {
      // Rows beyond the last one repeat it.
      let indices = (first..<first + size).map { min($0, rows - 1) }
      let data = Tensor(elementType: .float32, shape: program.inputType.shape) { bytes in
        let values = bytes.bindMemory(to: Float.self)
        let width = values.count / size
        for (slot, row) in indices.enumerated() {
          input(row, UnsafeMutableBufferPointer(rebasing: values[slot * width..<(slot + 1) * width]))
        }
      }
      let outputs = try await run(program, data, targets: indices.map(target))
      try outputs.withRows { (slot, row) throws(ExplanationError) in
        if first + slot < rows { try consume(first + slot, row) }
      }
    }
  }

  private func run(
    _ program: CompiledProgram, _ data: Tensor, targets: [Int]
  ) async throws(ExplanationError) -> ProgramOutputs {
    do throws(ComputeError) {
      try await program.executable.write(data, to: program.input)
      if let seed = program.seed {
        let classes = program.logitsType.shape.elementCount / program.batch
        var selection = [Float](repeating: 0, count: program.batch * classes)
        for (slot, target) in targets.enumerated() { selection[slot * classes + target] = 1 }
        try await program.executable.write(Tensor(selection, shape: program.logitsType.shape), to: seed)
      }
      try await program.executable.run(steps: 1)
      var results: [Tensor] = []
      for value in program.results { results.append(try await program.executable.read(value)) }
      return ProgramOutputs(
        batch: program.batch, logits: try await program.executable.read(program.logits), results: results)
    } catch { throw .compute(error) }
  }
}

/// The tensors that one run of a program gave.
private struct ProgramOutputs {
  let batch: Int
  let logits: Tensor
  let results: [Tensor]

  func withRows(_ body: (Int, ProgramRow) throws(ExplanationError) -> Void) throws(ExplanationError) {
    for slot in 0..<batch { try withRow(slot, logits, []) { (row) throws(ExplanationError) in try body(slot, row) } }
  }

  /// Opens the results one after another, then hands the row over.
  private func withRow(
    _ slot: Int, _ tensor: Tensor, _ opened: [UnsafeBufferPointer<Float>],
    _ body: (ProgramRow) throws(ExplanationError) -> Void
  ) throws(ExplanationError) {
    try tensor.withElements(of: Float.self) { (values) throws(ExplanationError) in
      let width = values.count / batch
      let all = opened + [UnsafeBufferPointer(rebasing: values[slot * width..<(slot + 1) * width])]
      guard all.count <= results.count else {
        return try body(ProgramRow(logits: all[0], results: Array(all.dropFirst())))
      }
      try withRow(slot, results[all.count - 1], all, body)
    }
  }
}
