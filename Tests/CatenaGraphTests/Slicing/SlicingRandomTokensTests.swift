import CatenaGraph
import CatenaTensors
import Testing

/// Random graphs of tokens: heads split off and merged in every order, packed queries, keys and values, and all that may
/// be done with them on the way. Whatever cannot be cut must stay; nothing may become wrong.
@Suite struct SlicingRandomTokensTests {
  @Test(arguments: 0..<400) func randomGraph(seed: Int) throws {
    var network = SlicingNetwork(seed: 5000 + seed)
    var values = [network.input(2, 3, 12)]
    for _ in 0..<5 { values.append(try step(&network, values)) }
    network.graph.outputs = try values.suffix(2).map { try project(&network, $0, 3) }
    var dead: [ZeroedChannels] = []
    for value in network.graph.nodes.flatMap(\.outputs) where network.random.uniform() < 0.3 {
      let shape = network.graph.shape(value)
      guard shape.rank > 1, !network.graph.outputs.contains(value) else { continue }
      let share = [0.3, 0.6, 0.9, 1][pick(&network, 4)]
      let axis = 1 + pick(&network, shape.rank - 1)
      dead.append(
        ZeroedChannels(
          value: value, axis: axis,
          indices: (0..<shape.dimensions[axis]).filter { _ in network.random.uniform() < share }))
    }
    try network.check(dead)
  }

  private func pick(_ network: inout SlicingNetwork, _ count: Int) -> Int {
    Int(network.random.uniform() * Double(count))
  }

  private func project(_ network: inout SlicingNetwork, _ x: ValueID, _ columns: Int) throws -> ValueID {
    let weight = network.constant("weight", [network.graph.shape(x)[-1], columns])
    let product = try network.graph.add(.matmul, x, weight)
    return try network.binary(.add, product, network.constant("bias", [columns]))
  }

  /// [2, 3, n] to the same, with another n at times.
  private func step(_ network: inout SlicingNetwork, _ values: [ValueID]) throws -> ValueID {
    let x = values[max(0, values.count - 1 - pick(&network, 3))]
    switch pick(&network, 6) {
    case 0: return try project(&network, x, [6, 8, 12][pick(&network, 3)])
    case 1: return try network.unary([.relu, .gelu, .sigmoid][pick(&network, 3)], x)
    case 2:
      let others = values.filter { network.graph.shape($0) == network.graph.shape(x) }
      return try network.binary(pick(&network, 2) == 0 ? .add : .multiply, x, others[pick(&network, others.count)])
    case 3: return try rearrange(&network, x)
    default: return try attention(&network, x)
    }
  }

  private func attention(_ network: inout SlicingNetwork, _ x: ValueID) throws -> ValueID {
    let (heads, channels) = [(2, 3), (3, 2), (2, 4), (3, 4), (1, 4)][pick(&network, 5)]
    var (query, key, value) = try queriesKeysValues(&network, x, heads: heads, channels: channels)
    query = try perHead(&network, query)
    if pick(&network, 2) == 0 { key = try perHead(&network, key) }
    value = try perHead(&network, value)
    let turned = try network.graph.add(.transpose(permutation: [0, 1, 3, 2]), key)
    var weights = try network.graph.add(.matmul, query, turned)
    weights = try network.binary(.multiply, weights, network.constant("scale", []))
    if pick(&network, 4) > 0 { weights = try network.graph.add(.softmax(axes: [3]), weights) }
    let mixed = try perHead(&network, network.graph.add(.matmul, weights, value))
    // Heads come last in one of four, so that their channels are not the inner axis of what is merged.
    let permutation = pick(&network, 4) == 0 ? [0, 2, 3, 1] : [0, 2, 1, 3]
    let last = try network.graph.add(.transpose(permutation: permutation), mixed)
    return try network.graph.add(.reshape([2, 3, heads * channels]), last)
  }

  /// Three values [2, heads, 3, channels].
  private func queriesKeysValues(
    _ network: inout SlicingNetwork, _ x: ValueID, heads: Int, channels: Int
  ) throws -> (ValueID, ValueID, ValueID) {
    let width = heads * channels
    if pick(&network, 3) == 0 {
      let found = try (0..<3).map { _ in
        let split = try network.graph.add(.reshape([2, 3, heads, channels]), project(&network, x, width))
        return try network.graph.add(.transpose(permutation: [0, 2, 1, 3]), split)
      }
      return (found[0], found[1], found[2])
    }
    let packed = try network.graph.add(.reshape([2, 3, 3, heads, channels]), project(&network, x, 3 * width))
    let first = try network.graph.add(.transpose(permutation: [2, 0, 3, 1, 4]), packed)
    let shape: Shape = [2, heads, 3, channels]
    switch pick(&network, 3) {
    case 0:
      let found = try (0..<3).map { part in
        let index = network.graph.addConstant("part\(network.graph.values.count)", Tensor([Int64(part)], shape: []))
        return try network.graph.add(.gather(axis: 0), first, index)
      }
      return (found[0], found[1], found[2])
    case 1:
      let parts = try network.graph.add(.split(axis: 0, sizes: [1, 1, 1]), inputs: [first])
        .map { try network.graph.add(.reshape(shape), $0) }
      return (parts[0], parts[1], parts[2])
    default:
      let parts = try network.graph.add(.split(axis: 0, sizes: [1, 2]), inputs: [first])
      let pair = try (0..<2).map { part in
        try network.graph.add(.slice(Slice(part..<part + 1, axis: 0, of: network.graph.shape(parts[1]))), parts[1])
      }
      .map { try network.graph.add(.reshape(shape), $0) }
      return (try network.graph.add(.reshape(shape), parts[0]), pair[0], pair[1])
    }
  }

  /// Something done with heads, [2, heads, 3, channels].
  private func perHead(_ network: inout SlicingNetwork, _ x: ValueID) throws -> ValueID {
    let shape = network.graph.shape(x)
    let (heads, channels) = (shape[1], shape[3])
    switch pick(&network, 14) {
    case 0: return try network.binary(.add, x, network.constant("each", [heads, 1, channels]))
    case 1: return try network.binary(.multiply, x, network.constant("heads", [heads, 1, 1]))
    case 2: return try network.binary(.add, x, network.constant("channels", [channels]))
    case 3: return try network.graph.add(.softmax(axes: [3]), x)
    case 4:
      let mean = try network.graph.add(.reduce(Reduce(.mean, axes: [3], keepsDimensions: true)), x)
      return try network.binary(.subtract, x, mean)
    case 5:
      let half = max(channels / 2, 1)
      guard half < channels else { return x }
      let parts = try network.graph.add(.split(axis: 3, sizes: [half, channels - half]), inputs: [x])
      return try network.graph.add(.concatenate(axis: 3), parts[1], parts[0])
    case 6: return try network.binary(.multiply, x, x)
    case 7: return try network.unary(.relu, x)
    case 8: return try network.unary(.sigmoid, x)
    case 9: return try network.graph.add(.matmul, x, network.constant("weight", [channels, channels]))
    case 10: return try network.graph.add(.matmul, x, network.constant("weights", [heads, channels, channels]))
    case 11:
      let sum = try network.graph.add(.reduce(Reduce(.sum, axes: [1], keepsDimensions: true)), x)
      return try network.binary(.add, x, sum)
    case 12:
      // The batch and the heads as one axis, and apart again.
      let merged = try network.graph.add(.reshape([2 * heads, 3, channels]), x)
      return try network.graph.add(.reshape(shape), network.unary(.relu, merged))
    default: return x
    }
  }

  /// Pictures with channels last, flattened and back; windows; shuffled channels.
  private func rearrange(_ network: inout SlicingNetwork, _ x: ValueID) throws -> ValueID {
    let shape = network.graph.shape(x)
    let columns = shape[2]
    switch pick(&network, 4) {
    case 0:
      let flat = try network.unary(.relu, network.graph.add(.reshape([2, 3 * columns]), x))
      return try network.graph.add(.reshape(shape), flat)
    case 1:
      let flat = try network.graph.add(.reshape([2, 3 * columns]), x)
      return try network.graph.add(.reshape([2, 3, 2]), network.gemm(flat, 6))
    case 2:
      let turned = try network.graph.add(.transpose(permutation: [0, 2, 1]), x)
      let flat = try network.graph.add(.reshape([2, 3 * columns]), turned)
      return try network.graph.add(.reshape([2, 3, 4]), network.gemm(flat, 12))
    default:
      let split = try network.graph.add(.reshape([2, 3, 2, columns / 2]), x)
      let swapped = try network.graph.add(.transpose(permutation: [0, 1, 3, 2]), split)
      return try network.graph.add(.reshape(shape), swapped)
    }
  }
}
