import CatenaAutodiff
import CatenaFormats
import CatenaGraph

/// A network made ready for chains: its graph for the planned batch, ending in logits, and its units.
public struct ChainNetwork: Sendable {
  /// The graph; its only output is the logits.
  public let graph: Graph
  /// Units and residual branches.
  public let sites: GateSites
  /// Samples per run.
  public let batch: Int
  /// The file that the network came from.
  public let model: ONNXModel

  /// Imports `model` for batches of `batch` samples, or of its own fixed size.
  /// - Throws: `ONNXError` for what cannot be imported; `ChainError` when the network does not have one input of
  ///   samples and one output of logits, or has nothing to leave out.
  public init(model: ONNXModel, batch: Int) throws {
    self.model = model
    self.batch = model.fixedBatch ?? batch
    var graph = try model.graph(batch: self.batch)
    guard graph.inputs.count == 1, let output = graph.outputs.first else {
      throw ChainError.unsupportedOutput(
        "the network has \(graph.inputs.count) inputs and \(graph.outputs.count) outputs; a chain needs one input")
    }
    let logits = graph.logits(behind: output)
    let shape = graph.shape(logits)
    guard shape.rank >= 2, shape[0] == self.batch, graph.type(logits).elementType.isFloatingPoint else {
      throw ChainError.unsupportedOutput(
        "the output '\(graph[output].name)' has the shape \(shape): a chain needs one row of logits per sample")
    }
    graph.outputs = [logits]
    self.graph = graph.pruned()
    sites = self.graph.gateSites()
    guard sites.unitCount > 0 else { throw ChainError.noUnits }
  }
}

extension Graph {
  /// The value that a final softmax reads, or the output itself.
  fileprivate func logits(behind output: ValueID) -> ValueID {
    guard let node = nodes.last(where: { $0.outputs.contains(output) }) else { return output }
    switch node.operation {
    case .softmax, .logSoftmax, .identity: return logits(behind: node.inputs[0])
    default: return output
    }
  }
}
