import CatenaAutodiff
import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors

/// Explains one network: a dense one, a chain or a trace, which are all networks.
///
/// Every method is a compiled program that is replayed: compiled when a method first needs it for a number of rows, and
/// kept while it is among the last twelve used. The network itself is never changed. Calls are served one after another.
public actor Explainer {
  private let model: ONNXModel
  private let constants: [String: Tensor]
  private let backend: any Backend
  private let options: CompileOptions
  private static let mostPrograms = 12
  /// The most steps, copies, masks or perturbations of an image.
  private static let mostRuns = 100_000
  /// Most recently used last.
  private var programs: [(kind: ProgramKind, program: CompiledProgram)] = []
  private var isBusy = false
  private var waiting: [CheckedContinuation<Void, Never>] = []

  /// The most rows that one run of a program takes; longer work runs in parts.
  public let batch: Int
  /// The extents of one sample: C x spatial.
  public nonisolated let sampleShape: Shape
  /// The number of classes.
  public nonisolated let classCount: Int

  /// Prepares explanations of `model`.
  /// - Parameters:
  ///   - model: One float32 image in, one row of class scores out. A softmax at the end is left off.
  ///   - constants: Values by name that replace the model's own of the same shape: the weights of a trace.
  ///   - backend: What runs the programs.
  ///   - options: How programs are compiled; the memory limit is that of all that are kept.
  ///   - batch: The most rows per run; `nil` for about four million input values, at most 64 rows.
  /// - Throws: `ExplanationError` when the network has another form.
  public init(
    model: ONNXModel, replacing constants: [String: Tensor] = [:], backend: any Backend,
    options: CompileOptions = CompileOptions(), batch: Int? = nil
  ) throws(ExplanationError) {
    let network = try ExplainedNetwork(model: model, replacing: constants, batch: model.fixedBatch ?? 1)
    self.model = model
    self.constants = constants
    self.backend = backend
    self.options = options
    let sample = Shape(Array(network.inputType.shape.dimensions.dropFirst()))
    sampleShape = sample
    classCount = network.classCount
    self.batch = model.fixedBatch ?? batch ?? max(1, min(64, (1 << 21) / max(sample.elementCount, 1)))
  }

  /// The name of the value that class activation maps read by default, and its shape.
  public func layer(named name: String?) throws(ExplanationError) -> (name: String, shape: Shape) {
    let network = try ExplainedNetwork(model: model, replacing: constants, batch: model.fixedBatch ?? 1)
    let layer = try network.layer(named: name)
    return (network.graph[layer].name, network.graph.shape(layer))
  }

  /// What all compiled programs hold now, in bytes.
  public var heldBytes: Int { programs.map(\.program.executable.memoryPlan.total).reduce(0, +) }

  /// The scores of all classes, N x K, before a softmax.
  /// - Parameter samples: float32, N x C x spatial.
  public func logits(of samples: Tensor) async throws(ExplanationError) -> Tensor {
    try check(samples)
    return try await alone { () async throws(ExplanationError) in
      let rows = try await self.forward(Samples(samples))
      return Tensor(rows, shape: [samples.shape[0], self.classCount])
    }
  }

  /// Explains each sample's target.
  /// - Parameters:
  ///   - samples: float32, N x C x spatial, preprocessed as the network reads them.
  ///   - method: How.
  ///   - targets: One class per sample, from 0; `nil` for the class that this network predicts.
  ///   - settings: The arguments of the methods.
  /// - Returns: the relevance of every input value, of the samples' shape, or with one channel.
  /// - Throws: `ExplanationError`; a cancelled task ends in `.compute(.cancelled)`.
  public func attribution(
    of samples: Tensor, method: AttributionMethod, targets: [Int]? = nil,
    settings: AttributionSettings = AttributionSettings()
  ) async throws(ExplanationError) -> Attribution {
    try check(samples)
    try check(settings, targets, count: samples.shape[0])
    return try await alone { () async throws(ExplanationError) in
      let samples = Samples(samples)
      var logits: [Float]?
      let classes: [Int]
      if let targets {
        classes = targets
      } else {
        let found = try await self.forward(samples)
        classes = (0..<samples.count).map { found.largest(in: $0 * self.classCount..<($0 + 1) * self.classCount) }
        logits = found
      }
      let job = AttributionJob(
        samples: samples, targets: classes, method: method, settings: settings, logits: logits)
      let result = try await self.explain(job)
      guard result.relevance.withElements(of: Float.self, { $0.allSatisfy(\.isFinite) }) else {
        throw ExplanationError.unsuitableNetwork(
          "the map of \(method.rawValue) holds NaN or infinite numbers: look at the network's weights")
      }
      return result
    }
  }

  private func explain(_ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    switch job.method {
    case .saliency: try await saliency(job)
    case .inputTimesGradient: try await inputTimesGradient(job)
    case .integratedGradients: try await integratedGradients(job)
    case .gradientSHAP: try await gradientSHAP(job)
    case .smoothGrad: try await smoothGrad(job)
    case .guidedBackpropagation: try await gradient(job, .guidedBackpropagation)
    case .deconvolution: try await gradient(job, .deconvolution)
    case .gradCAM: try await gradCAM(job)
    case .guidedGradCAM: try await guidedGradCAM(job)
    case .deepLIFT: try await deepLIFT(job)
    case .lrp:
      try await relevance(
        job, RelevanceKind(biasesShare: job.settings.biasesShareRelevance, bounds: job.settings.inputBounds))
    case .lrpEpsilon: try await relevance(job, RelevanceKind(epsilon: job.settings.epsilon, biasesShare: true))
    case .occlusion: try await occlusion(job)
    case .lime: try await lime(job)
    case .rise: try await rise(job)
    case .scoreCAM: try await scoreCAM(job)
    }
  }

  // MARK: - Programs

  /// The program of `kind` for about `rows` rows: as many as the batch allows, in equal parts.
  func program(
    _ kind: ProgramKind, rows: Int, for method: AttributionMethod
  ) async throws(ExplanationError) -> CompiledProgram {
    let parts = (rows + batch - 1) / batch
    let size = model.fixedBatch ?? ((rows + parts - 1) / parts)
    if let known = programs.firstIndex(where: { $0.kind == kind && $0.program.batch == size }) {
      programs.append(programs.remove(at: known))
      return programs[programs.count - 1].program
    }
    if programs.count == Self.mostPrograms { programs.removeFirst() }
    let network = try ExplainedNetwork(model: model, replacing: constants, batch: size)
    let plan = try ExplanationGraph(kind, of: network, for: method)
    do throws(ComputeError) {
      let program = CompiledProgram(plan, executable: try await executable(of: plan.graph, for: kind))
      programs.append((kind, program))
      return program
    } catch { throw .compute(error) }
  }

  /// Compiles within what the programs that are kept leave of the memory limit; they go, the oldest first, where that is
  /// too little.
  private func executable(of graph: Graph, for kind: ProgramKind) async throws(ComputeError) -> any Executable {
    while true {
      var options = options(for: kind)
      if let limit = options.memoryLimit { options.memoryLimit = max(limit - heldBytes, 0) }
      do throws(ComputeError) {
        return try await backend.compile(Program(graph), options: options)
      } catch {
        guard case .outOfMemory = error, !programs.isEmpty else { throw error }
        programs.removeFirst()
      }
    }
  }

  /// DeepLIFT asks where two runs differ, and which of a window's equal values comes first: what is equal must be so in
  /// its last digit, on a constant baseline above all.
  private func options(for kind: ProgramKind) -> CompileOptions {
    var options = options
    if kind == .deepLIFT { options.allowsMinimalFiltering = false }
    return options
  }

  /// The scores of all samples, row by row.
  func forward(_ samples: Samples) async throws(ExplanationError) -> [Float] {
    var logits: [Float] = []
    logits.reserveCapacity(samples.count * classCount)
    try await stream(
      .forward, rows: samples.count, for: .saliency, input: { samples.copy($0, to: $1) },
      consume: { _, row in logits.append(contentsOf: row.logits) })
    guard logits.allSatisfy(\.isFinite) else {
      throw .unsuitableNetwork("the logits hold NaN or infinite numbers: look at its weights and at --preprocess")
    }
    return logits
  }

  // MARK: - One call at a time

  private func alone<Result: Sendable>(
    _ work: () async throws(ExplanationError) -> Result
  ) async throws(ExplanationError) -> Result {
    if isBusy { await withCheckedContinuation { waiting.append($0) } }
    isBusy = true
    defer {
      if waiting.isEmpty { isBusy = false } else { waiting.removeFirst().resume() }
    }
    return try await work()
  }

  // MARK: - Checks

  private func check(_ samples: Tensor) throws(ExplanationError) {
    guard samples.elementType == .float32, samples.shape.rank == sampleShape.rank + 1, samples.shape[0] > 0,
      Array(samples.shape.dimensions.dropFirst()) == sampleShape.dimensions
    else {
      throw .unsuitableSamples(
        "the samples are \(samples.elementType.rawValue) \(samples.shape), the network reads float32 \(sampleShape) per "
          + "sample: choose another --preprocess")
    }
    guard samples.withElements(of: Float.self, { $0.allSatisfy(\.isFinite) }) else {
      throw .unsuitableSamples("the samples hold numbers that are not finite: nothing can be said of them")
    }
  }

  private func check(_ settings: AttributionSettings, _ targets: [Int]?, count: Int) throws(ExplanationError) {
    if let targets {
      guard targets.count == count else {
        throw .badArgument("there are \(targets.count) targets for \(count) samples; one per sample is needed")
      }
      if let wrong = targets.first(where: { !(0..<classCount).contains($0) }) {
        throw .badArgument("there is no class \(wrong); the network has \(classCount), counted from 0")
      }
    }
    if let baseline = settings.baseline, baseline.shape != sampleShape || baseline.elementType != .float32 {
      throw .badArgument("the baseline is \(baseline.shape); a sample is float32 \(sampleShape)")
    }
    let counts = [
      ("steps", settings.steps), ("noise samples", settings.noiseSamples), ("LIME's samples", settings.limeSamples),
      ("LIME's segments", settings.segments), ("masks", settings.masks), ("mask cells", settings.maskCells),
    ]
    if let wrong = counts.first(where: { $0.1 < 1 }) { throw .badArgument("\(wrong.0) must be at least 1") }
    guard settings.maskProbability > 0, settings.maskProbability <= 1 else {
      throw .badArgument("the mask probability must be above 0 and at most 1")
    }
    if let wrong = counts.first(where: { $0.1 > Self.mostRuns }) {
      throw .badArgument("\(wrong.0) must be at most \(Self.mostRuns)")
    }
    let spatial = sampleShape.rank - 1
    for (name, extents) in [("window", settings.window), ("strides", settings.strides)] {
      guard let extents else { continue }
      guard extents.count == spatial, extents.allSatisfy({ $0 > 0 }) else {
        throw .badArgument("occlusion's \(name) needs \(spatial) numbers above 0")
      }
    }
    let window = OcclusionWindows.window(settings, extents: Array(sampleShape.dimensions.dropFirst()))
    if let strides = settings.strides, let axis = strides.indices.first(where: { strides[$0] > window[$0] }) {
      throw .badArgument(
        "occlusion's stride of \(strides[axis]) leaves pixels out between windows of \(window[axis]): it must be at most "
          + "that")
    }
  }
}

/// One request, as the methods read it.
struct AttributionJob: Sendable {
  let samples: Samples
  let targets: [Int]
  let method: AttributionMethod
  let settings: AttributionSettings
  /// The logits, where they are known already.
  let logits: [Float]?

  var count: Int { samples.count }

  /// The baseline as C x spatial numbers.
  var baseline: [Float] {
    settings.baseline?.elements(of: Float.self) ?? [Float](repeating: 0, count: samples.size)
  }
}

/// The samples of a request.
struct Samples: Sendable {
  let tensor: Tensor
  /// The number of samples.
  var count: Int { tensor.shape[0] }
  /// Values per sample.
  var size: Int { tensor.elementCount / tensor.shape[0] }
  /// Channels.
  var channels: Int { tensor.shape[1] }
  /// Height and width; a missing height is 1.
  var mapSize: (height: Int, width: Int) {
    let spatial = tensor.shape.dimensions.dropFirst(2)
    return (spatial.dropLast().reduce(1, *), spatial.last ?? 1)
  }

  init(_ tensor: Tensor) { self.tensor = tensor }

  /// The values of one sample.
  subscript(sample: Int) -> [Float] {
    tensor.withElements(of: Float.self) { Array($0[sample * size..<(sample + 1) * size]) }
  }

  func copy(_ sample: Int, to target: UnsafeMutableBufferPointer<Float>) {
    tensor.withElements(of: Float.self) { values in
      _ = target.update(fromContentsOf: values[sample * size..<(sample + 1) * size])
    }
  }
}

extension [Float] {
  /// The index, counted from the range's start, of the largest element; the first of equal ones.
  func largest(in range: Range<Int>) -> Int {
    var best = range.lowerBound
    for index in range where self[index] > self[best] { best = index }
    return best - range.lowerBound
  }
}
