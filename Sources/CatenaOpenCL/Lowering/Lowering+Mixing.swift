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

  /// Whether every channel is a group of its own, input and output.
  func isDepthwise(_ input: SpatialShape, _ output: SpatialShape) -> Bool {
    convolution.groups == input.channels && convolution.groups == output.channels
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
    let input = SpatialShape(graph.shape(node.inputs[0]))
    let weight = SpatialShape(graph.shape(node.inputs[1]))
    let groups = mapping.convolution.groups
    var result = node.outputs[0]
    var normalization: (node: Int, factors: SlotID, summands: SlotID)?
    if let folded = foldableNormalization(behind: node, mapping) {
      normalization = folded
      result = graph.nodes[folded.node].outputs[0]
      fused.insert(folded.node)
    }
    let output = SpatialShape(graph.shape(result))
    let bias = bias(of: node, normalization: normalization)

    var chain = EpilogueChain(
      root: result, layout: .channelsLast,
      geometry: EpilogueGeometry(
        rows: output.samples * output.positions, columns: output.channels, channels: 1))
    extend(&chain)
    let along = mapping.arguments(input.rank - 3)
    let epilogue = epilogueArguments(
      chain, storesRoot: chain.stages.isEmpty || readerCounts[result, default: 0] > 1)
    let operations =
      2 * (mapping.isTransposed ? input.samples * input.positions : output.samples * output.positions)
      * input.channels * weight.positions * output.channels / groups
    let extents = [output.samples, input.channels] + input.extents + [output.channels] + weight.extents
    let data = slot(of: node.inputs[0], .channelsLast)
    if groups == 1, input.depth == 1, output.depth == 1, weight.depth == 1 {
      let problem = TensorProblem(
        data: data, input: [input.height, input.width, input.channels],
        output: [output.samples, output.height, output.width, output.channels], taps: [weight.height, weight.width],
        across: mapping.arguments(input.rank - 4), along: along, bias: bias, operations: operations, shape: extents)
      let isDone = launchOnTensorCores(
        problem,
        weight: { lowering in
          var source = lowering.slot(of: node.inputs[1], .rowMajor)
          let taps = weight.positions
          if let normalization {
            source = lowering.multiply(
              source, normalization.factors, outer: weight.samples, inner: weight.channels * taps)
          }
          return lowering.tensorWeight(
            node.inputs[1], isTransposed: mapping.isTransposed, outputs: output.channels, inputs: input.channels,
            taps: taps, source: source,
            factors: normalization?.factors)
        }, epilogue: epilogue)
      if isDone { return }
    }
    let shapes = traits[.convolution]
    let runs = dividedUp(dividedUp(output.width, along[3]), shapes.pixels) * along[3]
    let perGroup = output.channels / groups
    let tile = mapping.isDepthwise(input, output) ? nil : shapes.tile.flatMap { $0.suits(columns: perGroup) ? $0 : nil }
    let packed = packedWeight(
      node.inputs[1], mapping, panelColumns: tile?.columns ?? shapes.lanes, normalization: normalization)
    let variant: KernelVariant
    // Of a depthwise convolution a work-item owns all channels where work-items do not run side by side.
    let blocks = traits.device.tile == nil ? dividedUp(output.channels, shapes.lanes) : 1
    if mapping.isDepthwise(input, output) {
      let rows = output.samples * output.depth * output.height
      let workItems =
        rows * dividedUp(output.width, shapes.pixels) * dividedUp(output.channels, blocks * shapes.lanes)
      variant = KernelVariant(kernel: "convolution_depthwise", workItems: workItems)
    } else if let tile {
      let phases = [input.rank - 5, input.rank - 4, input.rank - 3].map { mapping.arguments($0)[3] }
      let rows = zip(output.extents, phases).reduce(output.samples) { $0 * dividedUp($1.0, $1.1) }
      let tiles = groups * phases.reduce(1, *) * tile.count(rows: rows, columns: perGroup)
      variant = KernelVariant(kernel: "convolution_tiled", tiles: tiles, tile)
    } else {
      let rows = output.samples * output.depth * output.height
      let workItems = groups * dividedUp(perGroup, shapes.lanes) * rows * runs
      variant = KernelVariant(kernel: "convolution", workItems: workItems)
    }
    launch(
      .convolution, variant.kernel,
      [
        .read(data), .read(packed), bias.map { .read($0) } ?? .null,
        .integers(padded(input.extents + [input.channels, groups, blocks], with: 0)),
        .integers(padded([output.samples] + output.extents + [output.channels], with: 0)),
        .integers(weight.extents + [0]), .integers(mapping.arguments(input.rank - 5)),
        .integers(mapping.arguments(input.rank - 4)), .integers(along),
      ] + epilogue, workItems: variant.workItems, groupSize: variant.groupSize, operations: operations, shape: extents)
  }

  /// The batch normalisation that alone reads a convolution's output and can be folded into its constant weight.
  private mutating func foldableNormalization(
    behind node: Node, _ mapping: ConvolutionMapping
  ) -> (node: Int, factors: SlotID, summands: SlotID)? {
    let output = node.outputs[0]
    guard
      graph.type(output).elementType == .float32, readerCounts[output] == 1, let index = readers[output].first,
      !mapping.isTransposed,
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
      ], workItems: outer * dividedUp(inner, traits[.elementwise].lanes))
  }

  /// The weight as group x panel of channels x taps x input channel x channel of the panel, or as taps x channel where
  /// every channel is a group.
  private mutating func packedWeight(
    _ weight: ValueID, _ mapping: ConvolutionMapping, panelColumns: Int,
    normalization: (node: Int, factors: SlotID, summands: SlotID)?
  ) -> SlotID {
    let groups = mapping.convolution.groups
    let key = PackedWeight(
      weight: weight, isTransposed: mapping.isTransposed, groups: groups,
      factors: normalization?.factors)
    return packed(key) { lowering in
      let shape = SpatialShape(lowering.graph.shape(weight))
      let taps = shape.positions
      var source = lowering.slot(of: weight, .rowMajor)
      if let normalization {
        source = lowering.multiply(
          source, normalization.factors, outer: shape.samples, inner: shape.channels * taps)
      }
      if shape.channels == 1, shape.samples == groups {
        let target = lowering.addSlot(groups * taps)
        lowering.copy(from: source, [1, taps], to: target, [groups, 1], [taps, groups])
        return target
      }
      // The weight's axes are outer x inner x taps: outputs x inputs of a convolution, inputs x outputs of a transpose.
      let outer = shape.samples / groups
      let (outputs, inputs) = mapping.isTransposed ? (shape.channels, outer) : (outer, shape.channels)
      let (outputStride, inputStride) =
        mapping.isTransposed ? (taps, shape.channels * taps) : (shape.channels * taps, taps)
      return lowering.panels(
        of: source, extents: [groups, taps, inputs, outputs],
        strides: [outer * shape.channels * taps, 1, inputStride, outputStride],
        columns: panelColumns)
    }
  }

  /// A constant whose last axis lies in panels, the last of which is filled up with 0: first axis x panel x axes between
  /// x column of the panel.
  private mutating func panels(of source: SlotID, extents: [Int], strides: [Int], columns: Int) -> SlotID {
    let (outer, outputs) = (extents[0], extents[3])
    let panels = dividedUp(outputs, columns)
    let panelSize = extents[1] * extents[2] * columns
    let target = addSlot(outer * panels * panelSize)
    willWritePieces(of: target, from: [source])
    if outputs % columns != 0 { fill(target, with: 0) }
    let targetStrides = [panels * panelSize, panelSize, extents[2] * columns, columns, 1]
    let sourceStrides = [strides[0], columns * strides[3], strides[1], strides[2], strides[3]]
    for (first, count, width) in [(0, outputs / columns, columns), (outputs / columns, 1, outputs % columns)]
    where count * width > 0 {
      copy(
        from: source, sourceStrides, offset: first * columns * strides[3], to: target, targetStrides,
        targetOffset: first * panelSize, [outer, count, extents[1], extents[2], width])
    }
    return target
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
    let summand = node.inputs.count > 2 ? node.inputs[2] : nil
    if graph.type(output).elementType.isFloatingPoint {
      lower(product, node, summand: summand.map { ($0, gemm.beta) })
    } else {
      lowerIntegerProduct(product, node, summand: summand, factors: (Int(gemm.alpha), Int(gemm.beta)))
    }
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
    if graph.type(node.outputs[0]).elementType.isFloatingPoint {
      lower(product, node, summand: nil)
    } else {
      lowerIntegerProduct(product, node, summand: nil, factors: (1, 1))
    }
  }

  struct MatrixProduct {
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
    let epilogue = epilogueArguments(
      chain, storesRoot: summand == nil && (chain.stages.isEmpty || readerCounts[output, default: 0] > 1))
    let operations = 2 * batches * product.rows * product.columns * product.inner
    let extents = [batches, product.rows, product.columns, product.inner]
    if batches == 1, product.alpha == 1, product.strides[..<2] == [product.inner, 1] {
      let problem = TensorProblem(
        data: operands[0], input: [1, 1, product.inner], output: [product.rows, 1, 1, product.columns], taps: [1, 1],
        across: [1, 1, 0, 1], along: [1, 1, 0, 1], bias: nil, operations: operations, shape: extents)
      let isDone = launchOnTensorCores(
        problem,
        weight: { lowering in
          // Columns by depth; a matrix that changes is used as it lies or not at all.
          if product.strides[2...] == [1, product.inner] { return operands[1] }
          guard lowering.program.slots[operands[1].index].isConstant else { return nil }
          return lowering.tensorWeight(
            node.inputs[1], isTransposed: true, outputs: product.columns, inputs: product.inner, taps: 1,
            source: operands[1], factors: nil)
        }, epilogue: epilogue)
      if isDone { return }
    }
    let batch = product.batch.collapsed()
    let shapes = traits[.gemm]
    let variant: KernelVariant
    let right: RightFactor
    if let tile = shapes.tile, tile.suits(columns: product.columns) {
      let tiles = batches * tile.count(rows: product.rows, columns: product.columns)
      variant = KernelVariant(kernel: "matrix_multiply_tiled", tiles: tiles, tile)
      right = rightFactor(product, node.inputs[1], operands[1], lanes: nil)
    } else {
      let workItems = batches * dividedUp(product.rows, shapes.pixels) * dividedUp(product.columns, shapes.lanes)
      variant = KernelVariant(kernel: "matrix_multiply", workItems: workItems)
      right = rightFactor(product, node.inputs[1], operands[1], lanes: shapes.lanes)
    }
    launch(
      .gemm, variant.kernel,
      [
        .read(operands[0]), .read(right.slot), .integers([batches, product.rows, product.columns, product.inner]),
        .integers(padded(product.strides[..<2] + [right.inner, right.column, right.block], with: 0)),
        .integers([batch.extents.count]), .integers(padded(batch.extents, with: 1)),
        .integers(padded(batch.strides[0], with: 0)), .integers(padded(batch.strides[1], with: 0)),
        .floats([product.alpha]),
      ] + epilogue, workItems: variant.workItems, groupSize: variant.groupSize, operations: operations, shape: extents)
  }

  /// How the right factor of a product lies: the strides of its inner axis, of columns and of as many columns as lanes.
  private struct RightFactor {
    var slot: SlotID
    var inner: Int
    var column: Int
    var block: Int
  }

  /// The right factor of a product; a constant in blocks of lanes for a work-item that walks down one, so that it reads
  /// memory from front to back, and with its columns together where work-items share tiles (`lanes` is nil).
  private mutating func rightFactor(
    _ product: MatrixProduct, _ value: ValueID, _ slot: SlotID, lanes: Int?
  ) -> RightFactor {
    let (inner, column) = (product.strides[2], product.strides[3])
    let asItLies = RightFactor(slot: slot, inner: inner, column: column, block: column * (lanes ?? 0))
    guard program.slots[slot.index].isConstant, product.batch.strides[1].allSatisfy({ $0 == 0 }),
      lanes != nil || column != 1
    else { return asItLies }
    let key = PackedWeight(
      weight: value, isTransposed: column != 1, groups: 1,
      form: lanes == nil ? .matrix : .matrixPanels, depth: product.inner)
    let (depth, columns) = (product.inner, product.columns)
    let packed = packed(key) { lowering in
      if let lanes {
        return lowering.panels(
          of: slot, extents: [1, 1, depth, columns], strides: [0, 0, inner, column], columns: lanes)
      }
      let target = lowering.addSlot(depth * columns)
      lowering.copy(from: slot, [inner, column], to: target, [columns, 1], [depth, columns])
      return target
    }
    return RightFactor(slot: packed, inner: lanes ?? columns, column: 1, block: depth * (lanes ?? 0))
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

/// One of several kernels that compute the same.
private struct KernelVariant {
  var kernel: String
  var workItems: Int
  var groupSize: Int?

  init(kernel: String, workItems: Int) {
    self.kernel = kernel
    self.workItems = workItems
  }

  init(kernel: String, tiles: Int, _ tile: DeviceTraits.Tile) {
    self.kernel = kernel
    workItems = tiles * tile.workItems
    groupSize = tile.workItems
  }
}

/// A tensor with one to three spatial axes seen as volumes.
struct SpatialShape {
  var rank: Int
  var samples: Int
  var channels: Int
  /// Depth, height and width; 1 for an axis that the tensor lacks.
  var extents: [Int]
  var depth: Int { extents[0] }
  var height: Int { extents[1] }
  var width: Int { extents[2] }
  var positions: Int { extents.reduce(1, *) }

  init(_ shape: Shape) {
    precondition((3...5).contains(shape.rank), "\(shape) is no batch of volumes")
    rank = shape.rank
    samples = shape[0]
    channels = shape[1]
    extents = Array(repeating: 1, count: 5 - shape.rank) + shape.dimensions[2...]
  }
}
