import CatenaGraph
import CatenaTensors
import Testing

/// Grouped convolutions, shuffles, tokens, and what must stay.
@Suite struct SlicingGroupTests {
  private func groupedNetwork(_ seed: Int) throws -> (SlicingNetwork, input: ValueID, output: ValueID) {
    var network = SlicingNetwork(seed: seed)
    let x = network.input(1, 3, 5, 5)
    let input = try network.unit(network.relu(network.convolution(x, 12, kernel: 1)))
    let output = try network.unit(
      network.relu(network.batchNormalization(network.convolution(input, 8, groups: 4, bias: false))))
    try network.classify(output)
    return (network, input, output)
  }

  @Test(arguments: 0..<40) func groupedConvolution(seed: Int) throws {
    var (network, _, _) = try groupedNetwork(seed)
    try network.checkAtRandom()
  }

  @Test func aWholeGroupIsCut() throws {
    var (network, input, output) = try groupedNetwork(30)
    let sliced = try network.check([
      ZeroedChannels(value: input, axis: 1, indices: [3, 4, 5]),
      ZeroedChannels(value: output, axis: 1, indices: [2, 3]),
    ])
    #expect(sliced.graph.shape(input)[1] == 9)
    #expect(sliced.graph.shape(output)[1] == 6)
  }

  @Test func equalNumbersPerGroupAreCut() throws {
    var (network, input, output) = try groupedNetwork(31)
    let sliced = try network.check([
      ZeroedChannels(value: input, axis: 1, indices: [0, 4, 8, 9]),
      ZeroedChannels(value: output, axis: 1, indices: [1, 2, 4, 7]),
    ])
    #expect(sliced.graph.shape(input)[1] == 8)
    #expect(sliced.graph.shape(output)[1] == 4)
    #expect(sliced.record.constants.contains { $0.keptByGroup == [[1, 2], [0, 2], [0, 1], [1, 2]] })
  }

  @Test func unequalGroupsKeepZeros() throws {
    var (network, input, _) = try groupedNetwork(32)
    let sliced = try network.check([ZeroedChannels(value: input, axis: 1, indices: [0, 4])])
    #expect(sliced.graph.shape(input)[1] == 12)
    #expect(sliced.record.uncut.map(\.reason) == [.groups])
  }

  @Test(arguments: slicingSeeds) func channelShuffle(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    let x = network.input(1, 3, 4, 4)
    let hidden = try network.unit(network.relu(network.convolution(x, 6)))
    let split = try network.graph.add(.reshape([1, 2, 3, 4, 4]), hidden)
    let swapped = try network.graph.add(.transpose(permutation: [0, 2, 1, 3, 4]), split)
    let merged = try network.graph.add(.reshape([1, 6, 4, 4]), swapped)
    try network.classify(network.unit(network.relu(network.convolution(merged, 4))))
    let dead = network.randomDeadChannels()
    let sliced = try network.check(dead)
    // What is left is all combinations of the groups and of the places in them that have anything left.
    let live = (0..<6).filter { !dead[0].indices.contains($0) }
    let left = max(Set(live.map { $0 / 3 }).count * Set(live.map { $0 % 3 }).count, 1)
    #expect(sliced.graph.shape(hidden)[1] == left)
    if !live.isEmpty { #expect(sliced.record.uncut.contains { $0.reason == .reshape } == (left > live.count)) }
  }

  /// Tokens: channels on the last axis, matrix products, heads that reshapes split off.
  @Test(arguments: slicingSeeds) func attentionAndMLP(seed: Int) throws {
    var network = SlicingNetwork(seed: seed)
    let x = network.input(1, 5, 6)
    func project(_ x: ValueID, _ columns: Int) throws -> ValueID {
      let rows = network.graph.shape(x)[-1]
      let product = try network.graph.add(.matmul, x, network.constant("weight", [rows, columns]))
      return try network.binary(.add, product, network.constant("bias", [columns]))
    }
    func heads(_ x: ValueID, _ permutation: [Int]) throws -> ValueID {
      try network.graph.add(
        .transpose(permutation: permutation), network.graph.add(.reshape([1, 5, 3, 2]), x))
    }
    let query = try heads(project(x, 6), [0, 2, 1, 3])
    let key = try heads(project(x, 6), [0, 2, 3, 1])
    let value = try heads(project(x, 6), [0, 2, 1, 3])
    let weights = try network.graph.add(.softmax(axes: [3]), network.graph.add(.matmul, query, key))
    let mixed = try network.unit(network.graph.add(.matmul, weights, value), axis: 1)
    let merged = try network.graph.add(
      .reshape([1, 5, 6]), network.graph.add(.transpose(permutation: [0, 2, 1, 3]), mixed))
    let attended = try network.binary(.add, project(merged, 6), x)
    let hidden = try network.unit(network.unary(.gelu, project(attended, 8)), axis: 2)
    network.graph.outputs = [try network.binary(.add, project(hidden, 6), attended)]
    let dead = network.randomDeadChannels()
    let sliced = try network.check(dead)
    #expect(sliced.graph.shape(hidden)[2] == max(8 - dead[1].indices.count, 1))
    #expect(sliced.graph.shape(mixed)[1] == max(3 - dead[0].indices.count, 1))
  }

  /// Of a head's channels each head keeps others, equally many: as many as the head that keeps most.
  @Test(arguments: [false, true]) func headsKeepChannelsOfTheirOwn(packed: Bool) throws {
    var network = SlicingNetwork(seed: 60)
    let x = network.input(2, 5, 6)
    let product = try network.graph.add(.matmul, x, network.constant("weight", [6, 36]))
    let projected = try network.binary(.add, product, network.constant("bias", [36]))
    // Two heads of six channels.
    let parts: [ValueID]
    if packed {
      let split = try network.graph.add(.reshape([2, 5, 3, 2, 6]), projected)
      let first = try network.graph.add(.transpose(permutation: [2, 0, 3, 1, 4]), split)
      parts = try network.graph.add(.split(axis: 0, sizes: [1, 1, 1]), inputs: [first])
        .map { try network.graph.add(.reshape([2, 2, 5, 6]), $0) }
    } else {
      parts = try network.graph.add(.split(axis: 2, sizes: [12, 12, 12]), inputs: [projected]).map {
        try network.graph.add(
          .transpose(permutation: [0, 2, 1, 3]), network.graph.add(.reshape([2, 5, 2, 6]), $0))
      }
    }
    let turned = try network.graph.add(.transpose(permutation: [0, 1, 3, 2]), parts[1])
    let weights = try network.graph.add(.softmax(axes: [3]), network.graph.add(.matmul, parts[0], turned))
    let mixed = try network.graph.add(.matmul, weights, parts[2])
    let merged = try network.graph.add(
      .reshape([2, 5, 12]), network.graph.add(.transpose(permutation: [0, 2, 1, 3]), mixed))
    let output = network.constant("output", [12, 3])
    network.graph.outputs = [try network.graph.add(.matmul, merged, output)]
    // Queries: the first head keeps 2 and 5, the second 1. Values: the first keeps 3, the second 0, 3 and 4.
    let kept = [2, 5, 7, 24 + 3, 24 + 6, 24 + 9, 24 + 10]
    let keys = 12..<24
    let dead = ZeroedChannels(
      value: projected, axis: 2, indices: (0..<36).filter { !kept.contains($0) && !keys.contains($0) })
    let sliced = try network.check([dead])
    // Of packed queries, keys and values all keep as many as the values' second head.
    #expect(sliced.graph.shape(parts[0])[3] == (packed ? 3 : 2))
    #expect(sliced.graph.shape(turned)[2] == (packed ? 3 : 2))
    #expect(sliced.graph.shape(mixed) == [2, 2, 5, 3])
    #expect(sliced.graph.shape(projected)[2] == (packed ? 18 : 14))
    let rows = try #require(sliced.record.constants.first { $0.original == output }?.kept[0])
    #expect(rows.count == 6 && Set(rows).isSuperset(of: [3, 6, 9, 10]))
    #expect(rows.filter { $0 < 6 }.count == 3)
  }

  /// Images flattened with channels last: a channel takes its row of every pixel with it.
  @Test func flattenedChannelsAreCut() throws {
    var network = SlicingNetwork(seed: 61)
    let x = network.input(2, 3, 4, 5)
    let hidden = try network.relu(network.convolution(x, 6))
    let last = try network.graph.add(.transpose(permutation: [0, 2, 3, 1]), hidden)
    let flat = try network.flatten(last)
    network.graph.outputs = [try network.gemm(flat, 3)]
    let sliced = try network.check([ZeroedChannels(value: hidden, axis: 1, indices: [0, 2, 3, 5])])
    #expect(sliced.graph.shape(hidden)[1] == 2)
    #expect(sliced.graph.shape(flat) == [2, 40])
    #expect(sliced.record.kept(flat, axis: 1)?.prefix(4) == [1, 4, 7, 10])
    #expect(sliced.record.uncut.isEmpty)
  }

  /// One row per operator behind the zeroing point that keeps its channels.
  @Test(arguments: [KeepReason.window, .padding, .addition, .reduction, .stridedSlice])
  func channelsThatStay(reason: KeepReason) throws {
    var network = SlicingNetwork(seed: 40)
    let x = network.input(1, 3, 4, 4)
    let hidden = try network.convolution(x, 6)
    let next =
      switch reason {
      case .window:
        try network.graph.add(
          .localResponseNormalization(LocalResponseNormalization(alpha: 0.1, beta: 0.75, bias: 1, size: 3)), hidden)
      case .padding:
        try network.graph.add(
          .pad(Pad(.constant(0.5), begins: [0, 0, 1, 1], ends: [0, 0, 1, 1])), hidden)
      case .addition: try network.binary(.add, hidden, network.constant("offset", [6, 1, 1]))
      case .reduction: try network.graph.add(.reduce(Reduce(.maximum, axes: [1], keepsDimensions: true)), hidden)
      default:
        try network.graph.add(.slice(Slice(starts: [0, 0, 0, 0], sizes: [1, 3, 4, 4], steps: [1, 2, 1, 1])), hidden)
      }
    try network.classify(next)
    let sliced = try network.check([ZeroedChannels(value: hidden, axis: 1, indices: [0, 3])])
    #expect(sliced.graph.shape(hidden)[1] == 6)
    #expect(sliced.record.uncut.map(\.reason) == [reason])
  }

  /// Operators that map zero to zero, each between the zeroing point and the reader.
  @Test(arguments: [
    Operator.instanceNormalization(epsilon: 1e-5),
    .resize(
      Resize(
        .nearest(.floor), coordinates: .asymmetric, sizes: [1, 5, 8, 8], scales: [1, 1, 2, 2])),
    .expand([2, 5, 4, 4]), .cast(.float64), .reduce(Reduce(.sum, axes: [3], keepsDimensions: true)),
  ]) func operatorsInBetween(operation: Operator) throws {
    var network = SlicingNetwork(seed: 41)
    let x = network.input(1, 3, 4, 4)
    let hidden = try network.convolution(x, 5)
    var inputs = [hidden]
    if case .instanceNormalization = operation {
      let zeros = network.graph.addConstant("zeros", Tensor(zeros: [5]))
      inputs += [network.constant("scale", [5]), zeros]
    }
    let next = try network.graph.add(operation, inputs: inputs)[0]
    try network.classify(next)
    let sliced = try network.check([ZeroedChannels(value: hidden, axis: 1, indices: [0, 3])])
    #expect(sliced.graph.shape(hidden)[1] == 3)
    #expect(sliced.graph.shape(next)[1] == 3)
  }

  @Test func nothingDeadChangesNothing() throws {
    var (network, _, _) = try groupedNetwork(33)
    let sliced = try network.check([])
    #expect(sliced.graph.nodes == network.graph.nodes)
    #expect(sliced.record.constants.filter { !$0.isIdentity }.isEmpty)
  }

  @Test func outputsAndInputsAreNeverCut() throws {
    var network = SlicingNetwork(seed: 42)
    let x = network.input(1, 3, 4, 4)
    network.graph.outputs = [try network.relu(network.convolution(x, 5))]
    let sliced = try network.check([
      ZeroedChannels(value: network.graph.outputs[0], axis: 1, indices: [1]),
      ZeroedChannels(value: x, axis: 1, indices: [2]),
    ])
    #expect(sliced.graph.shape(sliced.graph.outputs[0])[1] == 5)
    #expect(sliced.record.factors.map(\.value) == [x])
  }

  @Test func aChannelThatDoesNotExistIsNamed() throws {
    let (network, input, _) = try groupedNetwork(34)
    #expect(throws: GraphError.self) {
      try network.graph.sliced([ZeroedChannels(value: input, axis: 1, indices: [12])])
    }
    #expect(throws: GraphError.self) {
      try network.graph.sliced([ZeroedChannels(value: input, axis: 4, indices: [0])])
    }
    #expect(throws: GraphError.self) { try network.graph.sliced([], values: [ValueID(index: 1 << 20)]) }
  }
}
