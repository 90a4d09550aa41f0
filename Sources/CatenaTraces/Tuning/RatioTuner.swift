import CatenaCompute
import CatenaFormats
import CatenaTensors
import Foundation

/// Finds the highest sparsity that each layer of a network bears.
///
/// First every layer is pruned alone, at several ratios, and the divergence of the network's answers from the dense ones
/// is measured on some pictures and their augmentations. Then all layers share one limit for that divergence: each gets the
/// highest ratio below it. The limit is the largest at which traces of all pictures keep enough predictions. After that,
/// groups of layers get limits of their own: first such that grow with depth or leave the first layers dense, then what is
/// best of these with single groups changed. Best is what removes the most connections, or what has the highest score,
/// among what keeps enough predictions. Every picture is observed once for each of these rounds, at most
/// `probes + pictures * (2 + moves)` times.
///
/// One picture's Hessians are held at a time. What was found is handed out after every step, so that nothing is lost when
/// the work is interrupted.
public struct RatioTuner: Sendable {
  /// What makes the traces.
  public let extractor: TraceExtractor
  /// What is asked for and tried.
  public let tuning: TuningSettings
  /// What is to be high; `nil` for as few connections as possible.
  public let score: TuningScore?

  /// Prepares the search.
  /// - Precondition: candidates lie between 0 and 1, candidates and limits ascend, there is a probe.
  /// - Throws: `TraceError` when the network cannot be traced.
  public init(
    network: TraceNetwork, backend: any Backend, solvers: any LayerSolverBackend, preprocessing: Preprocessing,
    settings: TraceSettings, tuning: TuningSettings = TuningSettings(), score: TuningScore? = nil,
    options: CompileOptions = CompileOptions()
  ) throws(TraceError) {
    precondition(
      tuning.probes > 0 && !tuning.candidates.isEmpty && tuning.candidates.allSatisfy { $0 > 0 && $0 < 1 }
        && tuning.candidates == tuning.candidates.sorted() && tuning.limits == tuning.limits.sorted(),
      "candidates and limits ascend")
    precondition(tuning.depths > 0 && tuning.moves >= 0, "there is a group of layers")
    // Any ratio above 0 makes the extractor keep the Hessians of all layers.
    extractor = try TraceExtractor(
      network: network, backend: backend, solvers: solvers, preprocessing: preprocessing, ratios: .uniform(0.5),
      settings: settings, options: options)
    self.tuning = tuning
    self.score = score
  }

  /// A record for these pictures, without results. Its key says network, pictures and settings.
  public func emptyRecord(for samples: [TraceSample]) throws -> TuningRecord {
    struct Key: Encodable {
      var model: String?
      var settings: TraceSettings
      var tuning: TuningSettings
      var score: String?
      var preprocessing: String
      var names: [String]
      var pixels: [String]
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let key = Key(
      model: extractor.network.model.sha256, settings: extractor.settings, tuning: tuning, score: score?.name,
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
    let search = RatioSearch(extractor.network, tuning, probes: record.divergences, isScored: score != nil)
    for round in 0..<search.rounds {
      if record.rounds.count == round { record.rounds.append([]) }
      let ladders = search.ladders(ofRound: round, after: search.measured(Array(record.rounds.prefix(round))))
      if ladders.isEmpty { continue }
      while record.rounds[round].count < samples.count {
        let done = record.rounds[round].count
        progress(TuningProgress(round: round, completed: done, pictures: samples.count, tuning))
        record.rounds[round].append(try await trials(of: samples[done], ladders, session))
        try checkpoint(record)
      }
      progress(TuningProgress(round: round, completed: samples.count, pictures: samples.count, tuning))
    }
    let measured = search.measured(record.rounds)
    guard let best = search.best(measured) else {
      let dense = TunedRatios.Level(limits: [], sparsity: 0, kept: 1, agreement: 1, score: nil, ratios: [:])
      return TunedRatios(chosen: dense, isMet: true, levels: [])
    }
    return TunedRatios(chosen: best.level, isMet: search.isMet(best.level), levels: measured.map(\.level))
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
        let logits = try await session.logits(replacing: [index: pruned.weights], on: observed.checked)
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

  /// What becomes of a picture with every candidate; a list ends behind two that lose its prediction.
  private func trials(
    of sample: TraceSample, _ ladders: [[RatioSearch.Candidate]], _ session: TraceSession
  ) async throws -> [[TuningRecord.Trial]] {
    let network = extractor.network
    let observed = try await session.observe(sample) { _ in }
    // Of every layer the two last, as changes of a few layers go back to where they came from.
    var pruned: [Int: [(ratio: Double, weights: Tensor)]] = [:]
    var result: [[TuningRecord.Trial]] = []
    for ladder in ladders {
      var trials: [TuningRecord.Trial] = []
      for candidate in ladder {
        var weights: [Int: Tensor] = [:]
        for (index, ratio) in candidate.ratios.enumerated() where ratio > 0 {
          try Task.checkCancellation()
          var known = pruned[index] ?? []
          if let place = known.firstIndex(where: { $0.ratio == ratio }) {
            known.append(known.remove(at: place))
          } else {
            known = known.suffix(1) + [(ratio, try await session.prune(index, by: ratio, observed).weights)]
          }
          weights[index] = known.last?.weights
          pruned[index] = known
        }
        let traced = network.replacing(weights)
        let logits = try await session.logits(replacing: weights, on: observed.checked)
        let fidelity = TraceFidelity(dense: observed.denseLogits, trace: logits)
        trials.append(
          TuningRecord.Trial(
            keepsPrediction: fidelity.keepsPrediction, agreement: fidelity.agreement ?? 1,
            score: try await score?.value(sample, traced, fidelity.denseClass)))
        if trials.count > 1, trials.suffix(2).allSatisfy({ !$0.keepsPrediction }) { break }
      }
      result.append(trials)
    }
    return result
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
