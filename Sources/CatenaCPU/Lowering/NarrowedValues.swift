import CatenaGraph

extension Graph {
  /// The values of type f32 that may be kept in bf16: images that are neither given nor observed, in networks of
  /// convolutions. What matrix products and softmax touch stays f32: their kernels are.
  func narrowableValues(observed: ValueSet) -> ValueSet {
    var values: ValueSet = []
    var kept = observed
    var hasConvolution = false
    for node in nodes {
      switch node.operation {
      case .convolution, .convolutionTranspose: hasConvolution = true
      case .matmul, .gemm, .softmax, .logSoftmax, .adam: kept.formUnion(node.inputs + node.outputs)
      default: break
      }
      for output in node.outputs where shape(output).rank > 3 && type(output).elementType == .float32 {
        values.insert(output)
      }
    }
    return hasConvolution ? values.subtracting(kept) : []
  }
}
