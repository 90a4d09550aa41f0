import CatenaCompute
import CatenaGraph
import CatenaOpenCL
import CatenaReference
import CatenaTensors
import TestSupport
import Testing

/// Reductions whose second stage belongs to work-groups, in the shapes for processors and for GPUs.
@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct GroupReductionTests {
  static let shapes = [DeviceTraits(kind: .cpu), .smallTiles]

  private static func backend(_ traits: DeviceTraits) throws -> OpenCLBackend {
    OpenCLBackend(
      context: try OpenCLContext(DeviceUnderTest.backend.context.device, traits: KernelTraits(traits)))
  }

  /// Behind a convolution channels lie together, which the tables of problems do not have; 37 of them fill no block.
  @Test(arguments: shapes)
  func instanceNormalizationBehindAConvolution(_ traits: DeviceTraits) async throws {
    var graph = Graph()
    let data = graph.addInput("data", TensorType(.float32, [2, 3, 30, 31]))
    let convolution = Convolution(strides: [1, 1], padsBegin: [0, 0], padsEnd: [0, 0], dilations: [1, 1])
    let weight = graph.addConstant("weight", random([37, 3, 1, 1], seed: 1))
    let images = try graph.add(.convolution(convolution), data, weight)
    let parameters = (0..<2).map { graph.addConstant("parameter", random([37], seed: 2 + $0)) }
    graph.outputs = [
      try graph.add(.instanceNormalization(epsilon: 1e-5), images, parameters[0], parameters[1])
    ]
    // Far from zero: sums of squares would lose the deviations.
    let values = random([2, 3, 30, 31], seed: 4).floats.map { $0 + 20 }
    let input = Tensor(values, shape: [2, 3, 30, 31])
    let executable = try await Self.backend(traits).executable(Program(graph), options: CompileOptions())
    let expected = try await ReferenceBackend().compile(Program(graph), options: CompileOptions())
    try await executable.write(input, to: data)
    try await expected.write(input, to: data)
    try await executable.run(steps: 1)
    try await expected.run(steps: 1)
    let output = graph.outputs[0]
    let difference = difference(
      try await executable.read(output), try await expected.read(output), tolerance: 10 * problemTolerance)
    #expect(difference == nil)
  }

  /// However many rows a region has, what is summed in the second stage stays small.
  @Test(arguments: shapes)
  func aGateGradientHasFewParts(_ traits: DeviceTraits) async throws {
    let rows = 4096 * traits.rowsPerPart * 3
    let graph = try Problem("gateGradient \(rows)x1").graph(weights: nil)
    let executable = try await Self.backend(traits).executable(Program(graph), options: CompileOptions())
    let total = try #require(executable.records.first { $0.name == "gate_gradient_total" })
    #expect(total.bytes <= 4 * (4096 + 1))
    let ones = Tensor([Float](repeating: 1, count: rows), shape: [rows, 1])
    for input in graph.inputs.prefix(2) { try await executable.write(ones, to: input) }
    try await executable.write(Tensor([Float(1)], shape: [1, 1]), to: graph.inputs[2])
    try await executable.run(steps: 1)
    #expect(try await executable.read(graph.outputs[0]).floats == [Float(rows)])
  }

  private func random(_ shape: Shape, seed: UInt64) -> Tensor {
    Tensor(randomReals(shape, seed: seed).floats, shape: shape)
  }
}
