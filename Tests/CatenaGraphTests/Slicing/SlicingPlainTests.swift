import CatenaGraph
import CatenaTensors
import Testing

/// Chains without branches.
@Suite struct SlicingPlainTests {
  @Test(arguments: slicingSeeds) func plain(seed: Int) throws {
    var network = try plainNetwork(seed)
    try network.checkAtRandom()
  }

  private func plainNetwork(_ seed: Int) throws -> SlicingNetwork {
    var network = SlicingNetwork(seed: seed)
    var x = network.input(2, 3, 6, 6)
    for filters in [6, 5, 7] {
      x = try network.convolution(x, filters)
      x = try network.batchNormalization(x)
      x = try network.unit(network.relu(x))
    }
    try network.classify(x)
    return network
  }

  @Test func plainCutsProducersAndReaders() throws {
    var network = try plainNetwork(1)
    let dead = zip(network.units, [[0, 3], [1], [2, 4, 6]])
      .map { ZeroedChannels(value: $0.value, axis: 1, indices: $1) }
    let sliced = try network.check(dead)
    let weights = sliced.graph.nodes.compactMap { node -> Shape? in
      guard case .convolution = node.operation else { return nil }
      return sliced.graph.shape(node.inputs[1])
    }
    #expect(weights == [[4, 3, 3, 3], [4, 4, 3, 3], [4, 4, 3, 3]])
    #expect(sliced.record.uncut.isEmpty)
    #expect(sliced.record.factors.isEmpty)
    #expect(sliced.record.kept(network.units[0].value, axis: 1) == [1, 2, 4, 5])
  }

  @Test func deadLayerKeepsOneZeroChannel() throws {
    var network = try plainNetwork(2)
    let sliced = try network.check([ZeroedChannels(value: network.units[1].value, axis: 1, indices: Array(0..<5))])
    #expect(sliced.graph.shape(network.units[1].value)[1] == 1)
    #expect(sliced.record.uncut.map(\.reason) == [.lastChannel])
  }

  @Test(arguments: slicingSeeds) func vggReluBeforeBatchNorm(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    var x = network.input(1, 3, 8, 8)
    for filters in [5, 6] {
      x = try network.convolution(x, filters)
      x = try network.relu(x)
      x = try network.unit(network.pool(.maximum, network.batchNormalization(x)))
    }
    let features = try network.flatten(x)
    let hidden = try network.unit(network.relu(network.gemm(features, 7)))
    network.graph.outputs = [try network.gemm(hidden, 4)]
    let dead = network.randomDeadChannels()
    let sliced = try network.check(dead)
    for (unit, indices) in zip(network.units, dead.map(\.indices)) where !network.hasDeadLayer(dead) {
      #expect(sliced.graph.shape(unit.value)[1] == network.graph.shape(unit.value)[1] - indices.count)
    }
  }

  @Test(arguments: slicingSeeds) func flattenToGemmWithSpatialExtent(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    let x = network.input(2, 2, 4, 4)
    let features = try network.unit(network.pool(.average(countIncludesPadding: false), network.convolution(x, 5)))
    network.graph.outputs = [try network.gemm(network.flatten(features), 3)]
    let dead = network.randomDeadChannels()
    let sliced = try network.check(dead)
    let weight = sliced.graph.nodes.last!.inputs[1]
    #expect(sliced.graph.shape(weight) == [3, max(5 - dead[0].indices.count, 1) * 4])
  }

  @Test(arguments: slicingSeeds, [1, 2, 3]) func convolutionOfEveryRank(seed: Int, rank: Int) throws {
    var network = SlicingNetwork(seed: seed)
    var x = network.graph.addInput("x", TensorType(.float32, Shape([1, 2] + [4, 5, 3].prefix(rank))))
    for filters in [4, 5] { x = try network.unit(network.relu(network.convolution(x, filters))) }
    try network.classify(x)
    try network.checkAtRandom()
  }

  @Test(arguments: slicingSeeds) func transposedConvolution(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    let x = network.input(1, 3, 4, 4)
    let encoded = try network.unit(network.relu(network.convolution(x, 5)))
    let geometry = ConvolutionTranspose(
      Convolution(strides: [2, 2], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1]), outputPadding: [1, 1])
    let decoded = try network.graph.add(
      .convolutionTranspose(geometry), encoded, network.constant("weight", [5, 4, 3, 3]), network.constant("bias", [4]))
    try network.classify(network.unit(network.batchNormalization(decoded)))
    let dead = network.randomDeadChannels()
    let sliced = try network.check(dead)
    #expect(sliced.graph.shape(decoded)[1] == max(4 - dead[1].indices.count, 1))
  }

  @Test(arguments: slicingSeeds) func prelu(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    let x = network.input(1, 3, 4, 4)
    let slope = network.constant("slope", [6, 1, 1])
    let hidden = try network.unit(network.binary(.prelu, network.convolution(x, 6), slope))
    try network.classify(hidden)
    let dead = network.randomDeadChannels()
    let sliced = try network.check(dead)
    #expect(sliced.graph.shape(slope) == [max(6 - dead[0].indices.count, 1), 1, 1])
  }

  @Test(arguments: slicingSeeds) func depthwiseSeparable(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    var x = network.input(1, 3, 6, 6)
    for filters in [6, 5] {
      x = try network.unary(.clip(minimum: 0, maximum: 6), network.convolution(x, filters, kernel: 1))
      let depthwise = try network.convolution(x, filters, groups: filters)
      x = try network.unit(network.unary(.clip(minimum: 0, maximum: 6), depthwise))
    }
    try network.classify(x)
    let dead = network.randomDeadChannels()
    let sliced = try network.check(dead)
    for (unit, indices) in zip(network.units, dead.map(\.indices)) where !network.hasDeadLayer(dead) {
      #expect(sliced.graph.shape(unit.value)[1] == network.graph.shape(unit.value)[1] - indices.count)
    }
  }

  @Test func depthwiseBiasBehindTheZeroingPointStays() throws {
    var network = SlicingNetwork(seed: 3)
    let x = network.input(1, 3, 6, 6)
    let hidden = try network.unit(network.relu(network.convolution(x, 4, kernel: 1)))
    let depthwise = try network.convolution(hidden, 4, groups: 4)
    try network.classify(depthwise)
    let sliced = try network.check([ZeroedChannels(value: hidden, axis: 1, indices: [1, 2])])
    #expect(sliced.graph.shape(hidden)[1] == 4)
    #expect(sliced.record.uncut.map(\.reason) == [.convolutionBias])
  }

  @Test func sigmoidAtTheEndNeedsAnExplicitFactor() throws {
    var network = SlicingNetwork(seed: 4)
    let x = network.input(1, 3, 4, 4)
    let hidden = try network.unary(.sigmoid, network.convolution(x, 4))
    try network.classify(network.binary(.add, hidden, network.constant("offset", [4, 1, 1])))
    let sliced = try network.check([ZeroedChannels(value: hidden, axis: 1, indices: [0, 2])])
    #expect(sliced.record.factors.map(\.zeros) == [[0, 2]])
    #expect(sliced.record.uncut.map(\.indices) == [[0, 2]])
  }

  @Test func sigmoidBehindTheZeroingPointKeepsStructuralZeros() throws {
    var network = SlicingNetwork(seed: 5)
    let x = network.input(1, 3, 4, 4)
    let hidden = try network.batchNormalization(network.convolution(x, 4))
    try network.classify(network.unary(.sigmoid, hidden))
    let sliced = try network.check([ZeroedChannels(value: hidden, axis: 1, indices: [0, 2])])
    #expect(sliced.record.uncut.map(\.reason) == [.activation])
    #expect(sliced.record.constants.filter { $0.zeros == [[0, 2]] }.count == 2)
    #expect(sliced.record.factors.isEmpty)
  }

  @Test func upstreamFiltersOfADeadBranchAreUnread() throws {
    var network = SlicingNetwork(seed: 6)
    let x = network.input(1, 3, 4, 4)
    let left = try network.relu(network.convolution(x, 4))
    let parts = try network.graph.add(.split(axis: 1, sizes: [2, 2]), inputs: [left])
    let merged = try network.graph.add(.concatenate(axis: 1), parts[0], network.convolution(parts[1], 3))
    try network.classify(merged)
    let dead = ZeroedChannels(value: merged, axis: 1, indices: [2, 3, 4])
    let sliced = try network.check([dead])
    #expect(sliced.graph.shape(merged)[1] == 2)
    #expect(sliced.record.unread.map(\.indices) == [[3]])
  }
}
