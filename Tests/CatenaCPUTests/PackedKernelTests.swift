import CatenaAutodiff
import CatenaCPU
import CatenaCompute
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

/// Convolutions by kernels of our own against the reference, with everything that is fused behind them.
struct PackedKernelTests {
  struct Shape4: Sendable {
    var batch = 4
    var sources: Int
    var results: Int
    var height: Int
    var width: Int
    var kernel = [3, 3]
    var strides = [1, 1]
    var dilations = [1, 1]
    var padsBegin = [1, 1]
    var padsEnd = [1, 1]
    var implementation = "catena:winograd"

    /// The same with another kernel.
    func done(by implementation: String) -> Shape4 {
      var shape = self
      shape.implementation = implementation
      return shape
    }
  }

  private static let shapes = [
    Shape4(sources: 16, results: 16, height: 32, width: 32),
    Shape4(sources: 32, results: 48, height: 19, width: 22),
    Shape4(sources: 48, results: 80, height: 17, width: 14, padsBegin: [0, 2], padsEnd: [2, 0]),
    Shape4(sources: 160, results: 64, height: 12, width: 15, padsBegin: [0, 0], padsEnd: [0, 0]),
    Shape4(sources: 64, results: 16, height: 21, width: 20, padsBegin: [2, 2], padsEnd: [2, 2]),
    Shape4(sources: 13, results: 29, height: 12, width: 11),
    Shape4(sources: 45, results: 12, height: 9, width: 9, padsBegin: [0, 1], padsEnd: [1, 0]),
    // Tiles all of whose patch lies outside; deep enough for products to ask for what they read next.
    Shape4(sources: 16, results: 32, height: 9, width: 10, padsBegin: [8, 9], padsEnd: [9, 11]),
    Shape4(sources: 272, results: 20, height: 10, width: 9),
  ]
  /// Tails of columns and rows, depths of several chunks, phases of strided gradients.
  private static let implicitShapes = [
    Shape4(sources: 5, results: 33, height: 10, width: 7, kernel: [1, 1], padsBegin: [0, 0], padsEnd: [0, 0]),
    Shape4(sources: 600, results: 70, height: 4, width: 5, kernel: [1, 1], padsBegin: [0, 0], padsEnd: [0, 0]),
    Shape4(sources: 70, results: 130, height: 7, width: 7, padsBegin: [1, 0], padsEnd: [0, 2]),
    Shape4(sources: 80, results: 74, height: 13, width: 12, strides: [2, 2]),
    Shape4(sources: 58, results: 9, height: 7, width: 8),
  ].map { $0.done(by: "catena:implicit") }
  /// Borders on all sides, several vectors of results with tails, phases with and without taps; gradients of all these.
  private static let directShapes = [
    Shape4(sources: 3, results: 16, height: 12, width: 9),
    Shape4(sources: 9, results: 70, height: 6, width: 9),
    Shape4(sources: 7, results: 10, height: 40, width: 33),
    Shape4(sources: 1, results: 4, height: 8, width: 7),
    Shape4(
      batch: 2, sources: 3, results: 20, height: 21, width: 23, kernel: [7, 7], strides: [2, 2],
      padsBegin: [3, 3], padsEnd: [3, 3]),
    Shape4(sources: 18, results: 21, height: 11, width: 10, strides: [2, 3]),
    Shape4(
      sources: 17, results: 48, height: 13, width: 13, kernel: [1, 1], strides: [2, 2], padsBegin: [0, 0],
      padsEnd: [0, 0]),
    Shape4(
      sources: 6, results: 18, height: 12, width: 14, kernel: [2, 3], dilations: [3, 2], padsBegin: [2, 1],
      padsEnd: [1, 3]),
    Shape4(
      sources: 4, results: 7, height: 15, width: 16, kernel: [3, 2], strides: [3, 2], dilations: [2, 2],
      padsBegin: [2, 1], padsEnd: [2, 2]),
    // Few results: dot products along the source's channels, with and without a tail; pixels read where they lie.
    Shape4(sources: 5, results: 6, height: 14, width: 23, strides: [1, 2]),
    Shape4(sources: 40, results: 3, height: 7, width: 11, kernel: [1, 1], padsBegin: [0, 0], padsEnd: [0, 0]),
    Shape4(sources: 32, results: 5, height: 7, width: 11, kernel: [1, 1], padsBegin: [0, 0], padsEnd: [0, 0]),
  ].map { $0.done(by: "catena:direct") }
  private static let dotShapes = (1...8).map {
    Shape4(sources: 12 + $0, results: $0, height: 9, width: 21).done(by: "catena:direct")
  }

  /// Every number of results at a time and of channels that are brought side by side.
  private static let countedShapes: [Shape4] =
    (1...14).map { Shape4(sources: 4, results: $0, height: 11, width: 48) }
    + [1, 2, 3, 5, 8, 16, 18].map { Shape4(sources: $0, results: 7, height: 9, width: 32) }
  /// Groups of several results, one of them smaller; lines of less than half a vector, of less than one and of several,
  /// strides, dilations, phases without taps.
  private static let otherPlaneShapes: [Shape4] =
    (9...12).map {
      Shape4(sources: 9, results: $0, height: 11, width: 53, kernel: [5, 5], padsBegin: [0, 2], padsEnd: [3, 1])
    } + [
      Shape4(sources: 1, results: 4, height: 8, width: 17),
      Shape4(sources: 2, results: 6, height: 31, width: 64, strides: [2, 2]),
      Shape4(batch: 2, sources: 11, results: 8, height: 20, width: 64),
      Shape4(
        batch: 2, sources: 9, results: 9, height: 31, width: 60, kernel: [7, 7], strides: [2, 2], padsBegin: [3, 3],
        padsEnd: [3, 3]),
      Shape4(
        batch: 2, sources: 20, results: 25, height: 14, width: 48, kernel: [5, 5], padsBegin: [2, 2], padsEnd: [2, 2]),
      Shape4(batch: 2, sources: 18, results: 19, height: 41, width: 61, kernel: [5, 5], strides: [2, 1]),
      Shape4(sources: 3, results: 10, height: 35, width: 38, kernel: [5, 5], padsBegin: [2, 1], padsEnd: [0, 4]),
      Shape4(
        batch: 2, sources: 9, results: 10, height: 22, width: 60, kernel: [5, 5], dilations: [3, 2], padsBegin: [2, 1],
        padsEnd: [1, 3]),
      Shape4(
        batch: 2, sources: 20, results: 9, height: 30, width: 8, kernel: [5, 5], padsBegin: [2, 2], padsEnd: [2, 2]),
      Shape4(
        batch: 2, sources: 20, results: 9, height: 30, width: 14, kernel: [5, 5], padsBegin: [2, 2], padsEnd: [2, 2]),
    ]
  private static let planeShapes = (countedShapes + otherPlaneShapes).map { $0.done(by: "catena:planes") }
  private static let allShapes: [Shape4] = shapes + implicitShapes + directShapes + dotShapes + planeShapes

  private func tensors(_ graph: Graph) -> ValueMap<Tensor> {
    var generator = SeededGenerator(seed: 9)
    return ValueMap(
      uniqueKeysWithValues: graph.inputs.map { input in
        let shape = graph.shape(input)
        let elements = (0..<shape.elementCount).map { _ in Float(2 * generator.uniform() - 1) }
        return (input, Tensor(elements, shape: shape))
      })
  }

  private func constant(_ shape: Shape, in graph: inout Graph, seed: UInt64) -> ValueID {
    var generator = SeededGenerator(seed: seed)
    // Sums of about 1, so that the clip does not hide the magnitude that errors are relative to.
    let scale = 2 / Double(shape.dimensions.dropFirst().reduce(1, *)).squareRoot()
    return graph.addConstant(
      "constant", Tensor((0..<shape.elementCount).map { _ in Float(scale * (generator.uniform() - 0.5)) }, shape: shape)
    )
  }

  /// conv + bias + relu + gate + residual + clip, and the gradients of input and gate.
  private func program(_ shape: Shape4, regions: Int) throws -> Program {
    var graph = Graph()
    let data = graph.addInput("input", TensorType(.float32, [shape.batch, shape.sources, shape.height, shape.width]))
    let gate = graph.addInput("gate", TensorType(.float32, [regions, shape.results]))
    let geometry = Convolution(
      strides: shape.strides, padsBegin: shape.padsBegin, padsEnd: shape.padsEnd, dilations: shape.dilations)
    let product = try graph.add(
      .convolution(geometry),
      inputs: [
        data, constant(Shape([shape.results, shape.sources] + shape.kernel), in: &graph, seed: 1),
        constant([shape.results], in: &graph, seed: 2),
      ])[0]
    let rectified = try graph.add(.unary(.relu), product)
    let gated = try graph.add(.gate(axis: 1), rectified, gate)
    let residual = graph.addInput("residual", graph.type(gated))
    let sum = try graph.add(.binary(.add), gated, residual)
    let result = try graph.add(.unary(.clip(minimum: -1, maximum: 2)), sum)
    let axes = Array(0..<4)
    let total = try graph.add(
      .reduce(Reduce(.sum, axes: axes, keepsDimensions: false)), graph.add(.binary(.multiply), result, result))
    let derivative = try graph.differentiating([DerivativeTarget(total)], withRespectTo: [data, gate])
    graph = derivative.graph
    graph.outputs = [result] + [data, gate].compactMap { derivative.gradients[$0] }
    return Program(graph)
  }

  @Test(arguments: allShapes, [1, 2])
  func agreesWithReference(_ shape: Shape4, _ regions: Int) async throws {
    let program = try program(shape, regions: regions)
    let tensors = tensors(program.graph)
    let expected = try await ReferenceBackend().compile(program, options: CompileOptions())
      .results(tensors, reading: program.graph.outputs)
    let executable = try await CPUBackend().compileForProcessor(program, options: CompileOptions())
    let found = try await executable.results(tensors, reading: program.graph.outputs)
    if executable.kernels.contains(where: { $0.implementation.hasPrefix("catena:") }) {
      let forward = try #require(executable.kernels.first { $0.kind.hasPrefix("convolution+") })
      #expect(forward.implementation == shape.implementation)
    }
    // A ReLU that is within rounding of its kink passes a gradient or does not.
    for (index, tolerance) in [1e-5, 1e-4, 1e-4].enumerated() {
      #expect(difference(found[index], expected[index], tolerance: tolerance) == nil, "output \(index)")
    }
  }

  /// What is added behind a product, as in a residual block, joins its kernel; whole vectors overrun where nothing is.
  @Test(arguments: allShapes, [true, false])
  func addsWhatLiesBehindTheProduct(_ shape: Shape4, _ isAdded: Bool) async throws {
    var graph = Graph()
    let data = graph.addInput("input", TensorType(.float32, [shape.batch, shape.sources, shape.height, shape.width]))
    let geometry = Convolution(
      strides: shape.strides, padsBegin: shape.padsBegin, padsEnd: shape.padsEnd, dilations: shape.dilations)
    let product = try graph.add(
      .convolution(geometry), data,
      constant(Shape([shape.results, shape.sources] + shape.kernel), in: &graph, seed: 1))
    let residual = graph.addInput("residual", graph.type(product))
    graph.outputs = [isAdded ? try graph.add(.binary(.add), product, residual) : product]
    let program = Program(graph)
    let tensors = tensors(graph)
    let expected = try await ReferenceBackend().compile(program, options: CompileOptions())
      .results(tensors, reading: graph.outputs)
    let executable = try await CPUBackend().compileForProcessor(program, options: CompileOptions())
    let found = try await executable.results(tensors, reading: graph.outputs)
    #expect(difference(found[0], expected[0], tolerance: 1e-5) == nil)
    if let kernel = executable.kernels.first(where: { $0.implementation.hasPrefix("catena:") }) {
      #expect(kernel.kind == (isAdded ? "convolution+add" : "convolution"))
      #expect(kernel.implementation == shape.implementation)
    }
  }

  /// A picture of one colour: away from the border all windows are equal.
  @Test(arguments: [
    Shape4(batch: 1, sources: 16, results: 48, height: 23, width: 22),
    Shape4(batch: 1, sources: 70, results: 130, height: 11, width: 13),
    Shape4(batch: 2, sources: 3, results: 20, height: 17, width: 19),
  ])
  func equalWindowsGiveEqualSums(_ shape: Shape4) async throws {
    var graph = Graph()
    let data = graph.addInput("input", TensorType(.float32, [shape.batch, shape.sources, shape.height, shape.width]))
    let weights = constant(Shape([shape.results, shape.sources] + shape.kernel), in: &graph, seed: 1)
    let product = try graph.add(
      .convolution(
        Convolution(
          strides: shape.strides, padsBegin: shape.padsBegin, padsEnd: shape.padsEnd, dilations: shape.dilations)),
      inputs: [data, weights])[0]
    graph.outputs = [product]
    let executable = try await CPUBackend().compileForProcessor(
      Program(graph), options: CompileOptions(allowsMinimalFiltering: false))
    let plane = shape.height * shape.width
    let colours = (0..<shape.batch * shape.sources).map { 0.37 * Float($0 % shape.sources) - 1 }
    let image = colours.flatMap { [Float](repeating: $0, count: plane) }
    let found = try await executable.results([data: Tensor(image, shape: graph.shape(data))], reading: [product])[0]
    #expect(!executable.kernels.contains { $0.implementation == "catena:winograd" })
    let values = found.floats
    for channel in 0..<shape.batch * shape.results {
      var inner: Set<Float> = []
      for row in 1..<shape.height - 1 {
        let start: Int = channel * plane + row * shape.width
        inner.formUnion(values[start + 1..<start + shape.width - 1])
      }
      #expect(inner.count == 1, "channel \(channel)")
    }
  }

  /// Samples and threads do not change what a tile gives.
  @Test(arguments: [
    Shape4(sources: 32, results: 64, height: 30, width: 29),
    Shape4(batch: 1, sources: 530, results: 200, height: 3, width: 4, implementation: "catena:implicit"),
    Shape4(batch: 3, sources: 7, results: 9, height: 31, width: 30, strides: [2, 2], implementation: "catena:direct"),
    Shape4(batch: 1, sources: 20, results: 3, height: 31, width: 30, implementation: "catena:direct"),
    Shape4(batch: 3, sources: 11, results: 8, height: 20, width: 64, implementation: "catena:planes"),
  ])
  func isTheSameForEveryBatchAndThreadCount(_ shape: Shape4) async throws {
    let program = try program(shape, regions: 1)
    let tensors = tensors(program.graph)
    let output = program.graph.outputs[0]
    let one = try await CPUBackend(threads: 1).compile(program, options: CompileOptions())
      .results(tensors, reading: [output])
    for threads in [2, 3] {
      let other = try await CPUBackend(threads: threads).compile(program, options: CompileOptions())
        .results(tensors, reading: [output])
      #expect(other[0].isBitIdentical(to: one[0]))
    }
  }
}
