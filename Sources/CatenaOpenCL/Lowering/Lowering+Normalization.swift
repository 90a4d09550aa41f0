import CatenaCompute
import CatenaGraph
import CatenaTensors

/// Normalisations by statistics of the data.
extension Lowering {
  /// Means and factors of each sample's channel, then (data - mean) * factor + bias as one pass.
  mutating func lowerInstanceNormalization(_ node: Node, epsilon: Float) {
    let output = node.outputs[0]
    let data = computed(node.inputs[0])
    let shape = graph.shape(output)
    let (samples, channels) = (shape[0], shape[1])
    let positions = shape.count(of: 2..<shape.rank)
    let strides = data.layout.strides(of: shape)
    let means = addSlot(samples * channels)
    let factors = addSlot(samples * channels)
    let step = strides[1] == 1 ? traits[.normalize].step : 1
    let items = samples * dividedUp(channels, step)
    let parts = traits.parts(of: positions, least: traits[.normalize].rowsPerPart, items: items)
    let extents = Launch.Argument.integers([samples, channels, positions, 0])
    let partition = Launch.Argument.integers([parts, dividedUp(positions, parts)])
    let partial = (means: addSlot(samples * parts * channels), squares: addSlot(samples * parts * channels))
    launch(
      .normalize, "instance_normalization_partial",
      [
        .read(data.slot), .write(partial.means), .write(partial.squares), extents,
        .integers([strides[0], strides[1], data.layout == .channelsLast ? channels : 1, 0]), partition,
      ], workItems: items * parts)
    launch(
      .normalize, "instance_normalization_factors",
      [
        .read(partial.means), .read(partial.squares), .read(slot(of: node.inputs[1], .rowMajor)), .write(means),
        .write(factors), extents, partition, .floats([epsilon]),
      ], groups: samples * dividedUp(channels, traits[.normalize].lanes))
    let (kind, geometry) = Self.channelGeometry(of: 1, shape, data.layout)
    let bias = slot(of: node.inputs[2], .rowMajor)
    var chain = EpilogueChain(root: node.inputs[0], layout: data.layout, geometry: geometry)
    let perSample = max(geometry.rows / max(samples, 1), 1)
    chain.stages = [
      EpilogueStage(
        kind: kind, function: KernelFunctions.Binary.subtract.rawValue, operand: means, rowsPerRegion: perSample),
      EpilogueStage(
        kind: kind, function: KernelFunctions.Binary.multiply.rawValue, operand: factors, rowsPerRegion: perSample),
      EpilogueStage(
        kind: kind, function: KernelFunctions.Binary.add.rawValue, a: 1, operand: bias,
        rowsPerRegion: max(geometry.rows, 1), value: output),
    ]
    extend(&chain)
    launchPointwise(chain, data.slot)
  }

  mutating func lowerResponseNormalization(_ node: Node, _ parameters: LocalResponseNormalization) {
    let data = computed(node.inputs[0])
    let shape = graph.shape(node.outputs[0])
    launch(
      .normalize, "response_normalization",
      [.read(data.slot), .write(makeSlot(for: node.outputs[0], data.layout))]
        + arguments(parameters, shape, data.layout), workItems: shape.elementCount)
  }

  mutating func lowerResponseNormalizationGradient(_ node: Node, _ parameters: LocalResponseNormalization) {
    let layout = layout(of: node.inputs[1])
    let operands = node.inputs.map { slot(of: $0, layout) }
    let shape = graph.shape(node.outputs[0])
    let shares = addSlot(shape.elementCount)
    let bases = addSlot(shape.elementCount)
    let constants = arguments(parameters, shape, layout)
    launch(
      .normalize, "response_normalization_shares",
      operands.map { .read($0) } + [.write(shares), .write(bases)] + constants, workItems: shape.elementCount)
    launch(
      .normalize, "response_normalization_gradient",
      [
        .read(operands[0]), .read(operands[1]), .read(shares), .read(bases),
        .write(makeSlot(for: node.outputs[0], layout)),
      ] + constants, workItems: shape.elementCount)
  }

  private func arguments(
    _ parameters: LocalResponseNormalization, _ shape: Shape, _ layout: Layout
  ) -> [Launch.Argument] {
    let isLast = layout.canonical(for: shape) == .channelsLast
    let positions = shape.count(of: 2..<shape.rank)
    return [
      .integers([
        isLast ? shape[0] * positions : shape[0], shape[1], isLast ? 1 : positions, parameters.size,
      ]),
      .floats([parameters.alpha, parameters.beta, parameters.bias, 0]),
    ]
  }
}
