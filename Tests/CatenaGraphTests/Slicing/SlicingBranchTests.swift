import CatenaGraph
import CatenaTensors
import Testing

/// Sums, concatenations and products of branches.
@Suite struct SlicingBranchTests {
  /// Two blocks around a sum, the shortcut as given by the closure.
  private func block(
    _ network: inout SlicingNetwork, _ x: ValueID, _ filters: Int, stride: Int = 1,
    shortcut: (inout SlicingNetwork, ValueID) throws -> ValueID
  ) throws -> (branch: ValueID, sum: ValueID) {
    var y = try network.convolution(x, filters, stride: stride, bias: false)
    y = try network.unit(network.relu(network.batchNormalization(y)))
    y = try network.unit(network.batchNormalization(network.convolution(y, filters, bias: false)))
    let sum = try network.binary(.add, y, shortcut(&network, x))
    return (y, sum)
  }

  private func stem(_ network: inout SlicingNetwork, _ filters: Int) throws -> ValueID {
    let x = network.input(1, 3, 6, 6)
    return try network.unit(network.relu(network.batchNormalization(network.convolution(x, filters))))
  }

  @Test(arguments: slicingSeeds) func residualIdentity(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    var x = try stem(&network, 6)
    for _ in 0..<2 { x = try network.relu(block(&network, x, 6) { $1 }.sum) }
    try network.classify(x)
    try network.checkAtRandom()
  }

  @Test func residualSumKeepsTheUnionOfItsWriters() throws {
    var network = SlicingNetwork(seed: 20)
    let x = try stem(&network, 6)
    let (branch, sum) = try block(&network, x, 6) { $1 }
    try network.classify(network.relu(sum))
    let dead = [
      ZeroedChannels(value: x, axis: 1, indices: [0, 1, 2, 3]),
      ZeroedChannels(value: branch, axis: 1, indices: [2, 3, 4]),
    ]
    let sliced = try network.check(dead)
    #expect(sliced.record.kept(sum, axis: 1) == [0, 1, 4, 5])
    #expect(sliced.record.uncut.map(\.reason) == [.otherWriter, .otherWriter])
    #expect(sliced.record.uncut.map(\.indices) == [[0, 1], [4]])
  }

  @Test(arguments: slicingSeeds) func residualProjection(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    let x = try stem(&network, 5)
    let projected = try block(&network, x, 7, stride: 2) { network, x in
      let y = try network.convolution(x, 7, kernel: 1, stride: 2, bias: false)
      return try network.unit(network.batchNormalization(y))
    }
    let second = try block(&network, network.relu(projected.sum), 7) { $1 }
    try network.classify(network.relu(second.sum))
    try network.checkAtRandom()
  }

  @Test(arguments: slicingSeeds, [(1, 1), (0, 4), (3, 1)]) func residualPadSlice(
    seed: Int, padding: (Int, Int)
  ) throws {
    var network = SlicingNetwork(seed: seed)
    let x = try stem(&network, 4)
    let filters = 4 + padding.0 + padding.1
    let first = try block(&network, x, filters, stride: 2) { network, x in
      let slice = Slice(starts: [0, 0, 0, 0], sizes: [1, 4, 3, 3], steps: [1, 1, 2, 2])
      let strided = try network.graph.add(.slice(slice), x)
      let pad = Pad(.constant(0), begins: [0, padding.0, 0, 0], ends: [0, padding.1, 0, 0])
      return try network.graph.add(.pad(pad), strided)
    }
    let second = try block(&network, network.relu(first.sum), filters) { $1 }
    try network.classify(network.relu(second.sum))
    try network.checkAtRandom()
  }

  @Test func padSliceCutsPaddedChannelsThatNobodyWrites() throws {
    var network = SlicingNetwork(seed: 21)
    let x = try stem(&network, 4)
    let pad = Pad(.constant(0), begins: [0, 2, 0, 0], ends: [0, 2, 0, 0])
    let (branch, sum) = try block(&network, x, 8) { network, x in try network.graph.add(.pad(pad), x) }
    try network.classify(sum)
    let dead = [
      ZeroedChannels(value: x, axis: 1, indices: [1, 2]),
      ZeroedChannels(value: branch, axis: 1, indices: [0, 3, 5, 6, 7]),
    ]
    let sliced = try network.check(dead)
    #expect(sliced.record.kept(sum, axis: 1) == [1, 2, 4, 5])
    let pads = sliced.graph.nodes.compactMap { node -> Pad? in
      if case .pad(let pad) = node.operation { pad } else { nil }
    }
    #expect(pads.map(\.begins) == [[0, 1, 0, 0]])
    #expect(pads.map(\.ends) == [[0, 0, 0, 0]])
  }

  @Test(arguments: slicingSeeds) func bottleneckWithDeadBlock(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    var x = try stem(&network, 8)
    var branches: [ValueID] = []
    for _ in 0..<3 {
      var y = try network.unit(network.relu(network.batchNormalization(network.convolution(x, 4, kernel: 1))))
      y = try network.unit(network.relu(network.batchNormalization(network.convolution(y, 4))))
      y = try network.unit(network.batchNormalization(network.convolution(y, 8, kernel: 1)))
      branches.append(y)
      x = try network.relu(network.binary(.add, y, x))
    }
    try network.classify(x)
    let sliced = try network.check(network.randomDeadChannels(), values: [branches[1]])
    let sum = network.graph.nodes.first { $0.inputs.first == branches[1] }!.outputs[0]
    #expect(sliced.record.rewired.contains { $0.from == sum })
    #expect(sliced.record.removedNodes.contains(branches[1]))
    #expect(!sliced.graph.nodes.contains { $0.outputs[0] == branches[1] || $0.outputs[0] == sum })
  }

  @Test(arguments: slicingSeeds) func deadValueThatIsNotAdded(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    let x = try stem(&network, 4)
    let y = try network.convolution(x, 4)
    let z = try network.unary(.sigmoid, network.convolution(x, 4))
    try network.classify(network.graph.add(.concatenate(axis: 1), x, network.binary(.multiply, y, z)))
    try network.check(network.randomDeadChannels(), values: [seed % 2 == 0 ? y : z])
  }

  @Test(arguments: slicingSeeds) func wideResidualBatchNormAfterSum(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    let x = network.input(1, 3, 6, 6)
    var sum = try network.unit(network.convolution(x, 6, bias: false))
    for _ in 0..<2 {
      var y = try network.relu(network.batchNormalization(sum))
      y = try network.unit(network.relu(network.batchNormalization(network.convolution(y, 5, bias: false))))
      y = try network.unit(network.convolution(y, 6, bias: false))
      sum = try network.binary(.add, y, sum)
    }
    try network.classify(network.relu(network.batchNormalization(sum)))
    try network.checkAtRandom()
  }

  @Test func batchNormBehindASumIsNamedAsTheReason() throws {
    var network = SlicingNetwork(seed: 22)
    let x = network.input(1, 3, 6, 6)
    let left = try network.convolution(x, 6, bias: false)
    let right = try network.convolution(x, 6, bias: false)
    let sum = try network.binary(.add, left, right)
    try network.classify(network.batchNormalization(sum))
    let sliced = try network.check([left, right].map { ZeroedChannels(value: $0, axis: 1, indices: [2, 3]) })
    #expect(sliced.record.uncut.map(\.reason) == [.normalization, .normalization])
    #expect(sliced.record.kept(sum, axis: 1) == nil)
  }

  @Test(arguments: slicingSeeds) func concatFire(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    var x = try stem(&network, 5)
    for _ in 0..<2 {
      let squeezed = try network.unit(network.relu(network.convolution(x, 3, kernel: 1)))
      let small = try network.unit(network.relu(network.convolution(squeezed, 4, kernel: 1)))
      let large = try network.unit(network.relu(network.convolution(squeezed, 5)))
      x = try network.graph.add(.concatenate(axis: 1), small, large)
    }
    try network.classify(x)
    let dead = network.randomDeadChannels()
    let sliced = try network.check(dead)
    let count = 9 - dead[5].indices.count - dead[6].indices.count
    #expect(sliced.graph.shape(x)[1] == count || network.hasDeadLayer(dead))
  }

  @Test(arguments: slicingSeeds, [false, true]) func denseConcatChain(seed: Int, normalizesFirst: Bool) throws {
    var network = SlicingNetwork(seed: seed)
    var x = try stem(&network, 4)
    for _ in 0..<3 {
      var y = x
      if normalizesFirst { y = try network.relu(network.batchNormalization(y)) }
      y = try network.convolution(y, 3)
      if !normalizesFirst { y = try network.relu(network.batchNormalization(y)) }
      x = try network.graph.add(.concatenate(axis: 1), x, network.unit(y))
    }
    try network.classify(x)
    try network.checkAtRandom()
  }

  @Test(arguments: slicingSeeds) func squeezeAndExcite(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    let x = try stem(&network, 6)
    let squeezed = try network.unit(
      network.relu(network.convolution(network.spatialMean(x), 3, kernel: 1)))
    let excited = try network.convolution(squeezed, 6, kernel: 1)
    let scaled = try network.binary(.multiply, x, network.unary(.sigmoid, excited))
    try network.classify(scaled)
    let dead = network.randomDeadChannels()
    let sliced = try network.check(dead)
    let count = max(6 - dead[0].indices.count, 1)
    #expect(sliced.graph.shape(excited)[1] == count)
    #expect(sliced.graph.shape(scaled)[1] == count)
  }

  @Test(arguments: slicingSeeds) func split(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    let x = try stem(&network, 8)
    let parts = try network.graph.add(.split(axis: 1, sizes: [3, 5]), inputs: [x])
    let left = try network.unit(network.relu(network.convolution(parts[0], 4)))
    let right = try network.unit(network.relu(network.convolution(parts[1], 4)))
    try network.classify(network.binary(.add, left, right))
    try network.checkAtRandom()
  }

  @Test(arguments: slicingSeeds) func sliceOfChannels(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    let x = try stem(&network, 8)
    let part = try network.graph.add(.slice(Slice(2..<7, axis: 1, of: network.graph.shape(x))), x)
    try network.classify(network.unit(network.convolution(part, 4)))
    let dead = network.randomDeadChannels()
    let sliced = try network.check(dead)
    #expect(sliced.graph.shape(x)[1] <= 5)
  }

  @Test(arguments: slicingSeeds) func gather(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    let x = try stem(&network, 6)
    let indices = network.graph.addConstant("indices", Tensor([Int64(4), -6, 2, 4], shape: [4]))
    let gathered = try network.graph.add(.gather(axis: 1), x, indices)
    try network.classify(gathered)
    let dead = network.randomDeadChannels()
    let sliced = try network.check(dead)
    #expect(sliced.graph.shape(gathered)[1] == max([4, 0, 2, 4].count { !dead[0].indices.contains($0) }, 1))
  }

  @Test(arguments: slicingSeeds) func sharedWeights(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    let x = try stem(&network, 4)
    let weight = network.constant("shared", [4, 4, 3, 3])
    let first = try network.unit(network.relu(network.convolution(x, weight: weight, pads: [1, 1])))
    let second = try network.unit(network.relu(network.convolution(first, weight: weight, pads: [1, 1])))
    try network.classify(second)
    try network.checkAtRandom()
  }

  @Test func sharedWeightsWithTwoCutsAreTwoConstants() throws {
    var network = SlicingNetwork(seed: 23)
    let x = try stem(&network, 4)
    let weight = network.constant("shared", [4, 4, 3, 3])
    let first = try network.relu(network.convolution(x, weight: weight, pads: [1, 1]))
    let second = try network.relu(network.convolution(first, weight: weight, pads: [1, 1]))
    try network.classify(second)
    let sliced = try network.check([ZeroedChannels(value: first, axis: 1, indices: [1])])
    let slices = sliced.record.constants.filter { $0.original == weight }
    #expect(slices.map(\.kept) == [[[0, 2, 3], nil, nil, nil], [nil, [0, 2, 3], nil, nil]])
    #expect(Set(slices.map(\.result)).count == 2)
  }
}
