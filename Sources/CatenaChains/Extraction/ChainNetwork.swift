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
    graph = try Self.graph(of: model, batch: batch)
    self.batch = graph.shape(graph.inputs[0])[0]
    sites = Self.sites(of: graph, model, batch: self.batch)
    guard sites.unitCount > 0 else { throw ChainError.noUnits }
  }

  /// The units, the same for every batch: with one sample alone an axis of one element may be anything's, so that the graph
  /// for two is asked, where the file has one: it may state a batch of one inside.
  private static func sites(of graph: Graph, _ model: ONNXModel, batch: Int) -> GateSites {
    guard batch == 1, model.fixedBatch == nil, let two = try? Self.graph(of: model, batch: 2),
      two.nodes.map(\.outputs) == graph.nodes.map(\.outputs)
    else { return graph.gateSites() }
    return two.gateSites()
  }

  /// The whole network for batches of another size; itself, with the weights that it holds, where they are its own.
  func whole(forBatch batch: Int) throws -> ChainNetwork {
    (model.fixedBatch ?? batch) == self.batch ? self : try ChainNetwork(model: model, batch: batch)
  }

  /// Part of a network, ready for the same batch.
  init(graph: Graph, sites: GateSites, batch: Int, model: ONNXModel) {
    self.graph = graph
    self.sites = sites
    self.batch = batch
    self.model = model
  }

  /// The graph of a network that has one input, samples, and ends in one row of logits per sample.
  static func graph(of model: ONNXModel, batch: Int) throws -> Graph {
    let batch = model.fixedBatch ?? batch
    var graph = try model.graph(batch: batch)
    guard graph.inputs.count == 1, let output = graph.outputs.first else {
      throw ChainError.unsupportedOutput(
        "the network has \(graph.inputs.count) inputs and \(graph.outputs.count) outputs; a chain needs one input")
    }
    let logits = graph.logits(behind: output)
    let shape = graph.shape(logits)
    guard graph.shape(graph.inputs[0]).rank > 0, graph.shape(graph.inputs[0])[0] == batch, shape.rank >= 2,
      shape[0] == batch, shape.dimensions.dropFirst().max() == shape.elementCount / batch,
      graph.type(logits).elementType.isFloatingPoint
    else {
      throw ChainError.unsupportedOutput(
        "the output '\(graph[output].name)' has the shape \(shape): a chain needs one row of logits per sample")
    }
    guard shape.elementCount > batch else {
      throw ChainError.unsupportedOutput(
        "the output '\(graph[output].name)' is one number per sample: a chain needs the logits of two classes or more, as "
          + "one class is certain whatever the network computes")
    }
    guard !graph.endsInSigmoid(output) else {
      throw ChainError.unsupportedOutput(
        "the output '\(graph[output].name)' ends in a sigmoid: labels of which several may hold. A chain keeps the one class "
          + "of a sample, and needs logits that a softmax is taken of")
    }
    graph.outputs = [logits]
    return graph.pruned()
  }
}
