import CatenaCompute

/// What an extraction will do and how much memory its programs hold, known before it runs.
public struct ExtractionPlan: Sendable, Hashable, Codable {
  /// Units of the network.
  public var units: Int
  /// Residual branches of the network.
  public var blocks: Int
  /// Units of the smallest connected chain.
  public var smallestChain: Int
  /// Optimisation steps of a search whose chain finds every sample's class; where the smallest chain is looked for, those
  /// to the first one.
  public var steps: Int
  /// The most steps of one.
  public var mostSteps: Int
  /// Samples of the region.
  public var samples: Int
  /// Samples in one run of the step; larger regions take several.
  public var samplesPerRun: Int
  /// Samples in one run of the evaluator.
  public var samplesPerEvaluation: Int
  /// The bytes of the step's program, while it is as large as the network.
  public var step: MemoryPlan
  /// The bytes of the evaluator.
  public var evaluation: MemoryPlan
  /// The most bytes that the two may hold; `nil` for no limit.
  public var limit: Int?
  /// Both, which are held at once.
  public var total: Int { step.total + evaluation.total }
}

extension ChainExtractor {
  /// Plans the extraction of one region's chain as `chains(for:request:)` would begin it: with the batches that fit into
  /// the memory limit. Nothing is run.
  /// - Throws: What the extraction would throw before its first step, `ComputeError.outOfMemory` among them.
  public func plan(for region: Region, request: ChainRequest) async throws -> ExtractionPlan {
    try check(request)
    try check(region)
    let isFixed = network.model.fixedBatch != nil
    let evaluation = try await fitting(
      from: network.batch, downTo: isFixed ? network.batch : 1, evaluatorOptions
    ) { batch in
      let planned = try network.whole(forBatch: batch)
      return try await ChainEvaluator(network: planned, backend: backend, options: evaluatorOptions).memoryPlan
    }
    let step = try await fitting(from: settings.batch, downTo: isFixed ? settings.batch : 1, options) { batch in
      var settings = settings
      settings.batch = batch
      let planned = try network.whole(
        forBatch: RegionBatches.samplesPerRun(network: network, regions: [region], settings: settings))
      let isConstant = settings.variants == 0 && region.count <= planned.batch
      var memory: [MemoryPlan] = []
      if settings.draws > 0 {
        let program = try GateSensitivity.program(network: planned).program
        memory.append(try await backend.compile(program, options: options).memoryPlan)
      }
      for phase in settings.phases {
        let program = try ChainProgram(network: planned, regions: 1, settings: settings, phase: phase)
        memory += try await program.memoryPlans(isConstant: isConstant, backend: backend, options: options)
      }
      // One after the other is held, the second one cut to a part of the network: never more than the larger of them.
      return (memory: memory.max { $0.total < $1.total } ?? memory[0], samples: planned.batch)
    }
    let steps = steps(for: request)
    return ExtractionPlan(
      units: network.sites.unitCount, blocks: network.sites.blocks.count, smallestChain: selector.smallestCount,
      steps: steps.least, mostSteps: steps.most,
      samples: region.count, samplesPerRun: step.result.samples,
      samplesPerEvaluation: evaluation.batch, step: step.result.memory, evaluation: evaluation.result,
      limit: limit)
  }
}

extension ChainExtractor {
  /// The steps of a search whose chain finds every sample's class, and the most of one.
  private func steps(for request: ChainRequest) -> (least: Int, most: Int) {
    let size = size(for: request)
    guard settings.hasOtherSizes else { return (settings.steps, settings.mostSteps) }
    guard request.budget != nil else {
      let sizes = SizeSearch.most(first: size, smallest: selector.smallestSize, ratio: settings.sizeRatio)
      return (settings.steps, settings.steps + sizes * SizeWalk.mostTries * SizeWalk.patience * settings.sizeSteps)
    }
    let ladders = SizeWalk.curveSizes(around: [size], smallest: selector.smallestSize, ratio: settings.sizeRatio)
    let further = settings.steps(to: ladders)
    return (settings.steps + further, settings.mostSteps + further)
  }
}

extension ChainProgram {
  /// The bytes of what is held one after the other to make steps.
  /// - Parameter isConstant: whether every step reads the same samples.
  func memoryPlans(
    isConstant: Bool, backend: any Backend, options: CompileOptions
  ) async throws -> [MemoryPlan] {
    var step = self
    var plans: [MemoryPlan] = []
    if isConstant, let stem = step.takeStem() {
      plans.append(try await backend.compile(Program(stem), options: options).memoryPlan)
    }
    return plans + [try await backend.compile(step.program, options: options).memoryPlan]
  }
}

extension ChainExtractor {
  /// Halves batches as `halvingBatches` does. Where even the smallest needs more than its part of the memory limit, the
  /// error says which limit would do, and the whole limit.
  /// - Parameter options: of the program that `work` makes, with its part of the limit.
  func fitting<Result>(
    from batch: Int, downTo smallest: Int, _ options: CompileOptions, _ work: (Int) async throws -> Result
  ) async throws -> (result: Result, batch: Int) {
    do {
      return try await halvingBatches(from: batch, downTo: smallest, work)
    } catch ComputeError.outOfMemory(let requested, let available, let device) {
      throw ComputeError.outOfMemory(ofPart: options.memoryLimit, of: limit, (requested, available, device))
    }
  }
}

extension ComputeError {
  /// A lack of memory; where what was available is the part of a limit that a program has, with the limit that such a
  /// program needs and the whole limit.
  static func outOfMemory(
    ofPart part: Int?, of limit: Int?, _ lack: (requested: Int, available: Int, device: String)
  ) -> ComputeError {
    guard let part, let limit, part > 0, lack.available == part else {
      return .outOfMemory(requested: lack.requested, available: lack.available, device: lack.device)
    }
    let needed = Double(lack.requested) * (Double(limit) / Double(part))
    return .outOfMemory(requested: Int(needed.rounded(.up)), available: limit, device: lack.device)
  }
}

extension CompileOptions {
  /// The same for two programs that are held at once: of a memory limit the evaluator, which only runs forward, gets a
  /// quarter and the step, which keeps what its derivative reads, the rest. Chains are judged in full precision,
  /// whatever the step computes in.
  var sharedByStepAndEvaluator: (step: CompileOptions, evaluator: CompileOptions) {
    var (step, evaluator) = (self, self)
    evaluator.precision = .f32
    guard let limit = memoryLimit else { return (step, evaluator) }
    evaluator.memoryLimit = limit / 4
    step.memoryLimit = limit - limit / 4
    return (step, evaluator)
  }
}
