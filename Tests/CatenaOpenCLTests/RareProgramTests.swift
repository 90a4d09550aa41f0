import CatenaCPU
import CatenaCompute
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

/// What networks seldom ask for, on every back end.
@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct RareProgramTests {
  /// The outputs for given inputs, on the processor and the device.
  private func results(_ graph: Graph, _ tensors: [Tensor]) async throws -> [[Tensor]] {
    var results: [[Tensor]] = []
    let backends: [any Backend] = [ReferenceBackend(), CPUBackend(), try DeviceUnderTest.backend]
    for backend in backends {
      let executable = try await backend.compile(Program(graph), options: CompileOptions())
      for (input, tensor) in zip(graph.inputs, tensors) { try await executable.write(tensor, to: input) }
      try await executable.run(steps: 1)
      var outputs: [Tensor] = []
      for output in graph.outputs { outputs.append(try await executable.read(output)) }
      results.append(outputs)
    }
    return results
  }

  @Test func oneWeightUnderNormalizationsThatDifferInEpsilonAlone() async throws {
    var graph = Graph()
    let data = graph.addInput("data", TensorType(.float32, [2, 3, 5, 5]))
    func positive(_ shape: Shape, _ seed: UInt64) -> Tensor {
      Tensor(randomReals(shape, seed: seed).floats.map { abs($0) + 0.1 }, shape: shape)
    }
    let weight = graph.addConstant("weight", positive([4, 3, 3, 3], 1))
    let parameters = (2..<6).map { graph.addConstant("parameter", positive([4], $0)) }
    let geometry = Convolution(strides: [1, 1], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1])
    graph.outputs = try [Float(1e-5), 2].map { epsilon in
      let mixed = try graph.add(.convolution(geometry), data, weight)
      return try graph.add(.batchNormalization(epsilon: epsilon), inputs: [mixed] + parameters)[0]
    }
    let found = try await results(graph, [Tensor(randomReals([2, 3, 5, 5], seed: 9).floats, shape: [2, 3, 5, 5])])
    for outputs in found.dropFirst() {
      for (output, expected) in zip(outputs, found[0]) {
        #expect(difference(output, expected, tolerance: problemTolerance) == nil)
      }
    }
  }

  @Test(arguments: [UnaryFunction.relu, .clip(minimum: 0, maximum: 1), .hardSigmoid(alpha: 1, beta: 0), .hardSwish])
  func noGradientPassesWhereAFunctionIsFlat(_ function: UnaryFunction) async throws {
    var graph = Graph()
    let inputs = ["gradient", "value"].map { graph.addInput($0, TensorType(.float32, [3])) }
    graph.outputs = [try graph.add(.unaryGradient(function), inputs[0], inputs[1])]
    let gradients = Tensor([Float.infinity, .nan, 2], shape: [3])
    for outputs in try await results(graph, [gradients, Tensor([Float(-4), -5, 0.5], shape: [3])]) {
      let found = outputs[0].doubles
      #expect(found[0] == 0 && found[1] == 0 && found[2] > 0.5)
    }
  }

  @Test func functionsOfNoNumberAndOfLargeOnes() async throws {
    var graph = Graph()
    let data = graph.addInput("data", TensorType(.float32, [5]))
    let ones = graph.addConstant("ones", Tensor([Float](repeating: 1, count: 5), shape: [5]))
    graph.outputs = [
      try graph.add(.unary(.hardSigmoid(alpha: 0.2, beta: 0.5)), data), try graph.add(.unary(.geluTanh), data),
      try graph.add(.unaryGradient(.geluTanh), ones, data),
    ]
    for outputs in try await results(graph, [Tensor([Float.nan, -1e4, -30, 1e4, 0.3], shape: [5])]) {
      let found = outputs.map(\.doubles)
      #expect(found.allSatisfy { $0[0].isNaN })
      #expect(found[0][1...].elementsEqual([0, 0, 1, 0.56]) { abs($0 - $1) < 1e-6 })
      #expect(found[1][1...].elementsEqual([0, 0, 1e4, 0.18536]) { abs($0 - $1) < 1e-3 * max(1, abs($1)) })
      #expect(found[2][1...].elementsEqual([0, 0, 1, 0.73]) { abs($0 - $1) < 0.01 })
    }
  }
}
