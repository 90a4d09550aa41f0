import CatenaCompute
import CatenaFormats
import CatenaTensors
import Foundation

/// Finds the highest sparsity that each layer of a network bears.
///
/// First every layer is pruned alone, at several ratios, and the divergence of the network's answers from the dense ones
/// is measured on some pictures and their augmentations. Then all layers share one limit for that divergence: each gets the
/// highest ratio below it. The limit is the largest at which traces of all pictures keep enough predictions.
///
/// One picture's Hessians are held at a time. What was found is handed out after every step, so that nothing is lost when
/// the work is interrupted.
public struct RatioTuner: Sendable {
  /// What makes the traces.
  public let extractor: TraceExtractor
  /// What is asked for and tried.
  public let tuning: TuningSettings

  /// Prepares the search.
  /// - Precondition: candidates lie between 0 and 1, candidates and limits ascend, there is a probe.
  /// - Throws: `TraceError` when the network cannot be traced.
  public init(
    network: TraceNetwork, backend: any Backend, solvers: any LayerSolverBackend, preprocessing: Preprocessing,
    settings: TraceSettings, tuning: TuningSettings = TuningSettings(), options: CompileOptions = CompileOptions()
  ) throws(TraceError) {
    precondition(
      tuning.probes > 0 && !tuning.candidates.isEmpty && tuning.candidates.allSatisfy { $0 > 0 && $0 < 1 }
        && tuning.candidates == tuning.candidates.sorted() && tuning.limits == tuning.limits.sorted(),
      "candidates and limits ascend")
    // Any ratio above 0 makes the extractor keep the Hessians of all layers.
    extractor = try TraceExtractor(
      network: network, backend: backend, solvers: solvers, preprocessing: preprocessing, ratios: .uniform(0.5),
      settings: settings, options: options)
    self.tuning = tuning
  }

  /// A record for these pictures, without results. Its key says network, pictures and settings.
  public func emptyRecord(for samples: [TraceSample]) throws -> TuningRecord {
    struct Key: Encodable {
      var model: String?
      var settings: TraceSettings
      var tuning: TuningSettings
      var preprocessing: String
      var names: [String]
      var pixels: [String]
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let key = Key(
      model: extractor.network.model.sha256, settings: extractor.settings, tuning: tuning,
      preprocessing: extractor.preprocessing.json, names: samples.map(\.name),
      pixels: samples.map { SHA256.hexDigest(of: $0.image.pixels) })
    return TuningRecord(key: SHA256.hexDigest(of: try Array(encoder.encode(key))))
  }

  /// Searches, from where `record` ends.
  /// - Parameters:
  ///   - record: What is known already; of another key it is not used.
  ///   - progress: Called with how far it is.
  ///   - checkpoint: Called with everything known, after every picture.
  /// - Throws: `CancellationError` or `ComputeError.cancelled` when the task is cancelled; `TraceError`, `ComputeError`,
  ///   `FileError`; what `checkpoint` throws.
  public func ratios(
    for samples: [TraceSample], resuming record: TuningRecord? = nil,
    progress: @Sendable (TuningProgress) -> Void = { _ in }, checkpoint: (TuningRecord) throws -> Void = { _ in }
  ) async throws -> TunedRatios {
    precondition(!samples.isEmpty, "ratios are tuned on pictures")
    try extractor.check(samples)
    let empty = try emptyRecord(for: samples)
    var record = record.flatMap { $0.key == empty.key ? $0 : nil } ?? empty
    let session = try await extractor.session()
    let probes = min(tuning.probes, samples.count)
    while record.divergences.count < probes {
      let done = record.divergences.count
      record.divergences.append(
        try await divergences(of: samples[done], session) { layer in
          let layers = extractor.network.layers.count
          progress(TuningProgress(stage: .probing, completed: done * layers + layer, total: probes * layers))
        })
      try checkpoint(record)
    }
    let levels = levels(record)
    while record.trials.count < samples.count {
      let done = record.trials.count
      progress(TuningProgress(stage: .searching, completed: done, total: samples.count))
      record.trials.append(try await trials(of: samples[done], levels, session))
      try checkpoint(record)
    }
    progress(TuningProgress(stage: .searching, completed: samples.count, total: samples.count))
    return chosen(levels, record)
  }

  // MARK: Layers alone

  private func divergences(
    of sample: TraceSample, _ session: TraceSession, progress: (Int) -> Void
  ) async throws -> [[Double]] {
    let network = extractor.network
    let observed = try await session.observe(sample) { _ in }
    var result: [[Double]] = []
    for index in network.layers.indices {
      progress(index)
      var values: [Double] = []
      for candidate in tuning.candidates {
        try Task.checkCancellation()
        let pruned = try await session.prune(index, by: candidate, observed)
        let logits = try await session.logits(of: network.replacing([index: pruned.weights]), on: observed.checked)
        let value = meanDivergence(observed.denseLogits, logits)
        guard value.isFinite else {
          throw TraceError.notFinite("\(sample.name): the logits hold NaN or infinite numbers")
        }
        values.append(value)
        if value > tuning.limits.last ?? 0 { break }
      }
      result.append(values)
    }
    progress(network.layers.count)
    return result
  }

  // MARK: Layers together

  /// A limit with the ratios, by layer, that it gives.
  private struct Choice {
    var limit: Double
    var ratios: [Double]
  }

  /// The limits whose ratios differ from those of the limit before.
  private func levels(_ record: TuningRecord) -> [Choice] {
    var result: [Choice] = []
    for limit in tuning.limits {
      let ratios = extractor.network.layers.indices.map { layer in
        let lists = record.divergences.map { $0[layer] }
        var ratio = 0.0
        for (place, candidate) in tuning.candidates.enumerated() {
          // A list that has ended was above all limits.
          let values = lists.compactMap { $0.indices.contains(place) ? $0[place] : nil }
          guard values.count == lists.count, values.reduce(0, +) / Double(values.count) <= limit else { break }
          ratio = candidate
        }
        return ratio
      }
      if ratios.contains(where: { $0 > 0 }), ratios != result.last?.ratios {
        result.append(Choice(limit: limit, ratios: ratios))
      }
    }
    return result
  }

  private func trials(
    of sample: TraceSample, _ levels: [Choice], _ session: TraceSession
  ) async throws -> [TuningRecord.Trial] {
    let network = extractor.network
    let observed = try await session.observe(sample) { _ in }
    var pruned: [Int: (ratio: Double, weights: Tensor)] = [:]
    var result: [TuningRecord.Trial] = []
    for level in levels {
      for (index, ratio) in level.ratios.enumerated() where ratio > 0 && pruned[index]?.ratio != ratio {
        try Task.checkCancellation()
        pruned[index] = (ratio, try await session.prune(index, by: ratio, observed).weights)
      }
      let logits = try await session.logits(
        of: network.replacing(pruned.mapValues(\.weights)), on: observed.checked)
      let fidelity = TraceFidelity(dense: observed.denseLogits, trace: logits)
      result.append(
        TuningRecord.Trial(keepsPrediction: fidelity.keepsPrediction, agreement: fidelity.agreement ?? 1))
      if result.suffix(2).allSatisfy({ !$0.keepsPrediction }), result.count > 1 { break }
    }
    return result
  }

  private func chosen(_ levels: [Choice], _ record: TuningRecord) -> TunedRatios {
    let network = extractor.network
    let connections = network.layers.map { Double($0.connections) }
    let total = connections.reduce(0, +)
    let measured = levels.enumerated().map { place, level in
      // Behind a list's end the prediction counts as lost.
      let trials = record.trials.map { $0.indices.contains(place) ? $0[place] : nil }
      let count = Double(trials.count)
      return TunedRatios.Level(
        limit: level.limit, sparsity: zip(level.ratios, connections).reduce(0) { $0 + $1.0 * $1.1 } / total,
        kept: Double(trials.count { $0?.keepsPrediction == true }) / count,
        agreement: trials.reduce(0) { $0 + ($1?.agreement ?? 0) } / count, ratios: namedRatios(level))
    }
    let met = measured.indices.last {
      measured[$0].kept >= tuning.kept && measured[$0].agreement >= tuning.agreement
    }
    // Of equal ones the first, which removes the least.
    let best = met ?? measured.indices.max { measured[$0].kept < measured[$1].kept }
    guard let best else {
      return TunedRatios(
        chosen: .init(limit: 0, sparsity: 0, kept: 1, agreement: 1, ratios: [:]), isMet: true, levels: [])
    }
    return TunedRatios(chosen: measured[best], isMet: met != nil, levels: measured)
  }

  private func namedRatios(_ level: Choice) -> [String: Double] {
    let pairs = zip(extractor.network.layers.map(\.name), level.ratios).filter { $0.1 > 0 }
    return Dictionary(uniqueKeysWithValues: pairs)
  }
}

/// The mean over the rows of the Kullback-Leibler divergence, in nats, of softmax(trace) from softmax(dense).
package func meanDivergence(_ dense: [[Float]], _ trace: [[Float]]) -> Double {
  let values = zip(dense, trace).map { dense, trace in
    let (p, q) = (logSoftmax(dense), logSoftmax(trace))
    return zip(p, q).reduce(0.0) { $0 + exp($1.0) * ($1.0 - $1.1) }
  }
  return values.reduce(0, +) / Double(max(values.count, 1))
}

private func logSoftmax(_ logits: [Float]) -> [Double] {
  let top = Double(logits.max() ?? 0)
  let sum = logits.reduce(0) { $0 + exp(Double($1) - top) }
  return logits.map { Double($0) - top - log(sum) }
}
