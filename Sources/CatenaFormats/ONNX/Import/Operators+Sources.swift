import CatenaGraph
import CatenaTensors

extension OperatorImport {
  /// Operators whose result follows from the file and the shapes alone.
  static let sources: [OperatorImport] = [
    OperatorImport("Constant", .anything, note: "no strings, no sparse tensors") { importer, node throws(NodeFailure) in
      guard node.inputs.isEmpty else { throw .invalid("it has inputs") }
      guard let tensor = try constant(node) else {
        throw .unsupported("its attribute (\(node.attributeNames.joined(separator: ", "))) is not supported")
      }
      guard Set.anything.contains(tensor.elementType) else {
        throw .unsupported("its element type is \(tensor.elementType.rawValue)")
      }
      return [importer.constant(tensor, node, isLast: true)]
    },
    OperatorImport(
      "ConstantOfShape", [.int64], since: 9, note: "the type is that of the shape; the result may have any claimed type"
    ) { importer, node throws(NodeFailure) in
      guard let extents = try importer.knownIntegers(node, 0, "shape") else { throw .invalid("its shape is missing") }
      let shape = try ONNXLimits.shape(extents.map(Int64.init))
      let value = try node.tensor("value") ?? Tensor([Float(0)], shape: [1])
      guard value.elementCount == 1 else { throw .invalid("value has \(value.elementCount) elements") }
      guard Set.anything.contains(value.elementType) else {
        throw .unsupported("its element type is \(value.elementType.rawValue)")
      }
      return [try importer.filled(value, shape, node)]
    },
    OperatorImport("Shape", Set(ElementType.allCases)) { importer, node throws(NodeFailure) in
      let shape = importer.shape(try importer.operands(node, count: 1)[0])
      func bound(_ name: String, default value: Int) throws(NodeFailure) -> Int {
        let position = try node.int(name, default: value)
        return min(max(position < 0 ? position + shape.rank : position, 0), shape.rank)
      }
      let start = try bound("start", default: 0)
      let end = max(start, try bound("end", default: shape.rank))
      let extents = shape.dimensions[start..<end].map(Int64.init)
      return [importer.constant(Tensor(extents, shape: [extents.count]), node, isLast: true)]
    },
    OperatorImport("Size", Set(ElementType.allCases)) { importer, node throws(NodeFailure) in
      let count = importer.shape(try importer.operands(node, count: 1)[0]).elementCount
      return [importer.constant(Tensor(scalar: Int64(count)), node, isLast: true)]
    },
    OperatorImport(
      "Range", [.int32, .int64, .float32, .float64], since: 11, note: "up to 65,536 elements"
    ) { importer, node throws(NodeFailure) in
      guard let start = try importer.knownScalar(node, 0, "start"),
        let limit = try importer.knownScalar(node, 1, "limit"), let delta = try importer.knownScalar(node, 2, "delta")
      else { throw .invalid("start, limit or delta is missing") }
      let count = ((limit - start) / delta).rounded(.up)
      guard delta != 0, count.isFinite else { throw .invalid("the range \(start)..<\(limit) by \(delta) never ends") }
      guard count <= Double(GraphImporter.knownElementCount) else {
        throw .unsupported("it has \(count) elements")
      }
      let type = importer.type(try importer.operand(node, 0)).elementType
      let values = (0..<Int(max(0, count))).map { start + Double($0) * delta }
      let tensor = Tensor(doubles: values, shape: [values.count], elementType: type)
      return [importer.constant(tensor, node, isLast: true)]
    },
  ]
}

private func constant(_ node: ImportedNode) throws(NodeFailure) -> Tensor? {
  if let tensor = try node.tensor("value") { return tensor }
  if let number = try node.float("value_float") { return Tensor(scalar: number) }
  if let number = try node.int("value_int") { return Tensor(scalar: Int64(number)) }
  if let numbers = try node.floats("value_floats") { return Tensor(numbers, shape: [numbers.count]) }
  if let numbers = try node.ints("value_ints") { return Tensor(numbers.map(Int64.init), shape: [numbers.count]) }
  return nil
}
