import CatenaCPU
import CatenaChains
import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors

/// The scores of one region after some steps.
struct Scores {
  var units: [Float]
  var blocks: [Float]

  /// The largest difference of two scores of the same unit or block.
  func distance(to other: Scores) -> Float {
    guard units.count == other.units.count, blocks.count == other.blocks.count else { return .infinity }
    return zip(units + blocks, other.units + other.blocks).reduce(0) { largest, pair in
      pair.0.isFinite && pair.1.isFinite ? max(largest, abs(pair.0 - pair.1)) : .infinity
    }
  }
}

extension ChainOptimizer {
  /// The scores of every region.
  func scores() async throws -> [Scores] {
    let units = try await executable.read(step.scores).rows
    guard let blockScores = step.blockScores else { return units.map { Scores(units: $0, blocks: []) } }
    return zip(units, try await executable.read(blockScores).rows).map { Scores(units: $0, blocks: $1) }
  }

  /// The gradients of all scores, but for a factor, in the step that follows where another one is: what Adam's first
  /// moments are after it when they were zero before. (The difference of two moments would only be known to the rounding
  /// of the older, larger ones.)
  func gradients(goingOnFrom other: ChainOptimizer) async throws -> [Float] {
    try await takeState(of: other)
    for input in firstMoments {
      try await executable.write(Tensor(zeros: step.program.graph.shape(input)), to: input)
    }
    try await advance(by: 1)
    var gradients: [Float] = []
    for input in firstMoments { gradients += try await executable.read(input).floats }
    return gradients
  }

  private var firstMoments: [ValueID] {
    step.program.graph.inputs.filter { step.program.graph[$0].name.hasSuffix("/first moment") }
  }

  /// Whether steps begin with the samples, not with what lies before the first gates.
  var readsSamples: Bool { step.program.graph.inputs.contains(step.samples) }

  /// Goes on from where another one is.
  func takeState(of other: ChainOptimizer) async throws {
    for (input, source) in zip(step.states, other.step.states) {
      try await executable.write(try await other.executable.read(source), to: input)
    }
  }

  /// Says which regions go on.
  func setActive(_ active: [Bool]) async throws {
    try await executable.write(Tensor(active.map { $0 ? Float(1) : 0 }, shape: [active.count, 1]), to: step.active)
  }
}

extension ChainProgram {
  /// Everything that is carried from step to step.
  fileprivate var states: [ValueID] { unitState + blockState + clockState }
}

extension Tensor {
  /// The rows along the first axis, flattened.
  var rows: [[Float]] {
    let width = elementCount / shape[0]
    let values = floats
    return (0..<shape[0]).map { Array(values[$0 * width..<($0 + 1) * width]) }
  }
}

/// An optimiser of some regions, each with its own aim.
func optimizer(
  _ model: ONNXModel, _ regions: [Region], keep: [Double], settings: ChainSettings,
  phase: ChainProgram.Phase = .soft, backend: any Backend = CPUBackend()
) async throws -> ChainOptimizer {
  let network = try ChainNetwork(model: model, batch: 4)
  let evaluator = try await ChainEvaluator(network: network, backend: backend, options: CompileOptions())
  var dense: [[[Float]]] = []
  for region in regions { dense.append(try await evaluator.denseLogits(of: region)) }
  return try await ChainOptimizer(
    network: network, regions: regions, dense: dense, keep: keep, settings: settings, phase: phase,
    backend: backend, options: CompileOptions())
}

/// An extractor on the processor.
func extractor(
  _ model: ONNXModel, settings: ChainSettings, batch: Int = 8, backend: any Backend = CPUBackend()
) throws -> ChainExtractor {
  ChainExtractor(network: try ChainNetwork(model: model, batch: batch), backend: backend, settings: settings)
}
