import CatenaGraph
import CatenaTensors

extension ONNXModel {
  /// The network for inputs of `batch` samples.
  ///
  /// Nodes keep ONNX's meaning and axes; `Node.source` is the index of the file's node, values carry the file's names
  /// and constants those of their initialisers. What the results do not need is left out.
  /// - Throws: `ONNXError.unsupported` with every node that cannot be imported; `.binding` when the file fixes another
  ///   batch or leaves another extent open; `.node` for a node that breaks its operator's rules.
  public func graph(batch: Int) throws(ONNXError) -> Graph {
    guard batch > 0 || batch == fixedBatch else {
      throw .binding("a batch of \(batch) samples cannot be: it must be 1 or more")
    }
    if let fixedBatch, fixedBatch != batch {
      throw .binding("the model's batch is fixed at \(fixedBatch); run \(batch) samples in parts of \(fixedBatch)")
    }
    var types: [(name: String, type: TensorType)] = []
    for input in inputs { types.append((input.name, try type(of: input, batch: batch))) }
    var importer = GraphImporter(self)
    return try importer.run(inputs: types)
  }

  /// The model with open extents other than the batch fixed, by their names in the file.
  public func bindingDimensions(_ extents: [String: Int]) throws(ONNXError) -> ONNXModel {
    var proto = proto
    for input in proto.graph.input.indices {
      for axis in proto.graph.input[input].type.tensorType.shape.dim.indices {
        guard case .dimParam(let name)? = proto.graph.input[input].type.tensorType.shape.dim[axis].value,
          let extent = extents[name]
        else { continue }
        guard extent > 0 else { throw .binding("the extent '\(name)' cannot be \(extent)") }
        proto.graph.input[input].type.tensorType.shape.dim[axis].dimValue = Int64(extent)
      }
    }
    return try ONNXModel(proto, directory: nil, replacements: initializers)
  }

  /// The model with inputs turned into constants, for example shapes and axes that must be known on import.
  public func bindingInputs(_ tensors: [String: Tensor]) throws(ONNXError) -> ONNXModel {
    var proto = proto
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
      guard let input = inputs.first(where: { $0.name == name }) else {
        throw .binding("the model has no input '\(name)' to bind")
      }
      guard input.elementType == nil || input.elementType == tensor.elementType else {
        throw .binding("the input '\(name)' does not hold \(tensor.elementType.rawValue)")
      }
      var header = Onnx_TensorProto()
      header.name = name
      header.dims = tensor.shape.dimensions.map(Int64.init)
      header.dataType = tensor.elementType.onnxCode
      proto.graph.initializer.append(header)
    }
    return try ONNXModel(
      proto, directory: nil, replacements: initializers.merging(tensors) { $1 })
  }

  /// The type of an input for a batch. The first axis of the first input is the batch, and so is every other axis of
  /// that name, and every other input's first axis without a name.
  private func type(of input: Port, batch: Int) throws(ONNXError) -> TensorType {
    guard let elementType = input.elementType else {
      throw .binding("the input '\(input.name)' is no tensor of a supported element type")
    }
    guard let dimensions = input.dimensions else {
      throw .binding("the file does not say the shape of the input '\(input.name)'")
    }
    let batchName: String? = if case .symbolic(let name)? = inputs.first?.dimensions?.first { name } else { nil }
    var extents: [Int64] = []
    for (axis, dimension) in dimensions.enumerated() {
      switch dimension {
      case .fixed(let extent): extents.append(Int64(extent))
      case .symbolic(let name) where name.isEmpty ? axis == 0 : name == batchName: extents.append(Int64(batch))
      case .symbolic(let name):
        throw .binding(
          "the extent '\(name)' (axis \(axis)) of the input '\(input.name)' is open; only the batch may be: "
            + "export the network with a fixed one, or bind it first"
        )
      }
    }
    do throws(NodeFailure) { return TensorType(elementType, try ONNXLimits.shape(extents)) } catch {
      throw .malformed("input '\(input.name)': \(error.reason)")
    }
  }
}
