import CatenaAutodiff
import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors

/// How far an extraction is.
public struct ChainProgress: Sendable, Hashable {
  /// What is being done.
  public enum Stage: String, Sendable, Hashable, Codable { case preparing, optimizing, evaluating }
  /// What is being done.
  public var stage: Stage
  /// Units of work done in this stage.
  public var completed: Int
  /// Units of work in this stage.
  public var total: Int
  /// Divergence of the gated network from the dense one, the mean over regions, once known.
  public var divergence: Double?
  /// The mean of alpha S, the mean over regions, once known.
  public var size: Double?
}

/// What an extraction found for one region.
public struct ChainResult: Sendable {
  /// The region.
  public let region: Region
  /// What was asked.
  public let request: ChainRequest
  /// The answer.
  public let point: ChainPoint
  /// Whether the answer meets the request.
  public let isMet: Bool
  /// Everything that was evaluated.
  public let curve: ChainCurve
  /// The dense network's logits of the region.
  public let denseLogits: [[Float]]
  /// The chain's logits in binary mode.
  public let binaryLogits: [[Float]]
  /// The settings used; the batch is the one that fitted into memory.
  public let settings: ChainSettings
  /// What the search did that found it, alone or together with other regions in its programs.
  public let work: SearchWork
}

/// Extracts chains: optimises scores along a path from everything to the request, evaluates chains on the way as what
/// they are (kept units exactly 1), and answers from that curve.
public struct ChainExtractor: Sendable {
  let network: ChainNetwork
  let backend: any Backend
  /// Of the step's program.
  let options: CompileOptions
  /// Of the evaluator's, which is held beside it.
  let evaluatorOptions: CompileOptions
  let settings: ChainSettings
  let selector: ChainSelector

  /// An extractor for one network on one device.
  public init(
    network: ChainNetwork, backend: any Backend, settings: ChainSettings, options: CompileOptions = CompileOptions()
  ) {
    self.network = network
    self.backend = backend
    self.settings = settings.fitted(toUnits: network.sites.unitCount)
    (self.options, evaluatorOptions) = options.sharedByStepAndEvaluator
    selector = ChainSelector(sites: network.sites)
  }

  /// Extracts one chain per region. Several regions run side by side where the back end has lanes for that, each on a
  /// network that shrinks to its own units; elsewhere they are optimised in one batch, on a network with the units of
  /// all of them. What does not fit into memory is tried again with half as many samples per run, down to one of each
  /// region.
  /// - Parameter progress: told after every part of the work.
  /// - Throws: `ChainError.unreachable` for a budget below the smallest connected chain, naming it; `ComputeError`,
  ///   `.cancelled` among them.
  public func chains(
    for regions: [Region], request: ChainRequest, progress: @Sendable (ChainProgress) -> Void = { _ in }
  ) async throws -> [ChainResult] {
    guard !regions.isEmpty else { throw ChainError.mismatch("no region is given") }
    guard settings.steps > 0, settings.batch > 0, settings.curvePoints > 0, settings.sizeRatio > 1 else {
      throw ChainError.mismatch(
        "a search needs at least one step, one sample per step, one point of the curve and a ratio of sizes above 1")
    }
    try check(request)
    progress(ChainProgress(stage: .preparing, completed: 0, total: 1))
    let lanes = backend.lanes.prefix(regions.count)
    if regions.count > 1, !lanes.isEmpty {
      for region in regions { try check(region) }
      return try await sideBySide(regions, on: lanes.map { lane($0, of: lanes.count) }, request, progress)
    }
    return try await together(regions, request, progress)
  }

  /// The chains of all regions from programs that they share.
  private func together(
    _ regions: [Region], _ request: ChainRequest, _ progress: @Sendable (ChainProgress) -> Void
  ) async throws -> [ChainResult] {
    let log = ExtractionLog()
    let (evaluator, dense) = try await log.timed("dense network") { try await evaluated(regions) }
    let variants = try await variants(of: regions, evaluator)
    let (searches, batch) = try await fitting(
      from: self.settings.batch,
      downTo: network.model.fixedBatch == nil ? regions.count : self.settings.batch, options
    ) { batch in
      try await optimize(
        regions, dense: dense, variants: variants, request, self.settings.with(batch: batch), progress: progress)
    }
    let settings = self.settings.with(batch: batch)
    var results: [ChainResult] = []
    for (index, region) in regions.enumerated() {
      let evaluation = CurveEvaluation(
        evaluator: ShrinkingEvaluator(whole: evaluator, backend: backend, options: evaluatorOptions),
        selector: selector,
        region: region, dense: dense[index], settings: settings)
      let curve = try await log.timed("curve") {
        try await evaluation.curve(of: searches[index], size: size(for: request)) { completed, total in
          progress(
            ChainProgress(
              stage: .evaluating, completed: index * total + completed, total: regions.count * total))
        }
      }
      let answer = curve.answer(to: request)
      results.append(
        ChainResult(
          region: region, request: request, point: answer.point, isMet: answer.met, curve: curve,
          denseLogits: dense[index],
          binaryLogits: try await evaluator.binaryLogits(of: region, answer.point.selection), settings: settings,
          work: searches[index].work))
    }
    return results
  }

  /// The evaluator, and every region's logits of the dense network; in f32, whatever the search may use.
  private func evaluated(_ regions: [Region]) async throws -> (ChainEvaluator, [[[Float]]]) {
    for region in regions { try check(region) }
    let smallest = network.model.fixedBatch == nil ? 1 : network.batch
    return try await fitting(from: network.batch, downTo: smallest, evaluatorOptions) { batch in
      let planned = try network.whole(forBatch: batch)
      let evaluator = try await ChainEvaluator(network: planned, backend: backend, options: evaluatorOptions)
      var dense: [[[Float]]] = []
      for region in regions {
        let logits = try await evaluator.denseLogits(of: region)
        if let sample = logits.firstIndex(where: { !$0.allSatisfy(\.isFinite) }) {
          throw ChainError.mismatch(
            "the network's own outputs for '\(region.sampleNames[sample])' are not finite numbers: its weights are "
              + "damaged or the preprocessing is not the network's")
        }
        dense.append(logits)
      }
      return (evaluator, dense)
    }.result
  }

  /// What the search found of every region. Regions share one program unless the network's own batch does not divide
  /// into them.
  private func optimize(
    _ regions: [Region], dense: [[[Float]]], variants: [RegionVariants], _ request: ChainRequest,
    _ settings: ChainSettings, progress: @Sendable (ChainProgress) -> Void
  ) async throws -> [RegionSearch] {
    let isShared = network.model.fixedBatch.map { $0.isMultiple(of: regions.count) } ?? true
    let groups = isShared ? [regions.indices] : regions.indices.map { $0..<($0 + 1) }
    var searches: [RegionSearch] = []
    for group in groups {
      let done = group.lowerBound / group.count * settings.steps
      let search = ChainSearch(network: network, backend: backend, options: options, settings: settings)
      let found = try await search.paths(
        of: Array(regions[group]), dense: Array(dense[group]), variants: variants.map { $0.part(group) },
        keep: group.map { _ in size(for: request) }, agreement: request.budget == nil ? request.leastAgreement : nil
      ) { state in
        var state = state
        if state.stage == .optimizing {
          state.completed += done
          state.total += (groups.count - 1) * settings.steps
        }
        progress(state)
      }
      ExtractionLog().write(found.programs)
      searches += zip(found.paths, found.chains).map { RegionSearch(path: $0, chains: $1, work: found.work) }
    }
    return searches
  }

  /// Variants of the samples with the dense network's logits of them; none for samples that are not in f32.
  private func variants(of regions: [Region], _ evaluator: ChainEvaluator) async throws -> [RegionVariants] {
    var augmentations = regions.compactMap { RegionAugmentation(of: $0, blend: settings.blend, seed: settings.seed) }
    guard augmentations.count == regions.count else { return [] }
    var sets: [RegionVariants] = []
    let bytes = regions.map(\.samples.byteCount).reduce(0, +)
    for _ in 0..<min(settings.variants, settings.variantBytes / max(bytes, 1)) {
      var set = RegionVariants(regions: regions, dense: [])
      for index in regions.indices {
        set.regions[index].samples = Tensor(augmentations[index].variants(), shape: regions[index].samples.shape)
        set.dense.append(try await evaluator.denseLogits(of: set.regions[index]))
      }
      sets.append(set)
    }
    return sets
  }

  /// The part of the units that a search heads for.
  func size(for request: ChainRequest) -> Double {
    max(min(request.budget ?? settings.firstFraction, 1), selector.smallestSize)
  }

  func check(_ request: ChainRequest) throws(ChainError) {
    if let fraction = request.budget {
      guard fraction > 0, fraction <= 1 else {
        throw .unreachable("the part to keep must be above 0 % and at most 100 %, not \(percent(fraction))")
      }
      let units = network.sites.unitCount
      let budget = Int((fraction * Double(units)).rounded(.down))
      guard budget >= selector.smallestCount else {
        throw .unreachable(
          "\(percent(fraction)) of \(units) units are \(budget); the smallest connected chain of this network has "
            + "\(selector.smallestCount) (\(percent(selector.smallestSize, roundedUp: true)))")
      }
    }
    if let fraction = request.leastAgreement {
      guard fraction > 0, fraction <= 1 else {
        throw .unreachable("the agreement must be above 0 % and at most 100 %, not \(percent(fraction))")
      }
    }
  }

  func check(_ region: Region) throws(ChainError) {
    let input = network.graph.type(network.graph.inputs[0])
    let expected = Array(input.shape.dimensions.dropFirst())
    guard Array(region.samples.shape.dimensions.dropFirst()) == expected,
      region.samples.elementType == input.elementType
    else {
      throw .mismatch(
        "the samples of '\(region.name)' are \(region.samples.elementType.rawValue) \(region.samples.shape), the network "
          + "reads \(input.elementType.rawValue) \(Shape([region.count] + expected)): choose another --preprocess")
    }
  }
}

/// What a search found of one region.
struct RegionSearch: Sendable {
  let path: [ScoreSnapshot]
  /// Chains of other sizes.
  let chains: [ScoreSnapshot]
  let work: SearchWork
}

extension ChainSettings {
  fileprivate func with(batch: Int) -> ChainSettings {
    var result = self
    result.batch = batch
    return result
  }
}

/// A fraction as people write it.
func percent(_ fraction: Double, roundedUp: Bool = false) -> String {
  let tenths = (fraction * 1000).rounded(roundedUp ? .up : .toNearestOrEven) / 10
  return "\(tenths) %"
}
