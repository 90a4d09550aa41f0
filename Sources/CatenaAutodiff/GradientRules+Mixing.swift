import CatenaGraph
import CatenaTensors

// Convolutions and matrix products.
extension GradientRules {
  func mixing(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    switch site.operation {
    case .convolution(let convolution):
      try requireFrozen(site, from: 1)
      let gradient = try graph.inputGradient(
        of: convolution, data: site.node.inputs[0], weight: site.node.inputs[1], cotangent: site.cotangent)
      return [gradient] + [ValueID?](repeating: nil, count: site.node.inputs.count - 1)
    case .convolutionTranspose(let transpose):
      try requireFrozen(site, from: 1)
      let gradient = try convolutionTransposeGradient(transpose, site, in: &graph)
      return [gradient] + [ValueID?](repeating: nil, count: site.node.inputs.count - 1)
    case .gemm(let gemm): return try gemmGradients(gemm, site, in: &graph)
    case .matmul: return try matmulGradients(site, in: &graph)
    default: preconditionFailure("\(site.operation.name) mixes no channels")
    }
  }

  private func convolutionTransposeGradient(
    _ transpose: ConvolutionTranspose, _ site: DerivativeSite, in graph: inout Graph
  ) throws(GraphError) -> ValueID {
    let data = graph.shape(site.node.inputs[0])
    let gradient = try graph.add(.convolution(transpose.convolution), site.cotangent, site.node.inputs[1])
    // Output padding of a stride or more adds windows that no input element belongs to.
    guard graph.shape(gradient) != data else { return gradient }
    let rank = data.rank
    return try graph.add(
      .slice(
        Slice(
          starts: [Int](repeating: 0, count: rank), sizes: data.dimensions, steps: [Int](repeating: 1, count: rank))),
      gradient)
  }

  private func gemmGradients(
    _ gemm: Gemm, _ site: DerivativeSite, in graph: inout Graph
  ) throws(GraphError) -> [ValueID?] {
    let inputs = site.node.inputs
    var result = [ValueID?](repeating: nil, count: inputs.count)
    if site.wanted[0] {
      result[0] =
        gemm.transposeA
        ? try graph.add(
          .gemm(Gemm(alpha: gemm.alpha, transposeA: gemm.transposeB, transposeB: true)), inputs[1], site.cotangent)
        : try graph.add(.gemm(Gemm(alpha: gemm.alpha, transposeB: !gemm.transposeB)), site.cotangent, inputs[1])
    }
    if site.wanted[1] {
      result[1] =
        gemm.transposeB
        ? try graph.add(
          .gemm(Gemm(alpha: gemm.alpha, transposeA: true, transposeB: gemm.transposeA)), site.cotangent, inputs[0])
        : try graph.add(.gemm(Gemm(alpha: gemm.alpha, transposeA: !gemm.transposeA)), inputs[0], site.cotangent)
    }
    if inputs.count == 3, site.wanted[2] {
      let summed = try graph.summed(site.cotangent, to: graph.shape(inputs[2]))
      result[2] = try graph.scaled(summed, by: Double(gemm.beta))
    }
    return result
  }

  /// numpy's matmul: a vector factor is a matrix of one row or column, and batches broadcast.
  private func matmulGradients(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    let shapes = site.node.inputs.map { graph.shape($0) }
    let left = try graph.reshaped(
      site.node.inputs[0], to: shapes[0].rank == 1 ? Shape([1] + shapes[0].dimensions) : shapes[0])
    let right = try graph.reshaped(
      site.node.inputs[1], to: shapes[1].rank == 1 ? Shape(shapes[1].dimensions + [1]) : shapes[1])
    var product = graph.shape(site.cotangent).dimensions
    if shapes[0].rank == 1 { product.insert(1, at: shapes[1].rank == 1 ? product.count : product.count - 1) }
    if shapes[1].rank == 1 { product.append(1) }
    let cotangent = try graph.reshaped(site.cotangent, to: Shape(product))
    var result: [ValueID?] = [nil, nil]
    if site.wanted[0] {
      let gradient = try graph.add(.matmul, cotangent, graph.transposedMatrix(right))
      result[0] = try graph.reshaped(graph.summed(gradient, to: graph.shape(left)), to: shapes[0])
    }
    if site.wanted[1] {
      let gradient = try graph.add(.matmul, graph.transposedMatrix(left), cotangent)
      result[1] = try graph.reshaped(graph.summed(gradient, to: graph.shape(right)), to: shapes[1])
    }
    return result
  }
}

extension Graph {
  /// The gradient of a convolution's data: the transposed convolution with the same weight, its output padded to the
  /// data's extents (a stride may leave elements at the end unread).
  mutating func inputGradient(
    of convolution: Convolution, data: ValueID, weight: ValueID, cotangent: ValueID
  ) throws(GraphError) -> ValueID {
    let (input, kernel, output) = (shape(data), shape(weight), shape(cotangent))
    let outputPadding = (0..<input.rank - 2).map { axis in
      let covered =
        (output[axis + 2] - 1) * convolution.strides[axis] + (kernel[axis + 2] - 1) * convolution.dilations[axis] + 1
      return input[axis + 2] + convolution.padsBegin[axis] + convolution.padsEnd[axis] - covered
    }
    return try add(
      .convolutionTranspose(ConvolutionTranspose(convolution, outputPadding: outputPadding)), cotangent, weight)
  }
}
