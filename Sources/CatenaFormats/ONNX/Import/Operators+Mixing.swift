import CatenaGraph
import CatenaTensors

extension OperatorImport {
  /// Operators that mix channels.
  static let mixing: [OperatorImport] = [
    OperatorImport("Conv", .floats) { importer, node throws(NodeFailure) in
      let operands = try importer.uniformOperands(node)
      try requireRank(importer.shape(operands[0]), atLeast: 3, "data")
      guard operands.count >= 2 else { throw .invalid("its weight is missing") }
      let weight = importer.shape(operands[1])
      let data = importer.shape(operands[0])
      guard weight.rank == data.rank else { throw .invalid("the weight \(weight) does not fit the data \(data)") }
      let kernel = Array(weight.dimensions[2...])
      try requireKernel(node, kernel)
      let window = try Window(node, data: Array(data.dimensions[2...]), kernel: kernel)
      let operation = Operator.convolution(try window.convolution(node))
      return try importer.emit(operation, operands, node)
    },
    OperatorImport("ConvTranspose", .floats) { importer, node throws(NodeFailure) in
      let operands = try importer.uniformOperands(node)
      guard operands.count >= 2 else { throw .invalid("its weight is missing") }
      let data = importer.shape(operands[0])
      let weight = importer.shape(operands[1])
      try requireRank(data, atLeast: 3, "data")
      guard weight.rank == data.rank else { throw .invalid("the weight \(weight) does not fit the data \(data)") }
      let kernel = Array(weight.dimensions[2...])
      try requireKernel(node, kernel)
      let operation = try transposedConvolution(node, data: Array(data.dimensions[2...]), kernel: kernel)
      return try importer.emit(operation, operands, node)
    },
    OperatorImport("Gemm", .floats) { importer, node throws(NodeFailure) in
      let gemm = Gemm(
        alpha: try node.float("alpha", default: 1), beta: try node.float("beta", default: 1),
        transposeA: try node.flag("transA"), transposeB: try node.flag("transB"))
      var operands = [try importer.operand(node, 0), try importer.operand(node, 1)]
      if let addend = try importer.operand(node, ifGiven: 2) { operands.append(addend) }
      try importer.requireOneElementType(operands)
      return try importer.emit(.gemm(gemm), operands, node)
    },
    OperatorImport("MatMul", .floats) { importer, node throws(NodeFailure) in
      try importer.emit(.matmul, importer.uniformOperands(node, count: 2), node)
    },
  ]
}

private func requireKernel(_ node: ImportedNode, _ kernel: [Int]) throws(NodeFailure) {
  guard let stated = try node.ints("kernel_shape"), stated != kernel else { return }
  throw .invalid("kernel_shape \(stated) contradicts the weight's \(kernel)")
}

extension Window {
  fileprivate func convolution(_ node: ImportedNode) throws(NodeFailure) -> Convolution {
    let groups = try node.int("group", default: 1)
    guard groups > 0, groups <= ONNXLimits.parameter else { throw .invalid("group is \(groups)") }
    return Convolution(
      strides: strides, padsBegin: padsBegin, padsEnd: padsEnd, dilations: dilations, groups: groups)
  }
}

private func transposedConvolution(
  _ node: ImportedNode, data: [Int], kernel: [Int]
) throws(NodeFailure) -> Operator {
  let automatic = try node.string("auto_pad", default: "NOTSET")
  // The automatic paddings of a transposed convolution follow from its output, not from its input.
  var window = try Window(node, data: data, kernel: kernel, ignoresAutomaticPadding: true)
  let rank = data.count
  var outputPadding = try node.ints("output_padding") ?? [Int](repeating: 0, count: rank)
  try requireParameters("output_padding", outputPadding, count: rank, in: 0...ONNXLimits.parameter)
  var target = try node.ints("output_shape")
  if target?.count == rank + 2 { target?.removeFirst(2) }
  if target == nil, automatic.hasPrefix("SAME") { target = zip(data, window.strides).map { $0 * $1 } }
  if let target {
    try requireParameters("output_shape", target, count: rank, in: 1...ONNXLimits.extent)
    for axis in 0..<rank {
      let span = (kernel[axis] - 1) * window.dilations[axis] + 1
      let full = (data[axis] - 1) * window.strides[axis] + span + outputPadding[axis]
      let total = max(0, full - target[axis])
      outputPadding[axis] += max(0, target[axis] - full)
      let half = total / 2
      window.padsBegin[axis] = automatic == "SAME_UPPER" ? half : total - half
      window.padsEnd[axis] = total - window.padsBegin[axis]
    }
  }
  return .convolutionTranspose(ConvolutionTranspose(try window.convolution(node), outputPadding: outputPadding))
}
