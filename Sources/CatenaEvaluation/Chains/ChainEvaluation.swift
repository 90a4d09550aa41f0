import CatenaAutodiff
import CatenaChains
import CatenaCompute
import CatenaFormats
import CatenaTensors

/// Evaluates chains of one network, region by region: extracts a chain, or takes one that exists, and runs the analyses
/// that are asked for.
public final class ChainEvaluation: Sendable {
  let model: ONNXModel
  let backend: any Backend
  let options: CompileOptions
  let settings: EvaluationSettings
  /// The network for one sample, or its own fixed batch: what sizes are counted on.
  package let network: ChainNetwork

  /// An evaluation of `model` on one device.
  public init(
    model: ONNXModel, backend: any Backend, options: CompileOptions = CompileOptions(), settings: EvaluationSettings
  ) throws {
    self.model = model
    self.backend = backend
    self.options = options
    self.settings = settings
    network = try ChainNetwork(model: model, batch: 1)
  }

  /// What a chain is, besides its region.
  struct Subject {
    var selection: ChainSelection
    var isMet: Bool
    /// The evaluated chains of the curve, where their units are known.
    var points: [ChainPoint] = []
    /// Else what a manifest says of them.
    var recorded: [ChainManifest.CurvePoint] = []
  }

  /// Extracts a region's chain and evaluates it.
  /// - Parameter progress: told after every part of the work: what is done, and which part of that.
  public func record(
    of region: EvaluationRegion, request: ChainRequest, search: ChainSettings,
    progress: @escaping @Sendable (String, Double) -> Void
  ) async throws -> RegionRecord {
    try checkLabels(of: region)
    let chain = try await extract(region.samples.region, request, search) { progress("extracting", $0) }
    var record = try await record(
      of: region,
      Subject(selection: chain.point.selection, isMet: chain.isMet, points: chain.curve.points), progress: progress)
    if settings.analyses.contains(.stability) {
      try await addStability(&record, of: region, chain.point.selection, request, search, progress)
    }
    return record
  }

  /// Evaluates a chain that exists.
  ///
  /// For stability, chains of other seeds and samples are extracted with the settings that its manifest records.
  public func record(
    of region: EvaluationRegion, chain: StoredChain, progress: @escaping @Sendable (String, Double) -> Void
  ) async throws -> RegionRecord {
    try checkLabels(of: region)
    let manifest = chain.manifest
    var record = try await record(
      of: region, Subject(selection: chain.selection, isMet: manifest.met, recorded: manifest.curve),
      progress: progress)
    if settings.analyses.contains(.stability) {
      try await addStability(&record, of: region, chain.selection, manifest.request, manifest.settings, progress)
    }
    return record
  }

  /// Labels must be classes that the network has.
  private func checkLabels(of region: EvaluationRegion) throws(ChainError) {
    let classes = network.graph.shape(network.graph.outputs[0]).elementCount / network.batch
    for set in [region.samples, region.unseen, region.control].compactMap({ $0 }) {
      for label in set.labels ?? [] where !(0..<classes).contains(label) {
        throw .mismatch(
          "an image of '\(set.region.name)' has the label \(label), and the network has \(classes) classes: choose other "
            + "images, or another --label-offset")
      }
    }
  }

  private func record(
    of region: EvaluationRegion, _ chain: Subject, progress: @escaping @Sendable (String, Double) -> Void
  ) async throws -> RegionRecord {
    let samples = region.samples.region.samples
    let bench = try await MaskBench(self, samples: samples)
    let masks = try await methodMasks(region, chain.selection, bench) { progress("scoring units", $0) }
    var record = try await inRegion(region, chain, masks, bench) { progress("fidelity", $0) }
    if settings.analyses.contains(.unseen) {
      try await addOutside(&record, region, masks, bench) { progress("unseen images", $0) }
    }
    if settings.analyses.contains(.importance) {
      record.importance = try await importance(chain.selection, bench) { progress("importance", $0) }
    }
    return record
  }

  func extract(
    _ region: Region, _ request: ChainRequest, _ search: ChainSettings, progress: @escaping @Sendable (Double) -> Void
  ) async throws -> ChainResult {
    let extractor = ChainExtractor(
      network: try ChainNetwork(model: model, batch: min(search.batch, region.count)), backend: backend,
      settings: search, options: options)
    return try await extractor.chains(for: [region], request: request) { state in
      // Nearly all of the time is spent on the steps.
      let done = Double(state.completed) / Double(max(state.total, 1))
      switch state.stage {
      case .preparing: progress(0)
      case .optimizing: progress(0.9 * done)
      case .evaluating: progress(0.9 + 0.1 * done)
      }
    }[0]
  }
}

/// The program that masks of one region run in.
package struct MaskBench {
  let runner: MaskRunner
  let samples: Tensor
  /// The dense network's logits of the region.
  let dense: [[Float]]

  /// Compiles the program and runs the dense network.
  package init(_ evaluation: ChainEvaluation, samples: Tensor) async throws {
    let size = evaluation.batch(samples: samples.shape[0])
    let network = try ChainNetwork(model: evaluation.model, batch: size.masks * size.samples)
    runner = try await MaskRunner(
      graph: network.graph, sites: network.sites, masksPerRun: size.masks, backend: evaluation.backend,
      options: evaluation.options)
    self.samples = samples
    dense = try await runner.logits(of: samples, under: [.dense(runner.sites)])[0]
  }

  /// The region's outputs under some masks, compared with the dense network's.
  func measures(
    under masks: [UnitMask], progress: (Double) -> Void = { _ in }
  ) async throws -> [OutputMeasures] {
    try await runner.logits(of: samples, under: masks, progress: progress)
      .map { OutputMeasures(dense: dense, masked: $0) }
  }
}

extension ChainEvaluation {
  /// How many masks run at once on how many samples each.
  func batch(samples: Int) -> (masks: Int, samples: Int) {
    if let fixed = model.fixedBatch { return (1, fixed) }
    let perMask = min(samples, settings.batch)
    return (max(1, settings.batch / perMask), perMask)
  }

  /// The chain's mask, and those of the baselines where these are asked for; the dense network's come from the bench.
  private func methodMasks(
    _ region: EvaluationRegion, _ selection: ChainSelection, _ bench: MaskBench, progress: (Double) -> Void
  ) async throws -> [UnitMethod: [UnitMask]] {
    let chain = UnitMask(binary: selection)
    guard settings.analyses.contains(.baselines) else { return [.chain: [chain]] }
    progress(0)
    let size = model.fixedBatch ?? min(bench.samples.shape[0], settings.batch)
    let scorer = try await UnitScorer(
      network: ChainNetwork(model: model, batch: size), backend: backend, options: options)
    let scores = try await scorer.scores(of: bench.samples, logits: bench.dense)
    let matched = MatchedMasks(sites: network.sites, mask: chain)
    var generator = SeededGenerator(seed: settings.seed)
    return [
      .chain: [chain], .random: (0..<settings.draws).map { _ in matched.random(&generator) },
      .magnitude: [matched.largest(scores.magnitude)], .activation: [matched.largest(scores.activation)],
      .taylor: [matched.largest(scores.taylor)],
    ]
  }

  /// Analysis A, and the baselines in the region.
  private func inRegion(
    _ region: EvaluationRegion, _ chain: Subject, _ masks: [UnitMethod: [UnitMask]], _ bench: MaskBench,
    progress: (Double) -> Void
  ) async throws -> RegionRecord {
    let readings = settings.analyses.contains(.fidelity) ? readings(of: chain) : []
    let methods = UnitMethod.allCases.filter { masks[$0] != nil }
    let all =
      methods.flatMap { masks[$0] ?? [] } + [UnitMask(soft: chain.selection)]
      + readings.compactMap { $0.1.map { UnitMask(binary: $0.selection) } }
    var measures = try await bench.measures(under: all, progress: progress)[...]
    var records: [UnitMethod: MethodRecord] = [:]
    for method in methods {
      let count = masks[method]?.count ?? 0
      records[method] = MethodRecord(region: Array(measures.prefix(count)), unseen: [], control: [])
      measures = measures.dropFirst(count)
    }
    let soft = measures.removeFirst()
    var curve: [CurveReading] = []
    for (recorded, point) in readings {
      guard let point else {
        curve.append(recorded)
        continue
      }
      let measured = measures.removeFirst()
      curve.append(
        CurveReading(
          atMost: recorded.atMost, kept: try network.keptParts(point.selection), units: point.keptFraction,
          agreement: measured.agreement, divergence: measured.divergence, cosine: measured.cosine,
          isConstant: measured.isConstant))
    }
    return RegionRecord(
      name: region.samples.region.name, classes: region.classes, samples: region.samples.region.count,
      isMet: chain.isMet, kept: try network.keptParts(chain.selection), soft: soft, curve: curve, methods: records,
      denseUnseen: nil, denseControl: nil, importance: nil, otherSeeds: [], otherSamples: [])
  }

  /// The best chain of the curve within each of the settings' fractions, as recorded, and as a chain where it is known.
  private func readings(of chain: Subject) -> [(CurveReading, ChainPoint?)] {
    let curve = chain.points.isEmpty ? nil : ChainCurve(points: chain.points)
    let smallest = chain.points.map(\.keptFraction).min() ?? chain.recorded.map(\.keptFraction).min() ?? 1
    return settings.curveFractions.filter { $0 >= smallest }.compactMap { fraction in
      if let curve {
        let point = curve.answer(to: .keep(fraction: fraction)).point
        return (CurveReading(atMost: fraction, units: point.keptFraction, fidelity: point.binary), point)
      }
      let affordable = chain.recorded.filter { $0.keptFraction <= fraction }.map { ($0, $0.fidelity.binary) }
      guard let best = affordable.max(by: { ($0.1.agreement, -$0.1.divergence) < ($1.1.agreement, -$1.1.divergence) })
      else { return nil }
      return (CurveReading(atMost: fraction, units: best.0.keptFraction, fidelity: best.1), nil)
    }
  }

  /// Analysis B, of all masks.
  private func addOutside(
    _ record: inout RegionRecord, _ region: EvaluationRegion, _ masks: [UnitMethod: [UnitMask]], _ bench: MaskBench,
    progress: (Double) -> Void
  ) async throws {
    let methods = UnitMethod.allCases.filter { masks[$0] != nil }
    let all = [.dense(network.sites)] + methods.flatMap { masks[$0] ?? [] }
    let sets = [(region.unseen, true), (region.control, false)]
    for (number, (set, isUnseen)) in sets.enumerated() {
      guard let set else { continue }
      let logits = try await bench.runner.logits(of: set.region.samples, under: all) { done in
        progress((Double(number) + done) / Double(sets.count))
      }
      var measures = logits.map { rows in
        OutsideMeasures(
          outputs: OutputMeasures(dense: logits[0], masked: rows),
          accuracy: set.labels.map { accuracy(of: rows, labels: $0) },
          accuracyAmongClasses: isUnseen
            ? set.labels.flatMap { labels in
              region.classLabels.map { accuracy(of: rows, labels: labels, among: $0) }
            } : nil)
      }[...]
      let dense = measures.removeFirst()
      if isUnseen { record.denseUnseen = dense } else { record.denseControl = dense }
      for method in methods {
        let own = Array(measures.prefix(masks[method]?.count ?? 0))
        measures = measures.dropFirst(own.count)
        if isUnseen { record.methods[method]?.unseen = own } else { record.methods[method]?.control = own }
      }
    }
  }
}

extension CurveReading {
  /// What a curve itself says of a point.
  fileprivate init(atMost: Double, units: Double, fidelity: Fidelity) {
    self.init(
      atMost: atMost, kept: nil, units: units, agreement: fidelity.agreement, divergence: fidelity.divergence,
      cosine: nil, isConstant: fidelity.predictedClasses <= 1)
  }
}
