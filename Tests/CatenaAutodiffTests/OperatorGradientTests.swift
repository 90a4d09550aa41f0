import CatenaAutodiff
import CatenaGraph
import CatenaTensors
import Testing

/// One operator on small inputs, all of which are differentiated.
struct GradientCase: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let build: @Sendable (inout NetworkBuilder) throws -> ValueID

  init(_ name: String, _ build: @escaping @Sendable (inout NetworkBuilder) throws -> ValueID) {
    testDescription = name
    self.build = build
  }

  /// An operator on inputs of the given shapes.
  init(_ name: String, _ operation: Operator, _ shapes: Shape..., in range: ClosedRange<Double> = -1...1) {
    self.init(name) { builder in
      var operands: [ValueID] = []
      for shape in shapes { operands.append(builder.input(shape, in: range)) }
      return try builder.graph.add(operation, inputs: operands)[0]
    }
  }
}

@Suite("Gradients of operators against central differences")
struct OperatorGradientTests {
  @Test(arguments: mixing + normalizations + pools + unaries + binaries + reductions + movements + paddings + gates)
  func agrees(_ gradientCase: GradientCase) throws {
    var builder = NetworkBuilder(seed: 7)
    let output = try gradientCase.build(&builder)
    try checkGradients(of: output, in: builder, withRespectTo: builder.graph.inputs)
  }
}

private func convolutionCase(
  _ name: String, _ data: Shape, _ weight: Shape, bias: Int? = nil, _ geometry: Convolution
) -> GradientCase {
  GradientCase("convolution \(name)") { builder in
    var operands = [builder.input(data), builder.constant(weight)]
    if let bias { operands.append(builder.constant([bias])) }
    return try builder.graph.add(.convolution(geometry), inputs: operands)[0]
  }
}

private func transposeCase(
  _ name: String, _ data: Shape, _ weight: Shape, outputPadding: [Int], _ geometry: Convolution
) -> GradientCase {
  GradientCase("convolutionTranspose \(name)") { builder in
    let transpose = ConvolutionTranspose(geometry, outputPadding: outputPadding)
    return try builder.add(.convolutionTranspose(transpose), builder.input(data), builder.constant(weight))
  }
}

private let mixing: [GradientCase] =
  [
    convolutionCase(
      "same, bias", [2, 3, 5, 4], [4, 3, 3, 3], bias: 4,
      Convolution(strides: [1, 1], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1])),
    convolutionCase(
      "strided, unread end, asymmetric pads", [1, 2, 8, 7], [3, 2, 3, 2],
      Convolution(strides: [3, 2], padsBegin: [0, 1], padsEnd: [1, 0], dilations: [1, 1])),
    convolutionCase(
      "grouped, dilated", [2, 4, 7, 6], [6, 2, 3, 2],
      Convolution(strides: [2, 1], padsBegin: [2, 0], padsEnd: [1, 1], dilations: [2, 3], groups: 2)),
    convolutionCase(
      "depthwise", [1, 3, 5, 5], [3, 1, 3, 3],
      Convolution(strides: [2, 2], padsBegin: [0, 0], padsEnd: [1, 1], dilations: [1, 1], groups: 3)),
    convolutionCase(
      "cropping pads", [1, 2, 6, 6], [2, 2, 2, 2],
      Convolution(strides: [1, 1], padsBegin: [-1, 0], padsEnd: [0, -2], dilations: [1, 1])),
    convolutionCase(
      "one axis", [2, 2, 9], [3, 2, 4], Convolution(strides: [2], padsBegin: [1], padsEnd: [2], dilations: [1])),
    transposeCase(
      "strided", [2, 3, 3, 4], [3, 2, 3, 3], outputPadding: [1, 0],
      Convolution(strides: [2, 2], padsBegin: [1, 0], padsEnd: [1, 1], dilations: [1, 1])),
    transposeCase(
      "grouped, dilated, output padding beyond the stride", [1, 4, 3, 3], [4, 2, 2, 2], outputPadding: [1, 2],
      Convolution(strides: [1, 2], padsBegin: [0, 1], padsEnd: [1, 0], dilations: [2, 3], groups: 2)),
    GradientCase("matmul matrices", .matmul, [3, 4], [4, 2]),
    GradientCase("matmul broadcast batches", .matmul, [2, 1, 3, 4], [3, 4, 2]),
    GradientCase("matmul vector matrix", .matmul, [4], [2, 4, 3]),
    GradientCase("matmul matrix vector", .matmul, [2, 3, 4], [4]),
    GradientCase("matmul vectors", .matmul, [4], [4]),
  ]
  + [false, true].flatMap { transposeA in
    [false, true].map { transposeB in
      GradientCase(
        "gemm\(transposeA ? " A'" : "")\(transposeB ? " B'" : "")",
        .gemm(Gemm(alpha: 0.5, beta: 2, transposeA: transposeA, transposeB: transposeB)),
        transposeA ? [4, 3] : [3, 4], transposeB ? [2, 4] : [4, 2], [1, 2])
    }
  }

private let normalizations: [GradientCase] = [
  GradientCase("batchNormalization") { builder in
    try builder.batchNormalization(builder.input([2, 3, 2, 2]), name: "norm")
  },
  GradientCase("instanceNormalization") { builder in
    try builder.add(
      .instanceNormalization(epsilon: 1e-3), builder.input([2, 3, 3, 2]), builder.constant([3]), builder.constant([3]))
  },
  GradientCase(
    "localResponseNormalization",
    .localResponseNormalization(LocalResponseNormalization(alpha: 0.7, beta: 0.75, bias: 1, size: 4)), [2, 6, 2, 2]),
  GradientCase("softmax", .softmax(axes: [1]), [2, 5, 2]),
  GradientCase("softmax over all", .softmax(axes: [0, 1]), [2, 3]),
  GradientCase("logSoftmax", .logSoftmax(axes: [1, 2]), [2, 3, 2]),
]

private let pools: [GradientCase] = [
  GradientCase(
    "pool maximum",
    .pool(
      Pool(.maximum, kernel: [3, 2], strides: [2, 2], padsBegin: [1, 0], padsEnd: [0, 1], dilations: [1, 1])),
    [2, 2, 7, 6]),
  GradientCase(
    "pool maximum dilated, ceil",
    .pool(
      Pool(
        .maximum, kernel: [2, 2], strides: [2, 3], padsBegin: [0, 0], padsEnd: [0, 0], dilations: [2, 1],
        ceilMode: true)), [1, 2, 8, 7]),
  GradientCase(
    "pool average with padding",
    .pool(
      Pool(
        .average(countIncludesPadding: true), kernel: [3, 3], strides: [2, 1], padsBegin: [1, 1], padsEnd: [1, 1],
        dilations: [1, 1])), [1, 2, 5, 4]),
  GradientCase(
    "pool average without padding, ceil",
    .pool(
      Pool(
        .average(countIncludesPadding: false), kernel: [3, 2], strides: [2, 2], padsBegin: [1, 0], padsEnd: [1, 1],
        dilations: [1, 1], ceilMode: true)), [1, 2, 6, 5]),
  GradientCase(
    "pool norm",
    .pool(
      Pool(.norm(p: 2), kernel: [2, 2], strides: [1, 2], padsBegin: [0, 1], padsEnd: [0, 0], dilations: [1, 1])),
    [1, 2, 4, 5]),
]

private let unaries: [GradientCase] =
  [
    (.relu, -1...1), (.leakyRelu(alpha: 0.1), -1...1), (.leakyRelu(alpha: -0.1), -1...1), (.elu(alpha: 0.7), -1...1),
    (.selu(alpha: 1.67, gamma: 1.05), -1...1), (.sigmoid, -3...3), (.hardSigmoid(alpha: 0.2, beta: 0.5), -4...4),
    (.hardSwish, -4...4), (.tanh, -2...2), (.softplus, -3...3), (.erf, -2...2), (.gelu, -3...3), (.geluTanh, -3...3),
    (.clip(minimum: -0.5, maximum: 0.6), -1...1), (.squareRoot, 0.5...2), (.exponential, -1...1),
    (.logarithm, 0.5...2), (.negate, -1...1), (.absolute, -1...1), (.reciprocal, 0.5...2), (.floor, -3...3),
    (.ceiling, -3...3), (.sign, -1...1),
  ].map { (function: UnaryFunction, range: ClosedRange<Double>) in
    GradientCase("unary \(function)", .unary(function), [3, 7], in: range)
  }

private let binaries: [GradientCase] =
  [.add, .subtract, .multiply, .divide, .power, .minimum, .maximum].flatMap { (function: BinaryFunction) in
    [
      GradientCase("binary \(function)", .binary(function), [2, 3], [2, 3], in: 0.5...2),
      GradientCase("binary \(function) broadcast", .binary(function), [2, 1, 3], [4, 1], in: 0.5...2),
    ]
  } + [
    GradientCase("binary prelu", .binary(.prelu), [2, 3, 4], [3, 1]),
    GradientCase("binary of one value with itself") { builder in
      let data = builder.input([4])
      return try builder.add(.binary(.multiply), data, data)
    },
    GradientCase("select") { builder in
      let (left, right) = (builder.input([2, 1]), builder.input([3]))
      let condition = try builder.add(.binary(.less), left, right)
      return try builder.add(.select, condition, left, right)
    },
    GradientCase("cast") { builder in
      let wide = try builder.add(.cast(.float64), builder.input([3]))
      return try builder.add(.cast(.float32), builder.add(.binary(.multiply), wide, wide))
    },
    GradientCase("identity", .identity, [3]),
  ]

private let reductions: [GradientCase] = Reduce.Kind.allCases.flatMap { kind in
  [
    GradientCase("reduce \(kind)", .reduce(Reduce(kind, axes: [0, 2], keepsDimensions: false)), [2, 3, 2]),
    GradientCase("reduce \(kind) kept", .reduce(Reduce(kind, axes: [1], keepsDimensions: true)), [2, 3, 2]),
    GradientCase("reduce \(kind) over nothing", .reduce(Reduce(kind, axes: [], keepsDimensions: true)), [2, 3]),
  ]
}

private let movements: [GradientCase] = [
  GradientCase("concatenate", .concatenate(axis: 1), [2, 1, 3], [2, 4, 3], [2, 2, 3]),
  GradientCase("split") { builder in
    let parts = try builder.graph.add(.split(axis: 1, sizes: [1, 3, 2]), inputs: [builder.input([2, 6])])
    return try builder.add(.concatenate(axis: 1), parts[2], parts[0], parts[2])
  },
  GradientCase("slice", .slice(Slice(starts: [4, 1], sizes: [3, 2], steps: [-2, 3])), [5, 6]),
  GradientCase(
    "sliceGradient", .sliceGradient(Slice(starts: [4, 1], sizes: [3, 2], steps: [-2, 3]), inputShape: [5, 6]), [3, 2]),
  GradientCase("reshape", .reshape([3, 4]), [2, 6]),
  GradientCase("transpose", .transpose(permutation: [2, 0, 1]), [2, 3, 4]),
  GradientCase("expand", .expand([2, 3, 4]), [3, 1]),
  GradientCase("gather") { builder in
    let indices = builder.graph.addConstant("indices", Tensor([Int64(2), 0, -1, 2], shape: [2, 2]))
    return try builder.add(.gather(axis: 1), builder.input([2, 3, 2]), indices)
  },
  GradientCase("gatherGradient") { builder in
    let indices = builder.graph.addConstant("indices", Tensor([Int64(2), 0, -1, 2], shape: [2, 2]))
    return try builder.add(.gatherGradient(axis: 1, inputShape: [2, 3, 2]), builder.input([2, 2, 2, 2]), indices)
  },
  resizeCase("nearest", .nearest(.roundPreferFloor), .asymmetric),
  resizeCase("linear", .linear, .halfPixel),
]

private let paddings: [GradientCase] = [Pad.Mode.constant(1.5), .reflect, .edge, .wrap].flatMap { mode in
  let pad = Pad(mode, begins: [1, -1], ends: [0, 2])
  return [
    GradientCase("pad \(mode)", .pad(pad), [3, 4]),
    GradientCase("padGradient \(mode)", .padGradient(pad, inputShape: [3, 4]), [4, 5]),
  ]
}

private func resizeCase(
  _ name: String, _ interpolation: Resize.Interpolation, _ coordinates: Resize.Coordinates
) -> GradientCase {
  GradientCase(
    "resize \(name)",
    .resize(
      Resize(interpolation, coordinates: coordinates, sizes: [1, 2, 5, 3], scales: [1, 1, 5.0 / 3, 0.75])),
    [1, 2, 3, 4])
}

private let gates: [GradientCase] = [
  GradientCase("gate of 2 regions", .gate(axis: 1), [4, 3, 2, 2], [2, 3]),
  GradientCase("gate of tokens", .gate(axis: 2), [2, 3, 4], [1, 4]),
  GradientCase("gateGradient") { builder in
    let gate = builder.constant([2, 3])
    return try builder.add(.gateGradient(axis: 1), builder.input([4, 3, 2]), builder.input([4, 3, 2]), gate)
  },
]
