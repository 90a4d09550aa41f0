import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors

/// How far an extraction is.
public struct TraceProgress: Sendable {
  /// The stages of one trace, in their order.
  public enum Stage: String, Sendable {
    /// Augmentations run through the dense network.
    case observing = "observing the dense network"
    /// Layers are pruned.
    case pruning = "pruning"
    /// The trace runs on the augmentations.
    case checking = "checking the trace"
  }
  /// What is done.
  public var stage: Stage
  /// Images or layers that are done.
  public var completed: Int
  /// Images or layers in all.
  public var total: Int
}

/// A picture to trace.
public struct TraceSample: Sendable {
  /// The name in messages and files.
  public var name: String
  /// The picture at its original size: augmentations are cut from it.
  public var image: Image

  /// A picture.
  public init(name: String, image: Image) { (self.name, self.image) = (name, image) }
}

/// Extracts traces: the connections of a network that serve one picture (SPADE; Moakhar et al., 2024).
public struct TraceExtractor: Sendable {
  /// The network.
  public let network: TraceNetwork
  /// What runs the network.
  public let backend: any Backend
  /// What runs the solvers.
  public let solvers: any LayerSolverBackend
  /// How pictures become inputs.
  public let preprocessing: Preprocessing
  /// The settings.
  public let settings: TraceSettings
  /// Ratios by layer of the network.
  public let ratios: [Double]
  /// How programs are compiled.
  public let options: CompileOptions

  /// Prepares the extraction.
  /// - Throws: `TraceError.ratios` when they do not fit the network.
  public init(
    network: TraceNetwork, backend: any Backend, solvers: any LayerSolverBackend, preprocessing: Preprocessing,
    ratios: SparsityRatios, settings: TraceSettings = TraceSettings(), options: CompileOptions = CompileOptions()
  ) throws(TraceError) {
    precondition(settings.augmentations > 0, "a trace needs an augmentation")
    self.network = network
    self.backend = backend
    self.solvers = solvers
    self.preprocessing = preprocessing
    self.settings = settings
    self.ratios = try ratios.ratios(of: network)
    self.options = options
    for layer in network.layers {
      guard let weights = network.graph.constants[layer.weights], weights.floats.allSatisfy(\.isFinite) else {
        throw .notFinite("the weights of the layer '\(layer.name)' hold NaN or infinite numbers")
      }
    }
  }

  /// The layers that a solver works on: those with a ratio, or, as in the published code, all.
  var prunedLayers: [Int] {
    network.layers.indices.filter { settings.isCompatible || ratios[$0] > 0 }
  }

  /// The trace of one picture.
  /// - Throws: `CancellationError` or `ComputeError.cancelled` when the task is cancelled; `TraceError`, `ComputeError`,
  ///   `FileError` for what does not fit or fails.
  public func trace(
    of sample: TraceSample, progress: @Sendable (TraceProgress) -> Void = { _ in }
  ) async throws -> TraceResult {
    let observation = try await Observation(self)
    return try await trace(of: sample, observation, progress: progress)
  }

  /// The traces of several pictures, one after the other; the compiled network is shared.
  public func traces(
    of samples: [TraceSample], progress: @Sendable (Int, TraceProgress) -> Void = { _, _ in },
    each body: (Int, TraceResult) async throws -> Void
  ) async throws {
    let observation = try await Observation(self)
    for (index, sample) in samples.enumerated() {
      try await body(index, try await trace(of: sample, observation) { progress(index, $0) })
    }
  }

  private func trace(
    of sample: TraceSample, _ observation: Observation, progress: @Sendable (TraceProgress) -> Void
  ) async throws -> TraceResult {
    let input = try preprocessing.tensor(of: [sample.image]) { _ in sample.name }
    let expected = network.graph.shape(network.graph.inputs[0]).dimensions.dropFirst()
    guard Array(input.shape.dimensions.dropFirst()) == Array(expected) else {
      throw TraceError.unsuitable(
        "\(sample.name): the preprocessed picture is \(Shape(Array(input.shape.dimensions.dropFirst()))), the network "
          + "reads \(Shape(Array(expected))): choose another --preprocess")
    }
    let observed = try await observation.run(sample, input, progress: progress)
    var pruned: [Int: PrunedLayer] = [:]
    for (done, index) in prunedLayers.enumerated() {
      try Task.checkCancellation()
      progress(TraceProgress(stage: .pruning, completed: done, total: prunedLayers.count))
      pruned[index] = try await prune(index, observed)
    }
    let traced = network.replacing(pruned.mapValues(\.weights))
    progress(TraceProgress(stage: .checking, completed: 0, total: 1))
    let runner = try await LogitsRunner(traced, backend: backend, options: options)
    let logits = try await runner.logits(of: observed.checked)
    guard (logits + observed.denseLogits).allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
      throw TraceError.notFinite(
        "\(sample.name): the logits hold NaN or infinite numbers: look at the network's weights and --preprocess")
    }
    progress(TraceProgress(stage: .checking, completed: 1, total: 1))
    return TraceResult(
      sampleName: sample.name, graph: traced, layers: layerResults(pruned),
      fidelity: TraceFidelity(dense: observed.denseLogits, trace: logits), plannedBytes: observed.plannedBytes)
  }

  private func prune(_ index: Int, _ observed: Observed) async throws -> PrunedLayer {
    let layer = network.layers[index]
    guard let weights = network.graph.constants[layer.weights], let solver = observed.solvers[index] else {
      preconditionFailure("a pruned layer has weights and a solver")
    }
    do {
      return try await solver.solve(layer.matrix(of: weights), sparsity: ratios[index])
    } catch let error {
      guard case .callFailed(_, _, _, let detail) = error else { throw error }
      throw TraceError.layer(name: layer.name, reason: detail)
    }
  }

  private func layerResults(_ pruned: [Int: PrunedLayer]) -> [TraceResult.Layer] {
    network.layers.enumerated().map { index, layer in
      let dense = network.graph.constants[layer.weights].map(layer.matrix)
      let weights = pruned[index]?.weights ?? dense ?? Tensor(zeros: layer.geometry.weightShape)
      let constant = network.graph.constants[layer.weights].map { layer.constant(weights, like: $0) } ?? weights
      return TraceResult.Layer(
        name: layer.name, ratio: ratios[index], weights: constant, solution: pruned[index])
    }
  }
}

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
private struct Observation: Sendable {
  private struct Program: Sendable {
    var batch: Int
    var input: ValueID
    var logits: ValueID
    var captured: [Int: ValueID]
    var executable: any Executable
  }
  private let extractor: TraceExtractor
  private let programs: [Program]
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
      let part = batch == network.batch ? network : try TraceNetwork(model: network.model, batch: batch)
      let capture = try CapturedInputs(part, wanted: extractor.prunedLayers)
      let executable = try await extractor.backend.compile(
        CatenaCompute.Program(capture.graph), options: extractor.options)
      programs.append(
        Program(
          batch: batch, input: capture.graph.inputs[0], logits: part.graph.outputs[0], captured: capture.values,
          executable: executable))
    }
    self.programs = programs
    dense = try await LogitsRunner(network.graph, backend: extractor.backend, options: extractor.options)
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
    var logits = try await dense.logits(of: [input])
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
    return Observed(solvers: solvers, checked: checked, denseLogits: logits, plannedBytes: planned)
  }

  private func accumulate(_ program: Program, into solvers: [Int: any LayerSolver]) async throws {
    for value in Set(program.captured.values).sorted() {
      try Task.checkCancellation()
      let captured = try await program.executable.read(value)
      for (index, solver) in solvers.sorted(by: { $0.key < $1.key }) where program.captured[index] == value {
        try await solver.add(extractor.network.layers[index].solverInput(captured, images: program.batch))
      }
    }
  }

  /// Everything that will be held at once.
  private func plannedBytes(_ solvers: [Int: any LayerSolver]) throws(ComputeError) -> Int {
    let executables = programs.reduce(0) { $0 + $1.executable.memoryPlan.total } + 2 * dense.memoryPlan.total
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
