import CatenaAutodiff
import CatenaCompute
import CatenaGraph
import CatenaTensors

/// Runs a network with given gates on samples: masks for the binary mode, factors for the soft one.
///
/// Compiled once; the gates are inputs. One call at a time: gates and samples of two would mix.
public final class ChainEvaluator: Sendable {
  /// The network, planned for the evaluator's batch.
  let network: ChainNetwork
  private let executable: any Executable
  private let gated: GatedGraph
  private let samples: ValueID
  private let logits: ValueID

  /// Every byte that the evaluator holds.
  public var memoryPlan: MemoryPlan { executable.memoryPlan }

  /// Compiles the gated forward pass of `network`.
  public init(network: ChainNetwork, backend: any Backend, options: CompileOptions) async throws {
    gated = try network.graph.gated(network.sites, parametrization: .identity)
    logits = gated.graph.outputs[0]
    samples = gated.graph.inputs[0]
    self.network = network
    var graph = gated.graph
    graph.outputs = [logits]
    executable = try await backend.compile(Program(graph), options: options)
  }

  /// The logits, one row per sample, of the network in which unit and block gates are those given.
  public func logits(of region: Region, unitGates: [Float], blockGates: [Float]) async throws -> [[Float]] {
    try await executable.write(Tensor(unitGates, shape: [1, unitGates.count]), to: gated.scores)
    if let blockScores = gated.blockScores {
      try await executable.write(Tensor(blockGates, shape: [1, blockGates.count]), to: blockScores)
    }
    var rows: [[Float]] = []
    for range in Batches(size: network.batch, count: region.count).ranges {
      try await executable.write(region.samples.rows(range, filledTo: network.batch), to: samples)
      try await executable.run(steps: 1)
      rows += try await executable.read(logits).rowsOfFloats().prefix(range.count)
    }
    return rows
  }

  /// The logits of the dense network.
  public func denseLogits(of region: Region) async throws -> [[Float]] {
    let all = ChainSelector(sites: gated.sites).everything
    return try await logits(of: region, unitGates: all.unitFactors, blockGates: all.blockFactors)
  }

  /// The logits of a chain in binary mode: kept units exactly 1, all others 0.
  public func binaryLogits(of region: Region, _ selection: ChainSelection) async throws -> [[Float]] {
    try await logits(
      of: region, unitGates: selection.units.map { $0 ? 1 : 0 }, blockGates: selection.blocks.map { $0 ? 1 : 0 })
  }

  /// The logits of a chain in soft mode: kept units scaled by their scores.
  public func softLogits(of region: Region, _ selection: ChainSelection) async throws -> [[Float]] {
    try await logits(of: region, unitGates: selection.unitFactors, blockGates: selection.blockFactors)
  }
}

extension Tensor {
  /// The rows along the first axis, flattened, as floats.
  package func rowsOfFloats() -> [[Float]] {
    let values = floats
    let width = elementCount / max(shape[0], 1)
    return (0..<shape[0]).map { Array(values[($0 * width)..<(($0 + 1) * width)]) }
  }
}
