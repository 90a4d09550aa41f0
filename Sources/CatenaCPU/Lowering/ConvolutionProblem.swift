import COneDNN
import CatenaGraph
import CatenaTensors

/// A convolution as primitives see it: every kind of node brought to one form.
struct ConvolutionProblem {
  enum Form {
    /// A convolution with the node's own weights.
    case forward
    /// The input gradient of a convolution of stride 1: a convolution with transposed and mirrored weights.
    case mirrored
    /// The input gradient of a strided convolution.
    case backwardData
  }
  var form: Form
  var source: ValueID
  var weight: ValueID
  var bias: ValueID?
  /// Extents of what is read and written, batch and channels first.
  var sourceShape: Shape
  var resultShape: Shape
  var kernel: [Int]
  var strides: [Int]
  var dilations: [Int]
  var padsBegin: [Int]
  var padsEnd: [Int]
  var groups: Int
  /// Whether the source is read in bf16, with weights in bf16.
  var readsBFloat16 = false
  var spatialRank: Int { kernel.count }

  init(_ node: Node, _ convolution: Convolution, _ graph: Graph) {
    form = .forward
    (source, weight, bias) = (node.inputs[0], node.inputs[1], node.inputs.count > 2 ? node.inputs[2] : nil)
    sourceShape = graph.shape(source)
    resultShape = graph.shape(node.outputs[0])
    kernel = Array(graph.shape(weight).dimensions.dropFirst(2))
    (strides, dilations, groups) = (convolution.strides, convolution.dilations, convolution.groups)
    (padsBegin, padsEnd) = (convolution.padsBegin, convolution.padsEnd)
  }

  init(_ node: Node, _ transpose: ConvolutionTranspose, _ graph: Graph) {
    self.init(node, transpose.convolution, graph)
    let isMirrored = graph.constants[weight] != nil && strides.allSatisfy { $0 == 1 }
    form = isMirrored ? .mirrored : .backwardData
    for axis in kernel.indices {
      let extra = transpose.outputPadding[axis]
      if isMirrored {
        let span = (kernel[axis] - 1) * dilations[axis]
        padsBegin[axis] = span - padsBegin[axis]
        padsEnd[axis] = span - padsEnd[axis] + extra
      } else if extra >= strides[axis] {
        // Extra extent below the stride is what the forward convolution leaves over; more of it is less padding.
        padsEnd[axis] -= extra
      }
    }
  }

  /// What the source loses before a primitive reads it: the part of negative padding.
  func crop() -> Slice? {
    guard (padsBegin + padsEnd).contains(where: { $0 < 0 }) else { return nil }
    let lost = zip(padsBegin, padsEnd).map { (max(0, -$0), max(0, -$1)) }
    return Slice(
      starts: [0, 0] + lost.map(\.0),
      sizes: sourceShape.dimensions.prefix(2)
        + zip(sourceShape.dimensions.dropFirst(2), lost).map { $0 - $1.0 - $1.1 },
      steps: [Int](repeating: 1, count: sourceShape.rank))
  }

  /// The problem for oneDNN, for one of `regions` equal parts of the batch.
  func description(
    regions: Int, hasBias: Bool, hasPlainWeights: Bool, writes: Storage = .float32
  ) -> catena_convolution {
    var result = catena_convolution()
    let isBackward = form == .backwardData
    // A backward problem is described by its forward convolution, which reads what this writes.
    let (read, written) = isBackward ? (resultShape, sourceShape) : (sourceShape, resultShape)
    result.is_backward_data = isBackward
    result.spatial_rank = Int32(spatialRank)
    result.batch = Int64(sourceShape[0] / regions)
    result.source_channels = Int64(read[1])
    result.destination_channels = Int64(written[1])
    result.groups = Int64(groups)
    result.source = triple(read.dimensions.dropFirst(2))
    result.destination = triple(written.dimensions.dropFirst(2))
    result.kernel = triple(kernel)
    result.strides = triple(isBackward || form == .forward ? strides : kernel.map { _ in 1 })
    result.dilations = triple(dilations)
    result.pads_begin = triple(padsBegin)
    result.pads_end = triple(padsEnd)
    result.has_bias = hasBias
    result.has_plain_weights = hasPlainWeights
    result.reads_bfloat16 = readsBFloat16
    result.writes_bfloat16 = writes == .bfloat16
    return result
  }

  /// Multiplications and additions.
  var operations: Int {
    let pixels = form == .backwardData ? sourceShape : resultShape
    let inner = form == .backwardData ? resultShape[1] : sourceShape[1]
    return 2 * pixels.elementCount * (inner / groups) * kernel.reduce(1, *)
  }

  /// The weights in the primitive's row-major order (groups, results, sources, kernel), every result's scaled.
  func weights(_ tensor: Tensor, scale: [Double]?) -> [Float] {
    let values = tensor.floats
    let taps = kernel.reduce(1, *)
    let sources = (form == .backwardData ? resultShape[1] : sourceShape[1]) / groups
    let results = (form == .backwardData ? sourceShape[1] : resultShape[1]) / groups
    guard form == .mirrored || scale != nil else { return values }
    var packed = [Float](repeating: 0, count: values.count)
    for group in 0..<groups {
      for result in 0..<results {
        let factor = scale?[group * results + result]
        for source in 0..<sources {
          let target = ((group * results + result) * sources + source) * taps
          let origin = form == .mirrored ? ((group * sources + source) * results + result) * taps : target
          for tap in 0..<taps {
            let value = values[origin + (form == .mirrored ? taps - 1 - tap : tap)]
            packed[target + tap] = factor.map { Float(Double(value) * $0) } ?? value
          }
        }
      }
    }
    return packed
  }
}

/// Up to three numbers as the kernels' array.
func triple(_ numbers: some Sequence<Int>) -> (Int64, Int64, Int64) {
  var result: (Int64, Int64, Int64) = (0, 0, 0)
  for (index, number) in numbers.enumerated() {
    switch index {
    case 0: result.0 = Int64(number)
    case 1: result.1 = Int64(number)
    default: result.2 = Int64(number)
    }
  }
  return result
}
