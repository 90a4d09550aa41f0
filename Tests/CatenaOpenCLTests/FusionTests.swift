import CatenaCompute
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

import CatenaOpenCL

/// Chains behind a convolution run in its launch, whatever their order, and give what the reference gives.
@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct FusionTests {
  /// A step of a chain behind a convolution of 4 samples and 5 channels.
  enum Link: String, CaseIterable, Sendable {
    case normalization, relu, clip, gate, regionGate, residual, residualFirst, subtractFrom, perChannel, scalar
    case reluGradient
  }

  static let chains: [[Link]] =
    Link.allCases.map { [$0] } + [
      [.normalization, .gate, .residual, .relu], [.relu, .regionGate, .residual, .relu],
      [.regionGate, .reluGradient], [.residual, .reluGradient, .gate], [.perChannel, .scalar, .subtractFrom, .clip],
      [.relu, .normalization, .gate],
    ]

  @Test(arguments: chains)
  func aChainIsOneLaunch(_ chain: [Link]) async throws {
    let (graph, values, executable) = try await compile(chain, keepsAll: false)
    // An input that only element-wise nodes read comes row-major and is converted.
    #expect(executable.kernels.filter { !$0.hasPrefix("strided_copy") } == ["convolution"])
    #expect(executable.kernels.count == 1 + executable.layoutConversions)
    try await compare(graph, values, executable)
  }

  /// Values inside the chain that others read are stored by the same launch.
  @Test(arguments: chains)
  func valuesInsideAChainAreStored(_ chain: [Link]) async throws {
    let (graph, values, executable) = try await compile(chain, keepsAll: true)
    try await compare(graph, values, executable)
  }

  @Test func aShortcutListedBehindTheBranchIsFused() async throws {
    var graph = Graph()
    let data = graph.addInput("data", TensorType(.float32, [1, 4, 8, 8]))
    let weight = graph.addConstant("weight", random([4, 4, 3, 3], seed: 5))
    let branch = try graph.add(.convolution(Self.geometry), data, weight)
    let slice = try graph.add(
      .slice(Slice(2..<6, axis: 1, of: [1, 8, 8, 8])), graph.add(.concatenate(axis: 1), data, data))
    graph.outputs = [try graph.add(.unary(.relu), graph.add(.binary(.add), branch, slice))]
    let executable = try await DeviceUnderTest.backend.executable(Program(graph), options: CompileOptions())
    #expect(executable.kernels.filter { !$0.hasPrefix("strided_copy") } == ["convolution"])
    try await compare(graph, [data: random([1, 4, 8, 8], seed: 6)], executable)
  }

  private func random(_ shape: Shape, seed: UInt64) -> Tensor {
    Tensor(randomReals(shape, seed: seed).floats, shape: shape)
  }

  private static let geometry = Convolution(strides: [1, 1], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1])

  private func compile(
    _ chain: [Link], keepsAll: Bool
  ) async throws -> (Graph, ValueMap<Tensor>, OpenCLExecutable) {
    var graph = Graph()
    var values: ValueMap<Tensor> = [:]
    func input(_ shape: Shape) -> ValueID {
      let id = graph.addInput("input", TensorType(.float32, shape))
      values[id] = random(shape, seed: UInt64(values.count + 1))
      return id
    }
    func constant(_ shape: Shape) -> ValueID {
      let numbers = random(shape, seed: UInt64(graph.values.count)).floats.map { abs($0) + 0.1 }
      return graph.addConstant("constant", Tensor(numbers, shape: shape))
    }
    let shape: Shape = [4, 5, 6, 6]
    var value = try graph.add(.convolution(Self.geometry), input([4, 3, 6, 6]), constant([5, 3, 3, 3]), constant([5]))
    var all = [value]
    for link in chain {
      value =
        switch link {
        case .normalization:
          try graph.add(
            .batchNormalization(epsilon: 1e-3), value, constant([5]), constant([5]), constant([5]), constant([5]))
        case .relu: try graph.add(.unary(.relu), value)
        case .clip: try graph.add(.unary(.clip(minimum: -0.5, maximum: 0.5)), value)
        case .gate: try graph.add(.gate(axis: 1), value, input([1, 5]))
        case .regionGate: try graph.add(.gate(axis: 1), value, input([2, 5]))
        case .residual: try graph.add(.binary(.add), value, input(shape))
        case .residualFirst: try graph.add(.binary(.add), input(shape), value)
        case .subtractFrom: try graph.add(.binary(.subtract), input(shape), value)
        case .perChannel: try graph.add(.binary(.multiply), value, input([5, 1, 1]))
        case .scalar: try graph.add(.binary(.divide), value, constant([1]))
        case .reluGradient: try graph.add(.unaryGradient(.relu), value, input(shape))
        }
      all.append(value)
    }
    graph.outputs = keepsAll ? all : [value]
    let executable = try await DeviceUnderTest.backend.executable(Program(graph), options: CompileOptions())
    return (graph, values, executable)
  }

  private func compare(_ graph: Graph, _ values: ValueMap<Tensor>, _ executable: any Executable) async throws {
    let reference = try await ReferenceBackend().compile(Program(graph), options: CompileOptions())
    for (input, tensor) in values {
      try await executable.write(tensor, to: input)
      try await reference.write(tensor, to: input)
    }
    try await executable.run(steps: 1)
    try await reference.run(steps: 1)
    for output in graph.outputs {
      let difference = difference(
        try await executable.read(output), try await reference.read(output), tolerance: problemTolerance)
      #expect(difference == nil, "\(graph[output].name): \(difference ?? "")")
    }
  }
}
