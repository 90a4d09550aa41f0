import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors

/// What the dense network does on a picture and its augmentations.
struct Observed {
  /// The Hessians, by layer.
  var solvers: [Int: any LayerSolver]
  /// The picture and the augmentations that the trace is checked on, as inputs.
  var checked: [Tensor]
  /// The dense network's logits on these.
  var denseLogits: [[Float]]
  /// Bytes that were planned before the first image ran.
  var plannedBytes: Int
}

/// The dense network, compiled to give the inputs of the pruned layers.
struct TraceObservation: Sendable {
  private struct Program: Sendable {
    var batch: Int
    var input: ValueID
    var logits: ValueID
    var captured: [Int: ValueID]
    var executable: any Executable
  }
  private let extractor: TraceExtractor
  private let programs: [Program]
  /// Whether the programs compute as traces are checked, so that their logits need not be computed again.
  private let givesLogits: Bool
  private let dense: LogitsRunner

  init(_ extractor: TraceExtractor) async throws {
    self.extractor = extractor
    let network = extractor.network
    let count = extractor.settings.augmentations
    guard network.model.fixedBatch == nil || count % network.batch == 0 else {
      throw TraceError.unsuitable(
        "the network's batch is fixed at \(network.batch): --augmentations must be a multiple of it")
    }
    var programs: [Program] = []
    for batch in Set([min(network.batch, count), count % network.batch]).subtracting([0]).sorted(by: >) {
      let part = try network.rebatched(batch)
      let capture = try CapturedInputs(part, wanted: extractor.prunedLayers)
      let executable = try await extractor.backend.compile(
        CatenaCompute.Program(capture.graph), options: extractor.options)
      programs.append(
        Program(
          batch: batch, input: capture.graph.inputs[0], logits: part.graph.outputs[0], captured: capture.values,
          executable: executable))
    }
    self.programs = programs
    givesLogits = extractor.options.precision == extractor.checkOptions.precision
    // For the picture itself alone: a larger batch would be filled with copies of it.
    let checked = try givesLogits ? network.rebatched(1) : extractor.checkedNetwork()
    dense = try await LogitsRunner(checked.graph, backend: extractor.backend, options: extractor.checkOptions)
  }

  func run(
    _ sample: TraceSample, _ input: Tensor, progress: @Sendable (TraceProgress) -> Void
  ) async throws -> Observed {
    let settings = extractor.settings
    var solvers: [Int: any LayerSolver] = [:]
    let largest = programs.map(\.batch).max() ?? 1
    for index in extractor.prunedLayers {
      solvers[index] = try await extractor.solvers.makeSolver(
        for: extractor.network.layers[index].geometry, method: settings.method, images: largest)
    }
    let planned = try plannedBytes(solvers)
    var checked = [input]
    var logits: [[Float]] = []
    var done = 0
    while done < settings.augmentations {
      try Task.checkCancellation()
      progress(TraceProgress(stage: .observing, completed: done, total: settings.augmentations))
      guard let program = programs.first(where: { $0.batch <= settings.augmentations - done }) else {
        preconditionFailure("the last program takes what is left")
      }
      let size = extractor.network.imageSize
      let views = try await settings.augmentation.inputs(
        of: sample.image, done..<done + program.batch, seed: settings.seed, width: size.width, height: size.height,
        preprocessing: extractor.preprocessing, threads: extractor.backend.device.threads)
      try await program.executable.write(views, to: program.input)
      try await program.executable.run(steps: 1)
      let rows = try await program.executable.read(program.logits).rows
      for (index, row) in rows.enumerated() where done + index < settings.checkedAugmentations {
        checked.append(views.row(index))
        logits.append(row)
      }
      try await accumulate(program, into: solvers)
      done += program.batch
    }
    progress(TraceProgress(stage: .observing, completed: done, total: settings.augmentations))
    let denseLogits = try await givesLogits ? dense.logits(of: [input]) + logits : dense.logits(of: checked)
    return Observed(solvers: solvers, checked: checked, denseLogits: denseLogits, plannedBytes: planned)
  }

  private func accumulate(_ program: Program, into solvers: [Int: any LayerSolver]) async throws {
    for value in ValueSet(program.captured.values) {
      try Task.checkCancellation()
      let captured = try await program.executable.read(value)
      for (index, solver) in solvers.sorted(by: { $0.key < $1.key }) where program.captured[index] == value {
        try await solver.add(extractor.network.layers[index].solverInput(captured, images: program.batch))
      }
    }
  }

  /// Everything that will be held at once.
  private func plannedBytes(_ solvers: [Int: any LayerSolver]) throws(ComputeError) -> Int {
    let plans = programs.map(\.executable.memoryPlan.total)
    // A trace that is checked takes no more than a program that gives the layers' inputs besides, or than the network does.
    let executables = plans.reduce(0, +) + max(plans.max() ?? 0, dense.memoryPlan.total) + dense.memoryPlan.total
    let accumulators = solvers.values.reduce(0) { $0 + $1.accumulatorBytes }
    let working = solvers.values.map(\.workingBytes).max() ?? 0
    let layers = extractor.network.layers
    let largestInput = programs.reduce(0) { most, program in
      max(
        most,
        program.captured.keys.map { index in
          let geometry = layers[index].geometry
          return 4 * program.batch * geometry.source[0] * geometry.source[1] * geometry.groups * geometry.channels
        }.max() ?? 0)
    }
    let weights = 4 * layers.reduce(0) { $0 + 3 * $1.connections }
    let imageBytes = 4 * 3 * extractor.network.imageSize.height * extractor.network.imageSize.width
    let images = imageBytes * (extractor.settings.checkedAugmentations + 1 + extractor.network.batch)
    let total = executables + accumulators + working + largestInput + weights + images
    if let limit = extractor.options.memoryLimit, total > limit {
      throw .outOfMemory(requested: total, available: limit, device: extractor.backend.device.name)
    }
    return total
  }
}
