import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaReference
import CatenaTensors

/// A network made ready for traces: its graph for one batch size, ending in logits, and the layers to prune.
public struct TraceNetwork: Sendable {
  /// The file that the network came from.
  public let model: ONNXModel
  /// The graph; its only output is the logits.
  public let graph: Graph
  /// Images per run.
  public let batch: Int
  /// Every convolution but the stem, and every linear layer, in the graph's order (SPADE, section 3).
  public let layers: [TraceLayer]
  /// Mixing layers that are left dense, with the reason.
  public let untouched: [UntouchedLayer]

  /// Imports `model` for batches of `batch` images, or of its own fixed size.
  /// - Throws: `ONNXError` for what cannot be imported; `TraceError.unsuitable` when the network does not have one input
  ///   of RGB images and one row of logits per image, or has no layer to prune.
  public init(model: ONNXModel, batch: Int) throws {
    self.model = model
    graph = try Self.graph(of: model, batch: model.fixedBatch ?? batch)
    self.batch = graph.shape(graph.inputs[0])[0]
    var search = LayerSearch(graph)
    search.run()
    (layers, untouched) = (search.layers, search.untouched)
    guard !layers.isEmpty else {
      throw TraceError.unsuitable("the network has no convolution behind the first and no linear layer to prune")
    }
  }

  /// Height and width of the network's input.
  public var imageSize: (height: Int, width: Int) {
    let shape = graph.shape(graph.inputs[0])
    return (shape[2], shape[3])
  }

  /// The same network for `batch` images per run, unless its file fixes another number.
  func rebatched(_ batch: Int) throws -> TraceNetwork {
    batch == self.batch || model.fixedBatch != nil ? self : try TraceNetwork(model: model, batch: batch)
  }

  /// The graph with other weights in some layers: matrices of float32 [rows, columns] by index of the layer.
  func replacing(_ weights: [Int: Tensor]) -> Graph {
    var result = graph
    var taken: ValueSet = []
    for (index, layer) in layers.enumerated() {
      guard let matrix = weights[index], let original = graph.constants[layer.weights] else { continue }
      let constant = layer.constant(matrix, like: original)
      let isShared = graph.nodes.reduce(0) { $0 + $1.inputs.filter { $0 == layer.weights }.count } > 1
      if isShared {
        // Readers of one constant may come to differ: each gets its own.
        let own = result.addConstant(taken.contains(layer.weights) ? "\(layer.name)/weight" : layer.name, constant)
        var nodes = result.nodes
        nodes[layer.node].inputs[1] = own
        result.rebuild(nodes: nodes, constants: result.constants)
      } else {
        result.replaceConstant(layer.weights, with: constant)
      }
      taken.insert(layer.weights)
    }
    return result
  }

  private static func graph(of model: ONNXModel, batch: Int) throws -> Graph {
    var graph = try model.graph(batch: batch)
    guard graph.inputs.count == 1, let output = graph.outputs.first else {
      throw TraceError.unsuitable(
        "the network has \(graph.inputs.count) inputs and \(graph.outputs.count) outputs; a trace needs one input")
    }
    let input = graph.type(graph.inputs[0])
    guard input.elementType == .float32, input.shape.rank == 4, input.shape[1] == 3, input.shape[0] == batch else {
      throw TraceError.unsuitable(
        "the network reads \(input); a trace needs float32 images of three channels, as augmentations are pictures")
    }
    let logits = graph.logits(behind: output)
    let shape = graph.shape(logits)
    guard shape.rank >= 2, shape[0] == batch, shape.dimensions.dropFirst().max() == shape.elementCount / batch,
      graph.type(logits).elementType.isFloatingPoint
    else {
      throw TraceError.unsuitable(
        "the output '\(graph[output].name)' has the shape \(shape): a trace needs one row of logits per image")
    }
    graph.outputs = [logits]
    // Weights that the file makes of others, as by a cast, are weights.
    return try graph.pruned().foldingConstants()
  }
}

/// Finds the layers of a graph.
private struct LayerSearch {
  let graph: Graph
  var layers: [TraceLayer] = []
  var untouched: [UntouchedLayer] = []
  /// Values that no mixing layer stands before.
  private var unmixed: ValueSet

  init(_ graph: Graph) {
    self.graph = graph
    unmixed = ValueSet(graph.inputs).union(graph.constants.keys)
  }

  mutating func run() {
    for (index, node) in graph.nodes.enumerated() {
      guard isMixing(node.operation) else {
        if node.inputs.allSatisfy(unmixed.contains) { unmixed.formUnion(node.outputs) }
        continue
      }
      let name = graph[node.outputs[0]].name
      switch finding(node, index, name) {
      case .layer(let layer): layers.append(layer)
      case .untouched(let reason): untouched.append(UntouchedLayer(name: name, reason: reason))
      }
    }
  }

  private enum Finding {
    case layer(TraceLayer)
    case untouched(String)
  }

  private func isMixing(_ operation: Operator) -> Bool {
    switch operation {
    case .convolution, .convolutionTranspose, .gemm, .matmul: true
    default: false
    }
  }

  private func finding(_ node: Node, _ index: Int, _ name: String) -> Finding {
    let (input, weights) = (node.inputs[0], node.inputs[1])
    guard let constant = graph.constants[weights] else {
      return .untouched("its second operand is computed: there are no weights")
    }
    guard graph.constants[input] == nil else { return .untouched("its input is a constant") }
    guard graph.type(input).elementType.isFloatingPoint else { return .untouched("it computes with integers") }
    func made(_ geometry: LayerGeometry, _ form: TraceLayer.Form) -> Finding {
      .layer(TraceLayer(name: name, node: index, weights: weights, geometry: geometry, form: form, input: input))
    }
    switch node.operation {
    case .convolution(let convolution):
      guard !unmixed.contains(input) else { return .untouched("it is the stem convolution") }
      guard graph.shape(input)[0] == batch else {
        return .untouched("it reads \(graph.shape(input)[0]) images of \(batch): parts of them are not told apart")
      }
      let source = Array(graph.shape(input).dimensions.dropFirst(2))
      guard source.count <= 2 else { return .untouched("it has \(source.count) spatial axes; 1 or 2 are supported") }
      let destination = Array(graph.shape(node.outputs[0]).dimensions.dropFirst(2))
      return made(
        LayerGeometry(convolution, weights: constant.shape, source: source, destination: destination), .rows)
    case .gemm(let gemm):
      let rows = gemm.transposeB ? constant.shape[0] : constant.shape[1]
      let features = gemm.transposeB ? constant.shape[1] : constant.shape[0]
      let tokens = graph.shape(input).elementCount / features / batch
      let form: TraceLayer.Form =
        gemm.transposeA ? .transposedInput(isRowMajor: gemm.transposeB) : gemm.transposeB ? .rows : .columns
      return made(LayerGeometry(linear: rows, features: features, tokens: tokens), form)
    case .matmul:
      guard constant.shape.rank == 2 else { return .untouched("its weights have the shape \(constant.shape)") }
      let tokens = graph.shape(input).elementCount / constant.shape[0] / batch
      return made(LayerGeometry(linear: constant.shape[1], features: constant.shape[0], tokens: tokens), .columns)
    default: return .untouched("transposed convolutions are not pruned")
    }
  }

  private var batch: Int { max(1, graph.shape(graph.inputs[0])[0]) }
}
