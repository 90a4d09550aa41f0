import CatenaGraph
import CatenaTensors
import Testing

/// Graphs nobody would train: random operators on random values, dead channels anywhere. Whatever cannot be cut must
/// stay; nothing may become wrong.
@Suite struct SlicingRandomGraphTests {
  @Test(arguments: 0..<300) func randomGraph(seed: Int) throws {
    var network = SlicingNetwork(seed: 1000 + seed)
    var values = [network.input(2, 4, 3, 4)]
    for _ in 0..<10 { values += try step(&network, values) }
    let last = values.suffix(2)
    network.graph.outputs = try last.map { try network.gemm(network.flatten(network.spatialMean($0)), 3) }
    let computed = values.dropFirst()
    var dead: [ZeroedChannels] = []
    for value in computed where network.random.uniform() < 0.5 {
      let share = [0.3, 0.6, 0.9, 1][pick(&network, 4)]
      let extent = network.graph.shape(value)[1]
      dead.append(
        ZeroedChannels(value: value, axis: 1, indices: (0..<extent).filter { _ in network.random.uniform() < share }))
    }
    try network.check(dead, values: computed.filter { _ in network.random.uniform() < 0.05 })
  }

  private func pick(_ network: inout SlicingNetwork, _ count: Int) -> Int {
    Int(network.random.uniform() * Double(count))
  }

  private func step(_ network: inout SlicingNetwork, _ values: [ValueID]) throws -> [ValueID] {
    let x = values[max(0, values.count - 1 - pick(&network, 4))]
    let shape = network.graph.shape(x)
    let channels = shape[1]
    switch pick(&network, 22) {
    case 0, 1: return [try network.convolution(x, 2 + pick(&network, 5), bias: pick(&network, 2) == 0)]
    case 2:
      let groups = channels % 3 == 0 ? 3 : channels % 2 == 0 ? 2 : 1
      return [
        try network.convolution(x, groups * (1 + pick(&network, 3)), groups: groups, bias: pick(&network, 2) == 0)
      ]
    case 3: return [try network.convolution(x, channels * (1 + pick(&network, 2)), groups: channels)]
    case 4: return [try network.batchNormalization(x)]
    case 5, 6: return [try network.unary(unaries[pick(&network, unaries.count)], x)]
    case 7, 8: return [try binary(&network, x, values)]
    case 9:
      let other = values[pick(&network, values.count)]
      return [try network.graph.add(.concatenate(axis: 1), x, other)]
    case 10:
      guard channels > 1 else { return [x] }
      let first = 1 + pick(&network, channels - 1)
      return try network.graph.add(.split(axis: 1, sizes: [first, channels - first]), inputs: [x])
    case 11:
      let start = pick(&network, channels)
      let count = 1 + pick(&network, channels - start)
      return [try network.graph.add(.slice(Slice(start..<start + count, axis: 1, of: shape)), x)]
    case 12:
      let mode: Pad.Mode = pick(&network, 2) == 0 ? .constant(0) : .constant(0.5)
      let (begin, end) = (pick(&network, 4) - 1, pick(&network, 3))
      guard channels + begin + end > 0, channels + begin > 0 else { return [x] }
      return [try network.graph.add(.pad(Pad(mode, begins: [0, begin, 0, 0], ends: [0, end, 0, 0])), x)]
    case 13: return [try pool(&network, x)]
    case 14: return [try network.binary(.multiply, x, network.unary(.sigmoid, network.spatialMean(x)))]
    case 15:
      let indices = (0..<3).map { _ in Int64(pick(&network, channels)) }
      let constant = network.graph.addConstant("indices", Tensor(indices, shape: [3]))
      return [try network.graph.add(.gather(axis: 1), x, constant)]
    case 16: return [try shuffle(&network, x)]
    case 17: return [try acrossChannels(&network, x)]
    case 18:
      let inputs = [x, network.constant("scale", [channels]), network.constant("shift", [channels])]
      return [try network.graph.add(.instanceNormalization(epsilon: 1e-3), inputs: inputs)[0]]
    case 19: return [try tokens(&network, x)]
    case 20:
      let flat = try network.flatten(x)
      return [try network.graph.add(.reshape(shape), network.unary(unaries[pick(&network, unaries.count)], flat))]
    default:
      let condition = try network.binary(.less, x, network.constant("bound", [channels, 1, 1]))
      return [try network.graph.add(.select, condition, x, network.unary(.negate, x))]
    }
  }

  private var unaries: [UnaryFunction] {
    [
      .relu, .sigmoid, .tanh, .clip(minimum: 0, maximum: 6), .clip(minimum: 0.1, maximum: 1), .negate, .hardSwish,
      .leakyRelu(alpha: 0.1), .softplus, .gelu, .elu(alpha: 1),
    ]
  }

  private func binary(_ network: inout SlicingNetwork, _ x: ValueID, _ values: [ValueID]) throws -> ValueID {
    let shape = network.graph.shape(x)
    let function = [BinaryFunction.add, .multiply, .subtract, .maximum, .minimum, .prelu, .divide][pick(&network, 7)]
    let others = values.filter { network.graph.shape($0) == shape }
    let constantShapes: [Shape] = [[shape[1], 1, 1], [1, shape[1], 1, 1], [], [4]]
    let constant = network.constant("operand", constantShapes[pick(&network, 4)], low: 0.2)
    if function == .divide || function == .prelu || pick(&network, 3) == 0 {
      return try network.binary(function, x, constant)
    }
    return try network.binary(function, others[pick(&network, others.count)], x)
  }

  private func pool(_ network: inout SlicingNetwork, _ x: ValueID) throws -> ValueID {
    let kinds: [Pool.Kind] = [.maximum, .average(countIncludesPadding: true), .average(countIncludesPadding: false)]
    let pool = Pool(
      kinds[pick(&network, 3)], kernel: [3, 3], strides: [1, 1], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1])
    return try network.graph.add(.pool(pool), x)
  }

  private func shuffle(_ network: inout SlicingNetwork, _ x: ValueID) throws -> ValueID {
    let shape = network.graph.shape(x)
    guard shape[1] % 2 == 0 else { return x }
    let split = try network.graph.add(.reshape([2, 2, shape[1] / 2, 3, 4]), x)
    let swapped = try network.graph.add(.transpose(permutation: [0, 2, 1, 3, 4]), split)
    return try network.graph.add(.reshape(shape), swapped)
  }

  private func acrossChannels(_ network: inout SlicingNetwork, _ x: ValueID) throws -> ValueID {
    switch pick(&network, 4) {
    case 0: return try network.graph.add(.softmax(axes: [1]), x)
    case 1:
      let window = LocalResponseNormalization(alpha: 0.1, beta: 0.75, bias: 1, size: 3)
      return try network.graph.add(.localResponseNormalization(window), x)
    default:
      let kind = [Reduce.Kind.sum, .mean, .maximum][pick(&network, 3)]
      let reduced = try network.graph.add(.reduce(Reduce(kind, axes: [1], keepsDimensions: true)), x)
      return try network.binary(pick(&network, 2) == 0 ? .add : .multiply, x, reduced)
    }
  }

  /// Channels last, a product with a matrix, and back.
  private func tokens(_ network: inout SlicingNetwork, _ x: ValueID) throws -> ValueID {
    let last = try network.graph.add(.transpose(permutation: [0, 2, 3, 1]), x)
    let weight = network.constant("weight", [network.graph.shape(x)[1], 3])
    let mixed = try network.binary(.add, network.graph.add(.matmul, last, weight), network.constant("bias", [3]))
    return try network.graph.add(.transpose(permutation: [0, 3, 1, 2]), mixed)
  }
}
