import CatenaCompute
import CatenaGraph
import CatenaTensors

extension Lowering {
  /// Makes the launches of one node and of those that are fused with it.
  mutating func lower(nodeAt index: Int) {
    let node = graph.nodes[index]
    switch node.operation {
    case .convolution(let convolution):
      lowerConvolution(node, ConvolutionMapping(convolution, isTransposed: false))
    case .convolutionTranspose(let transpose):
      lowerConvolution(node, ConvolutionMapping(transpose.convolution, isTransposed: true))
    case .gemm(let gemm): lowerGemm(node, gemm)
    case .matmul: lowerMatmul(node)
    case .pool(let pool): lowerPool(node, pool)
    case .poolGradient(let pool): lowerPoolGradient(node, pool)
    case .unary, .unaryGradient, .binary, .gate, .batchNormalization: lowerElementwise(nodeAt: index)
    case .select: lowerTyped(node)
    case .cast(let type):
      if type == graph.type(node.inputs[0]).elementType {
        bind(node.outputs[0], to: location(of: node.inputs[0]))
      } else {
        lowerTyped(node)
      }
    case .identity: bind(node.outputs[0], to: location(of: node.inputs[0]))
    case .reshape:
      let type = graph.type(node.inputs[0]).elementType
      let slot = slot(of: node.inputs[0], .rowMajor, as: type)
      bind(node.outputs[0], to: LoweredProgram.Location(slot: slot, layout: .rowMajor, type: type))
    case .softmax(let axes): lowerSoftmax(node, axes: axes, isLogarithm: false)
    case .logSoftmax(let axes): lowerSoftmax(node, axes: axes, isLogarithm: true)
    case .reduce(let reduce): lowerReduce(node, reduce)
    case .argReduce(let reduce): lowerArgReduce(node, reduce)
    case .concatenate, .split, .slice, .sliceGradient, .pad, .padGradient, .transpose, .expand: lowerMovement(node)
    case .gather(let axis): lowerGather(node, axis: axis)
    case .gatherGradient(let axis, let inputShape): lowerGatherGradient(node, data: inputShape, axis: axis)
    case .resize(let resize): lowerResize(node, resize)
    case .resizeGradient(let resize, let inputShape): lowerResizeGradient(node, resize, inputShape: inputShape)
    case .instanceNormalization(let epsilon): lowerInstanceNormalization(node, epsilon: epsilon)
    case .localResponseNormalization(let parameters): lowerResponseNormalization(node, parameters)
    case .localResponseNormalizationGradient(let parameters): lowerResponseNormalizationGradient(node, parameters)
    case .gateGradient(let axis): lowerGateGradient(node, axis: axis, dividesByGate: false)
    case .gateGradientFromOutput(let axis): lowerGateGradient(node, axis: axis, dividesByGate: true)
    case .adam(let adam): lowerAdam(node, adam)
    }
  }

  // MARK: Element by element

  private mutating func lowerElementwise(nodeAt index: Int) {
    let node = graph.nodes[index]
    guard (node.inputs + node.outputs).allSatisfy({ graph.type($0).elementType.isFloatingPoint }) else {
      lowerTyped(node)
      return
    }
    guard let chain = chain(ofNodeAt: index) else {
      lowerBroadcast(node)
      return
    }
    launchPointwise(chain, slot(of: chain.root, chain.layout))
  }

  /// A chain on its own.
  mutating func launchPointwise(_ chain: EpilogueChain, _ data: SlotID) {
    let count = graph.shape(chain.root).elementCount
    let (rows, columns) = chain.geometry.map { ($0.rows, $0.columns) } ?? (1, count)
    launch(
      .elementwise, "pointwise",
      [.read(data), .integers([rows, columns])] + epilogueArguments(chain, storesRoot: false),
      workItems: rows * dividedUp(columns, traits[.elementwise].step))
  }

  /// Two operands, neither of which has the result's shape (or both are one value).
  private mutating func lowerBroadcast(_ node: Node) {
    guard case .binary(let function) = node.operation else {
      preconditionFailure("\(node.operation.name) is no chain and no broadcast")
    }
    let shape = graph.shape(node.outputs[0])
    let layout = elementwiseLayout(node)
    let order = layout.axes(rank: shape.rank)
    let sources = node.inputs.map { computed($0) }
    let walk = StridedWalk(
      extents: shape.dimensions,
      strides: zip(node.inputs, sources).map { broadcastStrides(graph.shape($0), $1.layout, to: shape) }
    ).reordered(order).collapsed()
    let axes = StridedArguments(walk)
    let innermost = walk.extents[walk.extents.count - 1]
    let result = makeSlot(for: node.outputs[0], layout)
    launch(
      .elementwise, "binary_broadcast",
      [
        .read(sources[0].slot), .read(sources[1].slot), .write(result),
        .integers([Int(function.kernelFunction.rawValue)]),
        .integers([axes.rank]), .integers([axes.outerCount]), .integers(axes.extents), .integers(axes.strides[0]),
        .integers(axes.strides[1]), .integers([innermost] + axes.innermost + [0]),
      ], workItems: axes.outerCount * dividedUp(innermost, traits[.elementwise].lanes))
  }

  /// The strides with which a tensor in `layout` is read as if it had the shape that it broadcasts to.
  func broadcastStrides(_ shape: Shape, _ layout: Layout, to target: Shape) -> [Int] {
    let own = layout.strides(of: shape)
    let offset = target.rank - shape.rank
    return target.dimensions.indices.map { axis in
      axis < offset || shape[axis - offset] == 1 ? 0 : own[axis - offset]
    }
  }

  // MARK: Gates and the optimiser

  /// Parts of a region, at most, whose gate gradients are summed by themselves: beyond this number all of a large device
  /// is busy, and memory would grow with the data.
  private static let mostGateParts = 4096

  private mutating func lowerGateGradient(_ node: Node, axis: Int, dividesByGate: Bool) {
    let shape = graph.shape(node.inputs[0])
    let layout = elementwiseLayout(Node(.identity, inputs: Array(node.inputs[..<2]), outputs: [node.inputs[0]]))
    let gate = graph.shape(node.inputs[2])
    let (kind, geometry) = Self.channelGeometry(of: axis, shape, layout)
    let rows = kind == .channel ? geometry.rows : geometry.rows / geometry.channels
    let inner = kind == .channel ? 1 : geometry.columns
    let rowsPerRegion = rows / gate[0]
    let parts = min(Self.mostGateParts, max(1, rowsPerRegion / traits[.gate].rowsPerPart))
    let partial = addSlot(gate.elementCount * parts)
    launch(
      .gate, "gate_gradient_partial",
      [
        .read(slot(of: node.inputs[0], layout)), .read(slot(of: node.inputs[1], layout)), .write(partial),
        .integers([gate[0], rowsPerRegion, gate[1], inner]), .integers([parts, dividedUp(rowsPerRegion, parts)]),
      ], workItems: gate[0] * parts * dividedUp(gate[1], inner == 1 ? traits[.gate].step : 1))
    launch(
      .gate, "gate_gradient_total",
      [
        .read(partial), dividesByGate ? .read(slot(of: node.inputs[2], .rowMajor)) : .null,
        .write(makeSlot(for: node.outputs[0], .rowMajor)), .integers([gate[1]]), .integers([parts]),
      ], groups: gate[0] * dividedUp(gate[1], traits[.gate].lanes))
  }

  private mutating func lowerAdam(_ node: Node, _ adam: Adam) {
    let shape = graph.shape(node.inputs[0])
    var operands = node.inputs[..<5].map { slot(of: $0, .rowMajor) }
    operands.append(expanded(node.inputs[5], to: shape))
    let results = node.outputs.map { makeSlot(for: $0, .rowMajor) }
    launch(
      .optimizer, "adam",
      operands.map { .read($0) } + results.map { .write($0) }
        + [
          .integers([shape.elementCount]), .floats([adam.learningRate, adam.beta1, adam.beta2, adam.epsilon]),
        ], workItems: shape.elementCount)
  }

  /// The value repeated to `shape`, row-major.
  mutating func expanded(_ value: ValueID, to shape: Shape) -> SlotID {
    if graph.shape(value) == shape { return slot(of: value, .rowMajor) }
    let source = computed(value)
    let target = addSlot(shape.elementCount)
    copy(
      from: source.slot, broadcastStrides(graph.shape(value), source.layout, to: shape), to: target, shape.strides,
      shape.dimensions)
    return target
  }
}
