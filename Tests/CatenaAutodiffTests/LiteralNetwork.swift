import CatenaAutodiff
import CatenaGraph
import CatenaTensors

/// A linear layer as the list of its connections.
struct LiteralLayer {
  var connections: [(output: Int, input: Int, weight: Double)] = []
  var bias: [Double]

  /// outputs = bias + sum over connections
  func forward(_ input: [Double]) -> [Double] {
    var result = bias
    for (output, source, weight) in connections { result[output] += weight * input[source] }
    return result
  }

  /// What flows into each input: the sum of share(connection) over the connections that leave it.
  func backward(inputs: Int, _ share: (_ output: Int, _ input: Int, _ weight: Double) -> Double) -> [Double] {
    var result = [Double](repeating: 0, count: inputs)
    for (output, source, weight) in connections { result[source] += share(output, source, weight) }
    return result
  }
}

/// conv-relu-conv-relu-gemm, as a graph and as lists of connections: convolutions of 3x3 with stride 1 and padding 1,
/// then with stride 2 and none.
struct LiteralNetwork {
  static let (channels, hidden, last, classes, side, smallSide) = (2, 3, 4, 3, 5, 2)

  var builder: NetworkBuilder
  let input: ValueID
  let logits: ValueID
  let layers: [LiteralLayer]
  var graph: Graph { builder.graph }
  var inputCount: Int { Self.channels * Self.side * Self.side }

  init(seed: UInt64, biases: Bool) throws {
    builder = NetworkBuilder(seed: seed)
    input = builder.input([1, Self.channels, Self.side, Self.side])
    func geometry(stride: Int, pad: Int) -> Operator {
      .convolution(
        Convolution(
          strides: [stride, stride], padsBegin: [pad, pad], padsEnd: [pad, pad], dilations: [1, 1]))
    }
    let weights = [
      builder.constant([Self.hidden, Self.channels, 3, 3]), builder.constant([Self.last, Self.hidden, 3, 3]),
      builder.constant([Self.classes, Self.last * Self.smallSide * Self.smallSide]),
    ]
    let biasValues =
      biases ? [builder.constant([Self.hidden]), builder.constant([Self.last]), builder.constant([Self.classes])] : []
    func operands(_ data: ValueID, _ layer: Int) -> [ValueID] {
      [data, weights[layer]] + (biases ? [biasValues[layer]] : [])
    }
    var value = try builder.graph.add(geometry(stride: 1, pad: 1), inputs: operands(input, 0), names: ["first"])[0]
    value = try builder.relu(value, name: "first.relu")
    value = try builder.graph.add(geometry(stride: 2, pad: 0), inputs: operands(value, 1), names: ["second"])[0]
    value = try builder.flatten(builder.relu(value, name: "second.relu"), name: "flat")
    logits = try builder.graph.add(
      .gemm(Gemm(transposeB: true)), inputs: operands(value, 2), names: ["logits"])[0]

    let constants = builder.graph.constants
    func numbers(_ id: ValueID) -> [Double] { constants[id]?.doubles ?? [] }
    func bias(_ layer: Int, count: Int, each: Int) -> [Double] {
      let values = biases ? numbers(biasValues[layer]) : [Double](repeating: 0, count: count)
      return values.flatMap { [Double](repeating: $0, count: each) }
    }
    var first = LiteralLayer(bias: bias(0, count: Self.hidden, each: Self.side * Self.side))
    first.connections = Self.convolution(
      numbers(weights[0]), from: (Self.channels, Self.side), to: (Self.hidden, Self.side), stride: 1, pad: 1)
    var second = LiteralLayer(bias: bias(1, count: Self.last, each: Self.smallSide * Self.smallSide))
    second.connections = Self.convolution(
      numbers(weights[1]), from: (Self.hidden, Self.side), to: (Self.last, Self.smallSide), stride: 2, pad: 0)
    var third = LiteralLayer(bias: bias(2, count: Self.classes, each: 1))
    let columns = Self.last * Self.smallSide * Self.smallSide
    for (index, weight) in numbers(weights[2]).enumerated() {
      third.connections.append((index / columns, index % columns, weight))
    }
    layers = [first, second, third]
  }

  private static func convolution(
    _ weights: [Double], from input: (channels: Int, side: Int), to output: (channels: Int, side: Int), stride: Int,
    pad: Int
  ) -> [(output: Int, input: Int, weight: Double)] {
    var connections: [(output: Int, input: Int, weight: Double)] = []
    for filter in 0..<output.channels {
      for row in 0..<output.side {
        for column in 0..<output.side {
          for channel in 0..<input.channels {
            for tap in 0..<9 {
              let sourceRow = row * stride - pad + tap / 3
              let sourceColumn = column * stride - pad + tap % 3
              guard (0..<input.side).contains(sourceRow), (0..<input.side).contains(sourceColumn) else { continue }
              connections.append(
                (
                  (filter * output.side + row) * output.side + column,
                  (channel * input.side + sourceRow) * input.side + sourceColumn,
                  weights[(filter * input.channels + channel) * 9 + tap]
                ))
            }
          }
        }
      }
    }
    return connections
  }

  /// Inputs of the three layers and their results before the ReLU.
  func run(_ input: [Double]) -> (inputs: [[Double]], results: [[Double]]) {
    var (inputs, results): ([[Double]], [[Double]]) = ([], [])
    var value = input
    for layer in layers {
      inputs.append(value)
      results.append(layer.forward(value))
      value = results[results.count - 1].map { max($0, 0) }
    }
    return (inputs, results)
  }

  /// What flows into the input from `start` at the logits, with `share` for the connections of a layer and `rectifier`
  /// for the ReLU behind a layer.
  func back(
    _ start: [Double], run: (inputs: [[Double]], results: [[Double]]),
    share: (_ layer: Int, _ flow: [Double]) -> (_ output: Int, _ input: Int, _ weight: Double) -> Double,
    rectifier: (_ layer: Int, _ flow: [Double]) -> [Double]
  ) -> [Double] {
    var flow = start
    for layer in layers.indices.reversed() {
      flow = layers[layer].backward(inputs: run.inputs[layer].count, share(layer, flow))
      if layer > 0 { flow = rectifier(layer - 1, flow) }
    }
    return flow
  }
}
