import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors

/// Runs a network as it is on samples: inference. One call at a time: the samples of two would mix.
public final class NetworkRunner: Sendable {
  private let executable: any Executable
  private let input: ValueID
  private let output: ValueID
  private let inputType: TensorType
  private let batch: Int
  /// Whether the outputs are probabilities of labels, of which several may hold: no softmax is to be taken of them.
  public let givesLabels: Bool

  /// Samples are expected with these extents behind the first axis.
  public var sampleShape: Shape { Shape(Array(inputType.shape.dimensions.dropFirst())) }
  /// Every byte that the runner holds.
  public var memoryPlan: MemoryPlan { executable.memoryPlan }

  /// Compiles `model` for batches of `batch` samples, or of its own fixed size.
  public convenience init(
    model: ONNXModel, batch: Int, backend: any Backend, options: CompileOptions = CompileOptions()
  ) async throws {
    let batch = model.fixedBatch ?? batch
    var graph = try model.graph(batch: batch)
    guard graph.inputs.count == 1, let first = graph.outputs.first else {
      throw ChainError.unsupportedOutput(
        "the network has \(graph.inputs.count) inputs and \(graph.outputs.count) outputs; one input and one row of "
          + "outputs per sample are needed")
    }
    guard graph.shape(first).rank > 0, graph.shape(first)[0] == batch else {
      throw ChainError.unsupportedOutput(
        "for \(batch) samples the output '\(graph[first].name)' has the shape \(graph.shape(first)): one row of outputs per "
          + "sample is needed; a file that states another batch inside does not work with this one")
    }
    // A softmax over parts of a row, as over the two classes of every anchor, is no softmax of logits.
    let logits = graph.logits(behind: first)
    let shape = graph.shape(logits)
    let isRow = shape.rank > 1 && shape[0] == batch && shape.dimensions.dropFirst().max() == shape.elementCount / batch
    let givesLabels = graph.endsInSigmoid(first)
    graph.outputs = [isRow ? logits : first]
    try await self.init(graph: graph.pruned(), backend: backend, options: options, givesLabels: givesLabels)
  }

  /// Compiles a graph with one input and one output that has a row per sample.
  init(graph: Graph, backend: any Backend, options: CompileOptions, givesLabels: Bool = false) async throws {
    self.givesLabels = givesLabels
    input = graph.inputs[0]
    inputType = graph.type(input)
    output = graph.outputs[0]
    batch = inputType.shape[0]
    executable = try await backend.compile(Program(graph), options: options)
  }

  /// The first output, or what its softmax reads, one row per sample.
  public func logits(of region: Region) async throws -> [[Float]] {
    guard Array(region.samples.shape.dimensions.dropFirst()) == sampleShape.dimensions,
      region.samples.elementType == inputType.elementType
    else {
      throw ChainError.mismatch(
        "the samples are \(region.samples.elementType.rawValue) \(region.samples.shape), the network reads "
          + "\(inputType.elementType.rawValue) \(sampleShape) per sample: choose another --preprocess")
    }
    var rows: [[Float]] = []
    for range in Batches(size: batch, count: region.count).ranges {
      try await executable.write(region.samples.rows(range, filledTo: batch), to: input)
      try await executable.run(steps: 1)
      rows += try await executable.read(output).rowsOfFloats().prefix(range.count)
    }
    return rows
  }
}
