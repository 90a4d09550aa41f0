import CatenaFormats
import CatenaGraph
import CatenaTensors

/// Makes small ONNX messages for tests.
package struct ModelBuilder {
  package var proto = Onnx_ModelProto()

  package init(opset: Int = 13) {
    proto.irVersion = 7
    var version = Onnx_OperatorSetIdProto()
    version.version = Int64(opset)
    proto.opsetImport = [version]
    proto.graph.name = "test"
  }

  /// An input; a negative extent is the open batch.
  package mutating func input(_ name: String, _ dimensions: [Int], _ type: ElementType = .float32) {
    proto.graph.input.append(port(name, dimensions, type))
  }

  package mutating func output(_ name: String, _ dimensions: [Int], _ type: ElementType = .float32) {
    proto.graph.output.append(port(name, dimensions, type))
  }

  package mutating func constant(_ name: String, _ tensor: Tensor) {
    proto.graph.initializer.append(tensor.proto(named: name))
  }

  package mutating func integers(_ name: String, _ values: [Int64]) {
    constant(name, Tensor(values, shape: [values.count]))
  }

  package mutating func node(
    _ type: String, _ inputs: [String], _ outputs: [String], _ attributes: [Onnx_AttributeProto] = []
  ) {
    proto.graph.node.append(Onnx_NodeProto(type, inputs: inputs, outputs: outputs, attributes: attributes))
  }

  package func model() throws -> ONNXModel { try ONNXModel(data: proto.serializedBytes()) }

  private func port(_ name: String, _ dimensions: [Int], _ type: ElementType) -> Onnx_ValueInfoProto {
    var info = Onnx_ValueInfoProto(name, TensorType(type, Shape(dimensions.map { max($0, 0) })))
    for (axis, extent) in dimensions.enumerated() where extent < 0 {
      info.type.tensorType.shape.dim[axis].dimParam = "N"
    }
    return info
  }
}

/// Random numbers in -1..<1.
package func randomTensor(_ shape: Shape, seed: UInt64) -> Tensor {
  var generator = SeededGenerator(seed: seed)
  return Tensor((0..<shape.elementCount).map { _ in Float(generator.uniform() * 2 - 1) }, shape: shape)
}
