import CatenaCompute
import CatenaGraph
import CatenaTensors

/// How output positions of a convolution or of its transpose read input positions; see conv/convolution.cl.
struct ConvolutionMapping {
  var convolution: Convolution
  var isTransposed: Bool

  init(_ convolution: Convolution, isTransposed: Bool) {
    self.convolution = convolution
    self.isTransposed = isTransposed
  }

  /// Multiplier, step, offset, divisor of a spatial axis; an axis that the data lack maps 0 to 0.
  func arguments(_ axis: Int) -> [Int] {
    guard axis >= 0 else { return [1, 1, 0, 1] }
    let (stride, dilation, pad) =
      (convolution.strides[axis], convolution.dilations[axis], convolution.padsBegin[axis])
    return isTransposed ? [1, -dilation, pad, stride] : [stride, dilation, -pad, 1]
  }
}

extension Lowering {
  // MARK: Convolution

  mutating func lowerConvolution(_ node: Node, _ mapping: ConvolutionMapping) {
    let input = PlanarShape(graph.shape(node.inputs[0]))
    let weightShape = graph.shape(node.inputs[1])
    let weight = PlanarShape(weightShape)
    let groups = mapping.convolution.groups
    var result = node.outputs[0]
    var normalization: (node: Int, factors: SlotID, summands: SlotID)?
    if let folded = foldableNormalization(behind: node, mapping) {
      normalization = folded
      result = graph.nodes[folded.node].outputs[0]
      fused.insert(folded.node)
    }
    let output = PlanarShape(graph.shape(result))
    let outputsPerGroup = output.channels / groups
    let packed = packedWeight(node.inputs[1], mapping, normalization: normalization)
    let bias = bias(of: node, normalization: normalization)

    var chain = EpilogueChain(
      root: result, layout: .channelsLast,
      geometry: EpilogueGeometry(
        rows: output.samples * output.height * output.width, columns: output.channels, channels: 1))
    extend(&chain)
    let along = mapping.arguments(input.rank - 3)
    let runs = dividedUp(dividedUp(output.width, along[3]), traits.pixels) * along[3]
    launch(
      .convolution, "convolution",
      [
        .read(slot(of: node.inputs[0], .channelsLast)), .read(packed), bias.map { .read($0) } ?? .null,
        .integers([input.height, input.width, input.channels, groups]),
        .integers([output.samples, output.height, output.width, output.channels]),
        .integers([weight.height, weight.width]), .integers(mapping.arguments(input.rank - 4)), .integers(along),
      ] + epilogueArguments(chain, storesRoot: chain.stages.isEmpty || readerCounts[result, default: 0] > 1),
      workItems: groups * dividedUp(outputsPerGroup, traits.lanes) * output.samples * output.height * runs,
      operations: 2 * input.samples * input.channels * (mapping.isTransposed ? input.height * input.width : 1)
        * weight.height * weight.width * outputsPerGroup * (mapping.isTransposed ? 1 : output.height * output.width),
      shape: [
        output.samples, input.channels, input.height, input.width, output.channels, weight.height, weight.width,
      ])
  }

  /// The batch normalisation that alone reads a convolution's output and can be folded into its constant weight.
  private mutating func foldableNormalization(
    behind node: Node, _ mapping: ConvolutionMapping
  ) -> (node: Int, factors: SlotID, summands: SlotID)? {
    let output = node.outputs[0]
    guard
      readerCounts[output] == 1, let index = readers[output]?.first, !mapping.isTransposed,
      case .batchNormalization(let epsilon) = graph.nodes[index].operation, graph.nodes[index].inputs[0] == output
    else { return nil }
    let parameters = Array(graph.nodes[index].inputs.dropFirst())
    let constants = parameters + node.inputs.dropFirst()
    guard constants.allSatisfy({ isAvailable($0) && program.slots[location(of: $0).slot.index].isConstant }) else {
      return nil
    }
    let slots = normalizationFactors(parameters, epsilon: epsilon)
    return (index, slots.factors, slots.summands)
  }

  private mutating func bias(
    of node: Node, normalization: (node: Int, factors: SlotID, summands: SlotID)?
  ) -> SlotID? {
    let bias = node.inputs.count > 2 ? slot(of: node.inputs[2], .rowMajor) : nil
    guard let normalization, let bias else { return normalization?.summands ?? bias }
    let scaled = multiply(bias, normalization.factors, outer: program.slots[bias.index].elementCount, inner: 1)
    let sum = addSlot(program.slots[bias.index].elementCount)
    combine(.add, scaled, normalization.summands, into: sum, outer: program.slots[bias.index].elementCount, inner: 1)
    return sum
  }

  /// left * right, where `right` has one element per `inner` elements of `left`.
  private mutating func multiply(_ left: SlotID, _ right: SlotID, outer: Int, inner: Int) -> SlotID {
    let result = addSlot(outer * inner)
    combine(.multiply, left, right, into: result, outer: outer, inner: inner)
    return result
  }

  private mutating func combine(
    _ function: KernelFunctions.Binary, _ left: SlotID, _ right: SlotID, into result: SlotID, outer: Int, inner: Int
  ) {
    launch(
      .elementwise, "binary_broadcast",
      [
        .read(left), .read(right), .write(result), .integers([Int(function.rawValue)]), .integers([1]),
        .integers([outer]), .integers(padded([outer], with: 1)), .integers(padded([inner], with: 0)),
        .integers(padded([1], with: 0)), .integers([inner, 1, 0, 0]),
      ], workItems: outer * dividedUp(inner, traits.lanes))
  }

  /// The weight as group x channel block x tap row x tap column x input channel x lane.
  private mutating func packedWeight(
    _ weight: ValueID, _ mapping: ConvolutionMapping, normalization: (node: Int, factors: SlotID, summands: SlotID)?
  ) -> SlotID {
    let groups = mapping.convolution.groups
    let key = PackedWeight(
      weight: weight, isTransposed: mapping.isTransposed, groups: groups,
      normalization: normalization.map { Array(graph.nodes[$0.node].inputs.dropFirst()) } ?? [])
    return packed(key) { lowering in
      let shape = PlanarShape(lowering.graph.shape(weight))
      let taps = shape.height * shape.width
      var source = lowering.slot(of: weight, .rowMajor)
      if let normalization {
        source = lowering.multiply(
          source, normalization.factors, outer: shape.samples, inner: shape.channels * taps)
      }
      // The weight's axes are outer x inner x taps: outputs x inputs of a convolution, inputs x outputs of a transpose.
      let outer = shape.samples / groups
      let (outputs, inputs) = mapping.isTransposed ? (shape.channels, outer) : (outer, shape.channels)
      let (outputStride, inputStride) =
        mapping.isTransposed ? (taps, shape.channels * taps) : (shape.channels * taps, taps)
      let lanes = lowering.traits.lanes
      let blocks = dividedUp(outputs, lanes)
      let target = lowering.addSlot(groups * blocks * taps * inputs * lanes)
      lowering.willWritePieces(of: target, from: [source])
      if outputs % lanes != 0 { lowering.fill(target, with: 0) }
      let blockSize = taps * inputs * lanes
      let targetStrides = [
        blocks * blockSize, blockSize, shape.width * inputs * lanes, inputs * lanes, lanes, 1,
      ]
      let sourceStrides = [
        outer * shape.channels * taps, lanes * outputStride, shape.width, 1, inputStride, outputStride,
      ]
      for (first, count, width) in [(0, outputs / lanes, lanes), (outputs / lanes, 1, outputs % lanes)]
      where count * width > 0 {
        lowering.copy(
          from: source, sourceStrides, offset: first * lanes * outputStride, to: target, targetStrides,
          targetOffset: first * blockSize, [groups, count, shape.height, shape.width, inputs, width])
      }
      return target
    }
  }

  // MARK: Matrix products

  mutating func lowerGemm(_ node: Node, _ gemm: Gemm) {
    let a = graph.shape(node.inputs[0])
    let b = graph.shape(node.inputs[1])
    let output = node.outputs[0]
    let product = MatrixProduct(
      rows: graph.shape(output)[0], columns: graph.shape(output)[1], inner: gemm.transposeA ? a[0] : a[1],
      strides: (gemm.transposeA ? [1, a[1]] : [a[1], 1]) + (gemm.transposeB ? [1, b[1]] : [b[1], 1]),
      alpha: gemm.alpha)
    let summand = node.inputs.count > 2 ? (node.inputs[2], gemm.beta) : nil
    lower(product, node, summand: summand)
  }

  mutating func lowerMatmul(_ node: Node) {
    let a = graph.shape(node.inputs[0])
    let b = graph.shape(node.inputs[1])
    let left = a.rank == 1 ? Shape([1] + a.dimensions) : a
    let right = b.rank == 1 ? Shape(b.dimensions + [1]) : b
    let leftBatch = Shape(Array(left.dimensions.dropLast(2)))
    let rightBatch = Shape(Array(right.dimensions.dropLast(2)))
    guard let batch = leftBatch.broadcast(with: rightBatch) else {
      preconditionFailure("\(leftBatch) and \(rightBatch) do not broadcast")
    }
    func batchStrides(_ shape: Shape, _ matrix: Int) -> [Int] {
      shape.broadcastStrides(to: batch).map { $0 * matrix }
    }
    let product = MatrixProduct(
      rows: left[-2], columns: right[-1], inner: left[-1], strides: [left[-1], 1, right[-1], 1], alpha: 1,
      batch: StridedWalk(
        extents: batch.dimensions,
        strides: [batchStrides(leftBatch, left[-2] * left[-1]), batchStrides(rightBatch, right[-2] * right[-1])]))
    lower(product, node, summand: nil)
  }

  private struct MatrixProduct {
    var rows: Int
    var columns: Int
    var inner: Int
    /// Left: row, inner; right: inner, column.
    var strides: [Int]
    var alpha: Float
    var batch = StridedWalk(extents: [], strides: [[], []])
  }

  private mutating func lower(_ product: MatrixProduct, _ node: Node, summand: (value: ValueID, factor: Float)?) {
    let output = node.outputs[0]
    let batches = product.batch.count
    let operands = node.inputs[..<2].map { slot(of: $0, .rowMajor) }
    var chain = EpilogueChain(
      root: output, layout: .rowMajor,
      geometry: EpilogueGeometry(rows: batches * product.rows, columns: product.columns, channels: 1))
    if let summand { chain.stages = [summandStage(summand.value, factor: summand.factor, output)] }
    extend(&chain)
    let batch = product.batch.collapsed()
    launch(
      .gemm, "matrix_multiply",
      operands.map { .read($0) } + [
        .integers([batches, product.rows, product.columns, product.inner]), .integers(product.strides),
        .integers([batch.extents.count]), .integers(padded(batch.extents, with: 1)),
        .integers(padded(batch.strides[0], with: 0)), .integers(padded(batch.strides[1], with: 0)),
        .floats([product.alpha]),
      ]
        + epilogueArguments(
          chain,
          storesRoot: summand == nil && (chain.stages.isEmpty || readerCounts[output, default: 0] > 1)),
      workItems: batches * dividedUp(product.rows, traits.pixels) * dividedUp(product.columns, traits.lanes),
      operations: 2 * batches * product.rows * product.columns * product.inner,
      shape: [batches, product.rows, product.columns, product.inner])
  }

  /// factor * value as a stage behind a matrix product; the value broadcasts to the product.
  private mutating func summandStage(_ value: ValueID, factor: Float, _ output: ValueID) -> EpilogueStage {
    let shape = graph.shape(output)
    let own = graph.shape(value)
    var stage = EpilogueStage(
      kind: .full, function: KernelFunctions.Binary.add.rawValue, a: factor, rowsPerRegion: max(shape[0], 1),
      value: output)
    if own.elementCount == 1 {
      stage.kind = .scalar
      stage.operand = slot(of: value, .rowMajor)
    } else if own.elementCount == shape[1], own[-1] == shape[1] {
      stage.kind = .channel
      stage.operand = slot(of: value, .rowMajor)
    } else {
      stage.operand = expanded(value, to: shape)
    }
    return stage
  }
}

/// A tensor of rank 3 or 4 seen as images.
struct PlanarShape {
  var rank: Int
  var samples: Int
  var channels: Int
  var height: Int
  var width: Int

  init(_ shape: Shape) {
    precondition((3...4).contains(shape.rank), "\(shape) is no batch of images")
    rank = shape.rank
    samples = shape[0]
    channels = shape[1]
    height = rank == 4 ? shape[2] : 1
    width = shape[-1]
  }
}
