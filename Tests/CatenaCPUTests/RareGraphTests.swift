import CatenaCPU
import CatenaCompute
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

/// Graphs that are legal and rare: each gave wrong numbers, or none, once.
struct RareGraphTests {
  private func expectReference(
    _ network: inout SmallNetwork, precision: Precision = .f32, tolerance: Double = 1e-5, _ name: String = ""
  ) async throws {
    let tensors = network.tensors()
    let program = Program(network.graph)
    let expected = try await ReferenceBackend().compile(program, options: CompileOptions())
      .results(tensors, reading: network.graph.outputs)
    let found = try await CPUBackend().compile(program, options: CompileOptions(precision: precision))
      .results(tensors, reading: network.graph.outputs)
    for (found, expected) in zip(found, expected) {
      #expect(difference(found, expected, tolerance: tolerance) == nil, "\(name)")
    }
  }

  /// More taps, and more phases of a strided gradient, than the plans of our own kernels hold.
  @Test(arguments: [16, 13, 32]) func kernelsOfManyTaps(_ size: Int) async throws {
    var network = SmallNetwork()
    let image = network.input([2, 3, 2 * size, 2 * size])
    let geometry = Convolution(strides: [size, size], padsBegin: [0, 0], padsEnd: [0, 0], dilations: [1, 1])
    network.graph.outputs = [
      try network.graph.add(
        .convolution(geometry), image, network.constant([8, 3, size, size], from: -0.1, to: 0.1))
    ]
    try await expectReference(&network)
  }

  @Test(arguments: [(16, 8), (4, 5), (4, 8), (12, 3)])
  func transposedKernelsOfManyTaps(_ kernel: Int, _ stride: Int) async throws {
    var network = SmallNetwork()
    let image = network.input([2, 3, 5, 5])
    let geometry = Convolution(
      strides: [stride, stride], padsBegin: [0, 0], padsEnd: [0, 0], dilations: [1, 1])
    network.graph.outputs = [
      try network.graph.add(
        .convolutionTranspose(ConvolutionTranspose(geometry, outputPadding: [0, 0])), image,
        network.constant([3, 4, kernel, kernel], from: -0.1, to: 0.1))
    ]
    try await expectReference(&network)
  }

  /// What is added to a product is its weights, or its bias: it may not be overwritten meanwhile.
  @Test(arguments: [16, 32, 48, 64, 200]) func sumsWithAnotherOperandOfTheProduct(_ size: Int) async throws {
    for isBias in [false, true] {
      var network = SmallNetwork()
      let data = network.input([size, size])
      let (left, right) = (
        try network.graph.add(.unary(.sigmoid), data), try network.graph.add(.unary(.relu), data)
      )
      let factor = isBias ? network.constant([size, size], from: -0.1, to: 0.1) : right
      let row = Slice(starts: [0, 0], sizes: [1, size], steps: [1, 1])
      let inputs = isBias ? [left, factor, try network.graph.add(.slice(row), right)] : [left, factor]
      let product = try network.graph.add(.gemm(Gemm()), inputs: inputs)[0]
      network.graph.outputs = [try network.graph.add(.binary(.add), product, right)]
      try await expectReference(&network, "bias: \(isBias)")
    }
  }

  @Test(arguments: [(0.5, 2), (0.5, 1), (2, 0.5), (1, 3)] as [(Float, Float)])
  func factorsOfAProductAndItsBias(_ alpha: Float, _ beta: Float) async throws {
    for shape: Shape in [[3], [1, 3], [5, 3], [5, 1]] {
      for isConstant in [true, false] {
        var network = SmallNetwork()
        let data = network.input([5, 4])
        let weights = network.constant([4, 3])
        let bias = isConstant ? network.constant(shape) : network.input(shape, "bias")
        network.graph.outputs = [
          try network.graph.add(.gemm(Gemm(alpha: alpha, beta: beta)), data, weights, bias)
        ]
        try await expectReference(&network, "\(shape), constant: \(isConstant)")
      }
    }
  }

  /// With dilation, output padding may reach behind everything that the taps give.
  @Test(arguments: [(2, 3, 2, 0), (2, 3, 2, 1), (3, 4, 3, 1), (2, 3, 2, 2), (1, 3, 2, 1)])
  func outputPaddingBehindTheTaps(_ stride: Int, _ dilation: Int, _ extra: Int, _ pad: Int) async throws {
    for (axes, groups) in [(1, 1), (2, 1), (2, 3), (3, 1)] {
      for isConstant in [true, false] {
        for hasBias in [true, false] {
          var network = SmallNetwork()
          func each(_ number: Int) -> [Int] { [Int](repeating: number, count: axes) }
          let image = network.input(Shape([2, 3] + each(5)))
          let weightShape = Shape([3, 6 / groups] + each(3))
          let weights = isConstant ? network.constant(weightShape) : network.input(weightShape, "weights")
          let geometry = Convolution(
            strides: each(stride), padsBegin: each(pad), padsEnd: each(pad), dilations: each(dilation), groups: groups)
          network.graph.outputs = try network.graph.add(
            .convolutionTranspose(ConvolutionTranspose(geometry, outputPadding: each(extra))),
            inputs: [image, weights] + (hasBias ? [network.constant([6])] : []))
          try await expectReference(&network, "\(axes) axes, groups \(groups), constant \(isConstant), bias \(hasBias)")
        }
      }
    }
  }

  /// Integers that f32 does not hold, on their way through doubles.
  @Test func integersThroughDoubles() async throws {
    var graph = Graph()
    let data = graph.addInput("data", TensorType(.int64, [5]))
    let doubles = try graph.add(.cast(.float64), data)
    graph.outputs = [try graph.add(.cast(.int64), doubles)]
    let values: [Int64] = [16_777_217, -16_777_219, 1_099_511_627_777, 3, -9_007_199_254_740_991]
    let found = try await CPUBackend().compile(Program(graph), options: CompileOptions())
      .results([data: Tensor(values, shape: [5])], reading: graph.outputs)
    let integers = found[0].integers.map { Int64($0) }
    #expect(integers == values)
  }

  /// A NaN stays one, whatever joins the product.
  @Test(arguments: [3, 16, 40]) func notANumberStaysOne(_ channels: Int) async throws {
    for function: UnaryFunction in [.relu, .clip(minimum: 0, maximum: 6), .leakyRelu(alpha: 0.1)] {
      var graph = Graph()
      let image = graph.addInput("image", TensorType(.float32, [2, channels, 9, 9]))
      let ones = [Float](repeating: 0.01, count: channels * channels * 9)
      let weights = graph.addConstant("weights", Tensor(ones, shape: [channels, channels, 3, 3]))
      let geometry = Convolution(strides: [1, 1], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1])
      let product = try graph.add(.convolution(geometry), image, weights)
      graph.outputs = [try graph.add(.unary(function), product)]
      var values = [Float](repeating: 0.5, count: graph.shape(image).elementCount)
      values[0] = .nan
      let found = try await CPUBackend().compile(Program(graph), options: CompileOptions())
        .results([image: Tensor(values, shape: graph.shape(image))], reading: graph.outputs)[0].floats
      #expect(found[0].isNaN, "\(function)")
      // The other sample knows nothing of it.
      let isOtherFinite = found.suffix(found.count / 2).allSatisfy { $0.isFinite }
      #expect(isOtherFinite, "\(function)")
    }
  }

  /// Of an image that is kept in bf16 to a value in f32, and of one in f32 to an image in bf16.
  @Test func takesOfImagesInBFloat16() async throws {
    guard ["avx512-bf16", "avx512-amx"].contains(CPUBackend().device.instructionSet) else { return }
    for isFlipped in [false, true] {
      var network = SmallNetwork()
      var value = network.input([3, 3, 8, 8])
      if isFlipped {
        let order = network.graph.addConstant("order", Tensor([2, 1, 0] as [Int64], shape: [3]))
        value = try network.graph.add(.gather(axis: 1), value, order)
      }
      value = try network.graph.add(.unary(.relu), network.convolution(value, 16))
      let third = network.graph.addConstant("third", Tensor([3] as [Int64], shape: []))
      value = try network.graph.add(.gather(axis: 2), value, third)
      network.graph.outputs = [
        try network.graph.add(.reduce(Reduce(.mean, axes: [2], keepsDimensions: false)), value)
      ]
      try await expectReference(&network, precision: .bf16, tolerance: 0.02, "flipped: \(isFlipped)")
    }
  }
}
