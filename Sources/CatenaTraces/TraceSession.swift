import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors

/// An extractor with its dense network compiled: makes the traces of one picture after the other.
public struct TraceSession: Sendable {
  private let extractor: TraceExtractor
  private let observation: TraceObservation
  private let checking: TraceNetwork

  init(_ extractor: TraceExtractor, _ observation: TraceObservation) throws {
    self.extractor = extractor
    self.observation = observation
    checking = try extractor.checkedNetwork()
  }

  /// The trace of one picture.
  /// - Throws: `CancellationError` or `ComputeError.cancelled` when the task is cancelled; `TraceError`, `ComputeError`,
  ///   `FileError` for what does not fit or fails.
  public func trace(
    of sample: TraceSample, progress: @Sendable (TraceProgress) -> Void = { _ in }
  ) async throws -> TraceResult {
    let observed = try await observe(sample, progress: progress)
    let layers = extractor.prunedLayers
    var pruned: [Int: PrunedLayer] = [:]
    for (done, index) in layers.enumerated() {
      try Task.checkCancellation()
      progress(TraceProgress(stage: .pruning, completed: done, total: layers.count))
      pruned[index] = try await prune(index, by: extractor.ratios[index], observed)
    }
    let weights = pruned.mapValues(\.weights)
    let traced = extractor.network.replacing(weights)
    progress(TraceProgress(stage: .checking, completed: 0, total: 1))
    let logits = try await logits(replacing: weights, on: observed.checked)
    guard (logits + observed.denseLogits).allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
      throw TraceError.notFinite(
        "\(sample.name): the logits hold NaN or infinite numbers: look at the network's weights and --preprocess")
    }
    progress(TraceProgress(stage: .checking, completed: 1, total: 1))
    return TraceResult(
      sampleName: sample.name, pixelDigest: sample.pixelDigest, graph: traced, layers: layerResults(pruned),
      fidelity: TraceFidelity(dense: observed.denseLogits, trace: logits), plannedBytes: observed.plannedBytes)
  }

  /// Runs a picture's augmentations through the dense network.
  func observe(_ sample: TraceSample, progress: @Sendable (TraceProgress) -> Void) async throws -> Observed {
    let input = try extractor.input(of: sample)
    return try await observation.run(sample, input, progress: progress)
  }

  /// A layer without the part `ratio` of its connections.
  func prune(_ index: Int, by ratio: Double, _ observed: Observed) async throws -> PrunedLayer {
    let layer = extractor.network.layers[index]
    guard let weights = extractor.network.graph.constants[layer.weights], let solver = observed.solvers[index] else {
      preconditionFailure("a pruned layer has weights and a solver")
    }
    do {
      return try await solver.solve(layer.matrix(of: weights), sparsity: ratio)
    } catch let error {
      guard case .callFailed(_, _, _, let detail) = error else { throw error }
      throw TraceError.layer(name: layer.name, reason: detail)
    }
  }

  /// The logits of inputs with other weights in some layers.
  func logits(replacing weights: [Int: Tensor], on inputs: [Tensor]) async throws -> [[Float]] {
    let runner = try await LogitsRunner(
      checking.replacing(weights), backend: extractor.backend, options: extractor.checkOptions)
    return try await runner.logits(of: inputs)
  }

  private func layerResults(_ pruned: [Int: PrunedLayer]) -> [TraceResult.Layer] {
    extractor.network.layers.enumerated().map { index, layer in
      let dense = extractor.network.graph.constants[layer.weights].map(layer.matrix)
      let weights = pruned[index]?.weights ?? dense ?? Tensor(zeros: layer.geometry.weightShape)
      let constant =
        extractor.network.graph.constants[layer.weights].map { layer.constant(weights, like: $0) } ?? weights
      return TraceResult.Layer(
        name: layer.name, ratio: extractor.ratios[index], weights: constant, solution: pruned[index])
    }
  }
}
