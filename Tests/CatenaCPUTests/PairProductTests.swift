import CatenaAutodiff
import CatenaCPU
import CatenaCompute
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

/// Direct convolutions of images in bf16, with numbers that bf16 holds exactly: what differs from the reference is rounded
/// results.
struct PairProductTests {
  typealias Shape4 = PackedKernelTests.Shape4

  /// Odd depths, whose last pair is half, in every number of vectors; lines of all groups of pixels; phases with and without
  /// taps; borders on all sides.
  private static let outerShapes = [
    Shape4(sources: 3, results: 16, height: 12, width: 9),
    Shape4(sources: 1, results: 20, height: 9, width: 17),
    Shape4(sources: 4, results: 13, height: 16, width: 16),
    Shape4(sources: 5, results: 15, height: 32, width: 32),
    Shape4(sources: 7, results: 10, height: 14, width: 33),
    Shape4(sources: 10, results: 30, height: 14, width: 14),
    Shape4(sources: 9, results: 47, height: 7, width: 7),
    Shape4(sources: 11, results: 33, height: 8, width: 8),
    Shape4(sources: 13, results: 70, height: 6, width: 9),
    Shape4(batch: 1, sources: 70, results: 130, height: 7, width: 6, padsBegin: [1, 0], padsEnd: [0, 2]),
    Shape4(
      batch: 2, sources: 3, results: 20, height: 21, width: 23, kernel: [7, 7], strides: [2, 2], padsBegin: [3, 3],
      padsEnd: [3, 3]),
    Shape4(sources: 18, results: 21, height: 11, width: 10, strides: [2, 3]),
    Shape4(
      sources: 17, results: 48, height: 13, width: 13, kernel: [1, 1], strides: [2, 2], padsBegin: [0, 0],
      padsEnd: [0, 0]),
    Shape4(
      sources: 6, results: 18, height: 12, width: 14, kernel: [2, 3], dilations: [3, 2], padsBegin: [2, 1],
      padsEnd: [1, 3]),
    Shape4(
      sources: 4, results: 23, height: 15, width: 16, kernel: [3, 2], strides: [3, 2], dilations: [2, 2],
      padsBegin: [2, 1], padsEnd: [2, 2]),
  ]
  /// Few results: dot products along the source's channels, with and without a tail; pixels read where they lie.
  private static let dotShapes =
    (1...8).map { Shape4(sources: 12 + 3 * $0, results: $0, height: 9, width: 21) } + [
      Shape4(sources: 40, results: 3, height: 7, width: 11, kernel: [1, 1], padsBegin: [0, 0], padsEnd: [0, 0]),
      Shape4(sources: 33, results: 7, height: 7, width: 11, kernel: [1, 1], padsBegin: [0, 0], padsEnd: [0, 0]),
      Shape4(sources: 64, results: 5, height: 7, width: 11, kernel: [1, 1], padsBegin: [0, 0], padsEnd: [0, 0]),
      Shape4(sources: 25, results: 6, height: 14, width: 23, strides: [1, 2]),
    ]

  /// What is computed: the convolution or its gradient, alone or with what joins it.
  enum Form: CaseIterable, Sendable { case forward, fused, gradient, added }

  @Test(
    .enabled(if: ["avx512-bf16"].contains(CPUBackend().device.instructionSet), "the processor multiplies no pairs"),
    arguments: outerShapes + dotShapes, Form.allCases)
  func agreesWithReference(_ shape: Shape4, _ form: Form) async throws {
    var numbers = ExactNumbers()
    let (graph, product) = try Self.graph(shape, form, &numbers)
    let tensors = ValueMap(
      uniqueKeysWithValues: graph.inputs.map { ($0, numbers.tensor(graph.shape($0))) })
    let expected = try await ReferenceBackend().compile(Program(graph), options: CompileOptions())
      .results(tensors, reading: graph.outputs)[0].doubles
    var implementations: Set<String> = []
    var first: [Double]?
    for threads in [1, 2, 3] {
      let executable = try await CPUBackend(threads: threads).compileForProcessor(
        Program(graph), options: CompileOptions(precision: .bf16))
      let found = try await executable.results(tensors, reading: graph.outputs)[0].doubles
      let worst = zip(found, expected).map { abs($0 - $1) / max(1, abs($1)) }.max() ?? .infinity
      #expect(worst < 0.015, "\(threads) threads")
      #expect(first == nil || found == first, "\(threads) threads")
      first = found
      let name = graph[product].name
      implementations.formUnion(executable.kernels.filter { $0.name == name }.map(\.implementation))
    }
    // The gradient's results are the forward convolution's sources: few of these are multiplied otherwise.
    if form == .forward || form == .fused { #expect(implementations == ["catena:direct:bf16"]) }
  }

  /// The network, and what the convolution's kernel gives.
  private static func graph(
    _ shape: Shape4, _ form: Form, _ numbers: inout ExactNumbers
  ) throws -> (graph: Graph, product: ValueID) {
    var graph = Graph()
    let source: Shape = [shape.batch, shape.sources, shape.height, shape.width]
    let weights = graph.addConstant(
      "weights", numbers.weights(Shape([shape.results, shape.sources] + shape.kernel), inputsFirst: form == .forward))
    let image = graph.addInput("image", TensorType(.float32, source))
    var value = try graph.add(.convolution(shape.convolution), image, weights)
    let spatial = graph.shape(value)
    switch form {
    case .forward: break
    case .fused:
      let bias = graph.addConstant("bias", numbers.tensor([shape.results]))
      value = try graph.add(.convolution(shape.convolution), image, weights, bias)
      value = try graph.add(.unary(.relu), value)
      value = try graph.add(.gate(axis: 1), value, graph.addInput("gate", TensorType(.float32, [1, shape.results])))
    case .gradient, .added:
      let gradient = graph.addInput("gradient", TensorType(.float32, spatial))
      let whole = zip(0..<2, [shape.height, shape.width]).map { axis, extent in
        let span = (shape.kernel[axis] - 1) * shape.dilations[axis] + 1
        let made = (spatial[axis + 2] - 1) * shape.strides[axis] + span
        return extent - (made - shape.padsBegin[axis] - shape.padsEnd[axis])
      }
      value = try graph.add(
        .convolutionTranspose(ConvolutionTranspose(shape.convolution, outputPadding: whole)), gradient, weights)
      // An image in bf16 besides it.
      let ones = graph.addConstant("ones", numbers.tensor([shape.sources, shape.sources, 1, 1]))
      let plain = Convolution(strides: [1, 1], padsBegin: [0, 0], padsEnd: [0, 0], dilations: [1, 1])
      if form == .added {
        value = try graph.add(.binary(.add), value, graph.add(.convolution(plain), image, ones))
      }
    }
    // The image itself is not read, so that it is kept in bf16.
    graph.outputs = [try graph.add(.transpose(permutation: [0, 2, 3, 1]), value)]
    return (graph.pruned(), value)
  }
}

extension PackedKernelTests.Shape4 {
  fileprivate var convolution: Convolution {
    Convolution(strides: strides, padsBegin: padsBegin, padsEnd: padsEnd, dilations: dilations)
  }
}

/// Random numbers of seven binary digits.
private struct ExactNumbers {
  private var generator = SeededGenerator(seed: 21)

  private mutating func values(_ count: Int, scale: Double) -> [Float] {
    (0..<count).map { _ in Float(((generator.uniform() - 0.5) * 128).rounded() / 64 * scale) }
  }

  mutating func tensor(_ shape: Shape) -> Tensor { Tensor(values(shape.elementCount, scale: 1), shape: shape) }

  /// So large that sums are about 1.
  mutating func weights(_ shape: Shape, inputsFirst: Bool) -> Tensor {
    let depth = Double(shape.elementCount / (inputsFirst ? shape[0] : shape[1]))
    // A power of two, which leaves the digits.
    var scale = 1.0
    while scale * depth.squareRoot() > 2 { scale /= 2 }
    return Tensor(values(shape.elementCount, scale: scale), shape: shape)
  }
}
