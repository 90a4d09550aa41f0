import CatenaGraph
import CatenaTensors
import FoundationEssentials
import SwiftProtobuf

extension ONNXModel {
  /// The model as the bytes of a file, all tensors inside.
  public func serialized() throws(ONNXError) -> [UInt8] {
    var byteCount = 0
    var proto = proto
    for index in proto.graph.initializer.indices {
      let header = proto.graph.initializer[index]
      guard let tensor = initializers[header.name] else { continue }
      byteCount += tensor.byteCount
      proto.graph.initializer[index].rawData = tensor.withUnsafeBytes { Data($0) }
    }
    // The format's own limit.
    guard byteCount < 1 << 31 else {
      throw .notExpressible("its \(byteCount) bytes of weights are more than the 2 GiB that an ONNX file may have")
    }
    do { return try proto.serializedBytes() } catch { throw .notExpressible("it cannot be serialised (\(error))") }
  }

  /// Writes the file `path`, which appears complete or not at all.
  public func write(to path: String) throws(ONNXError) {
    let bytes = try serialized()
    do throws(FileError) { try AtomicFile.write(bytes, to: path) } catch { throw .file(error) }
  }

  /// A graph that comes from no file as a model of the operator set `opset`. Extents are the graph's, fixed.
  public init(exporting graph: Graph, opset: Int = 17) throws(ONNXError) {
    var writer = NodeWriter(opset: opset, names: [])
    var names: ValueMap<String> = [:]
    for input in graph.inputs { names[input] = writer.freshName(graph[input].name) }
    for id in graph.constants.keys.sorted() {
      if let tensor = graph.constants[id] { names[id] = writer.addConstant(graph[id].name, tensor) }
    }
    for node in graph.nodes {
      for output in node.outputs { names[output] = writer.freshName(graph[output].name) }
      try writer.write(
        node, of: graph, inputs: node.inputs.compactMap { names[$0] }, outputs: node.outputs.compactMap { names[$0] })
    }
    var proto = Onnx_ModelProto()
    // The oldest version of the representation that has the operator set and does not list initialisers as inputs.
    proto.irVersion = opset < 15 ? 7 : opset < 19 ? 8 : opset < 21 ? 9 : 10
    proto.producerName = "catena"
    var version = Onnx_OperatorSetIdProto()
    version.version = Int64(opset)
    proto.opsetImport = [version]
    proto.graph.name = "graph"
    proto.graph.node = writer.nodes
    proto.graph.input = graph.inputs.map { Onnx_ValueInfoProto(names[$0] ?? "", graph.type($0)) }
    proto.graph.output = graph.outputs.map { Onnx_ValueInfoProto(names[$0] ?? "", graph.type($0)) }
    proto.graph.initializer = writer.initializers.map { Onnx_TensorProto(header: $0, $1) }
    try self.init(
      proto, directory: nil, replacements: Dictionary(uniqueKeysWithValues: writer.initializers.map { ($0, $1) }))
  }
}

extension Onnx_ValueInfoProto {
  /// A tensor of fixed extents.
  package init(_ name: String, _ type: TensorType) {
    self.init()
    self.name = name
    self.type.tensorType.elemType = type.elementType.onnxCode
    self.type.tensorType.shape.dim = type.shape.dimensions.map { extent in
      var dimension = Onnx_TensorShapeProto.Dimension()
      dimension.dimValue = Int64(extent)
      return dimension
    }
  }
}

extension Onnx_TensorProto {
  /// A tensor's name and type; the model holds its contents.
  init(header name: String, _ tensor: Tensor) {
    self.init()
    self.name = name
    dims = tensor.shape.dimensions.map(Int64.init)
    dataType = tensor.elementType.onnxCode
  }
}
