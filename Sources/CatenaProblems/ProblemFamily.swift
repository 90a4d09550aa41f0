import CatenaGraph

/// Operators that are tested together.
package enum ProblemFamily: String, Sendable, CaseIterable {
  case convolution, convolutionTranspose, matrix, normalization, pool, unary, binary, axes, movement, resize, gate
}

/// How far a real result may be from the reference's, relative to the largest magnitude in the output. Sums of the
/// problems' sizes in f32 stay well below; a wrong tap, weight or index is far above.
package let problemTolerance = 1e-5

/// The problems of a family, from its table of lines.
package func problems(for family: ProblemFamily) throws -> [Problem] {
  try family.lines.split(separator: "\n").map { try Problem(String($0)) }
}

extension ProblemFamily {
  fileprivate var lines: String {
    switch self {
    case .convolution: convolutionLines
    case .convolutionTranspose: transposedConvolutionLines
    case .matrix: matrixLines
    case .normalization: normalizationLines
    case .pool: poolLines
    case .unary: unaryLines
    case .binary: binaryLines
    case .axes: axisLines
    case .movement: movementLines
    case .resize: resizeLines
    case .gate: gateLines
    }
  }
}

// Layers of networks are small versions: fewer channels and pixels, the same geometry.

/// CIFAR and ImageNet ResNet, WRN, VGG, SqueezeNet, MobileNet; then odd geometries.
private let convolutionLines = """
  convolution n2 c3 hw32x32 m16 k3x3 p1 bias
  convolution n2 c16 hw16x16 m16 k3x3 p1 bias
  convolution n2 c16 hw16x16 m32 k3x3 s2 p1
  convolution n1 c3 hw56x56 m16 k7x7 s2 p3
  convolution n1 c32 hw14x14 m64 k1x1 bias
  convolution n1 c64 hw14x14 m32 k1x1 s2
  convolution n1 c3 hw37x37 m12 k7x7 s2 bias
  convolution n1 c16 hw13x13 m4 k1x1 bias
  convolution n2 c3 hw28x28 m8 k3x3 s2 p0x0x1x1 bias
  convolution n2 c24 hw14x14 m24 k3x3 p1 g24 bias
  convolution n1 c24 hw15x15 m24 k3x3 s2 p0x0x1x1 g24
  convolution n2 c8 hw9x9 m8 k5x5 p2 g8
  convolution n1 c32 hw6x29 m32 k3x5 p1x2 d1x2 g32 bias
  convolution n1 c40 hw11x45 m40 k3x3 s2x3 p1 g40
  convolution n1 c16 dhw4x5x13 m16 k3 p1 g16
  convolution n2 c5 hw7x9 m6 k3x3 s2x1 p1x0x2x1 d1 g1 bias
  convolution n1 c6 hw11x8 m9 k3x2 s1x2 p2x1x0x1 d2x1 g3
  convolution n3 c4 hw6x6 m10 k3x3 p2 d2 g2 bias
  convolution n2 c7 hw5x5 m3 k5x5
  convolution n1 c17 hw9x7 m19 k3x3 p1 bias
  convolution n2 c8 hw8x8 m16 k3x3 p1 g8 bias
  convolution n1 c3 hw9x9 m5 k3x3 p-1x0x0x-2
  convolution n2 c4 l15 m6 k4 s3 p1x2 bias
  convolution n1 c3 l9 m3 k3 d3 g3
  convolution n1 c2 dhw5x6x7 m3 k2x3x2 s1x2x1 p0x1x1 bias
  convolution n1 c1 hw1x1 m1 k1x1
  """

private let transposedConvolutionLines = """
  convolutionTranspose n2 c6 hw5x5 m4 k3x3 s2 p1 o1 bias
  convolutionTranspose n1 c4 hw4x6 m6 k4x4 s2 p1
  convolutionTranspose n1 c6 hw5x4 m9 k3x2 s1x3 p1x0x0x1 d2x1 g3
  convolutionTranspose n2 c5 hw3x3 m5 k2x2 s2 g5 bias
  convolutionTranspose n1 c32 hw6x29 m32 k3x5 p1x2 d1x2 g32 bias
  convolutionTranspose n1 c16 hw5x12 m16 k3x3 s2x1 p1 g16
  convolutionTranspose n1 c3 hw1x1 m7 k5x3
  convolutionTranspose n2 c4 l7 m6 k3 s2 p0x1 o1
  convolutionTranspose n1 c2 dhw2x3x2 m3 k2 s2x1x2 bias
  """

private let matrixLines = """
  gemm 4x16 16x10 10 weight
  gemm 5x7 7x3
  gemm 3x64 10x64 10 transposeB weight
  gemm 7x5 7x3 5x1 transposeA
  gemm 7x5 3x7 1x3 transposeA transposeB
  gemm 6x4 4x6 6x6 alpha0.5 beta2
  gemm 1x1 1x1 scalar
  matmul 5x7 7x3 weight
  matmul 2x3x4 4x5 weight
  matmul 2x3x4x5 2x3x5x2
  matmul 3x1x2x4 5x4x3
  matmul 4 4x3
  matmul 2x3x4 4
  matmul 6 6
  matmul int64 3x4 4x2
  gemm int32 3x4 4x2 2
  """

private let normalizationLines = """
  batchNormalization 2x16x8x8
  batchNormalization 3x5x7 epsilon0.001
  batchNormalization 4x9
  batchNormalization 1x3x2x4x3
  instanceNormalization 2x3x5x5
  instanceNormalization 1x4x9 epsilon0.01
  instanceNormalization 1x3x90
  instanceNormalization 2x21x30x30
  localResponseNormalization 2x8x5x5 size5
  localResponseNormalization 1x7x3x4 size4 alpha0.5 beta0.6 bias2
  localResponseNormalization 2x3x6 size7 alpha0.1
  localResponseNormalizationGradient 2x8x5x5 size5 alpha0.3
  localResponseNormalizationGradient 1x7x3x4 size4 alpha0.5 beta0.6 bias2
  localResponseNormalizationGradient 2x3x6 size7 alpha0.1
  """

private let poolGeometries = """
  n2 c8 hw16x16 k3x3 s2 p1 maximum
  n2 c5 hw16x16 k2x2 s2 maximum
  n1 c6 hw13x13 k3x3 s2 ceil maximum
  n1 c3 hw12x11 k3x3 s2 ceil maximum
  n1 c4 hw9x8 k3x2 s1x2 p1x0x0x1 d2x1 maximum
  n2 c3 l11 k4 s3 p2x1 maximum
  n1 c2 dhw4x5x6 k2x3x2 s2 p0x1x1 maximum
  n2 c9 hw8x8 k8x8 average
  n2 c5 hw7x7 k7x7 average
  n1 c6 hw9x9 k3x3 s2 p1 average
  n1 c6 hw9x9 k3x3 s2 p1 averagePadded
  n1 c3 hw10x12 k3x3 s2 p1 ceil average
  n1 c3 hw10x12 k3x3 s2 p1 ceil averagePadded
  n2 c4 hw9x7 k2x3 s3x2 p0x1x1x2 averagePadded
  n1 c2 hw9x9 k3x3 d2 p2 average
  n1 c3 l12 k5 s4 p2 ceil averagePadded
  n1 c3 hw8x7 k3x3 s2 p1 norm2
  n2 c2 hw6x6 k2x2 norm3
  """

private let poolLines = prefixed(poolGeometries, "pool ", "poolGradient ")

private let unaryFunctions = """
  relu
  leakyRelu
  leakyRelu alpha0.2
  leakyRelu alpha-0.5
  elu alpha0.7
  selu
  sigmoid
  hardSigmoid
  hardSigmoid alpha0.25 beta0.4
  hardSwish
  tanh
  softplus
  erf
  gelu
  geluTanh
  clip minimum0 maximum6
  clip minimum-1 maximum1.5
  clip minimum-0.5
  squareRoot
  exponential
  logarithm
  negate
  absolute
  reciprocal
  floor
  ceiling
  sign
  """

private let unaryLines =
  prefixed(unaryFunctions, "unary 3x7x5 ", "unaryGradient 3x7x5 ") + """

    unary relu 2x16x9x9
    unary clip minimum0 maximum6 1x24x7x7
    unary bool not 4x5
    unary int64 negate 3x5
    unary int32 absolute 3x5
    unary int64 sign 7
    unary tanh 1
    unary sigmoid scalar
    """

private let binaryLines =
  prefixed(
    BinaryFunction.allCases.filter { $0 != .and && $0 != .or && $0 != .xor }.map { "\($0)" }.joined(separator: "\n"),
    "binary 2x3x4 2x3x4 ", "binary 2x3x4 3x1 ", "binary 5 2x3x1 ", "binary 4x3 scalar ", "binary int64 3x4 4 ") + """

    binary add 2x16x8x8 2x16x8x8
    binary add 2x16x8x8 16x1x1
    binary multiply 2x8x5x5 2x8x1x1
    binary prelu 2x8x5x5 8x1x1
    binary add 1x17x13 17x13
    binary bool and 3x4 4
    binary bool or 3x4 3x1
    binary bool xor 3x4 3x4
    binary bool equal 3x4 4
    binary int32 add 3x4 4
    binary float16 maximum 3x4 3x4
    select 2x3x4 2x3x4 2x3x4
    select 3x1 4 2x1x1
    select scalar 3x4 4
    cast float32 int64 3x5
    cast float32 bool 3x5
    cast float32 float64 3x5
    cast int64 float32 3x5
    cast bool float32 3x5
    cast int64 int32 3x5
    identity 3x5
    identity int64 4
    """

private let axisLines = """
  softmax 5x10 axes1
  softmax 2x1000 axes1
  softmax 2x3x7x5 axes1
  softmax 2x3x4x5 axes1x2x3
  softmax 2x8x17x17 axes3
  softmax 4x3 axes0
  logSoftmax 5x10 axes1
  logSoftmax 2x3x4x5 axes1x3
  logSoftmax 7 axes0
  softmax 3x67 axes1
  logSoftmax 3x13x5 axes1x2
  reduce sum 2x16x5x7 axes2x3 keep
  reduce mean 2x16x5x7 axes2x3
  reduce mean 2x16x5x7 axes2x3 keep
  reduce mean 3x9x32 axes2 keep
  reduce sum 3x4x5 axes0
  reduce sum 3x4x5 axes0x2
  reduce sum 3x4x5 axes0x1x2
  reduce maximum 3x4x5 axes1
  reduce minimum 3x4x5 axes1x2 keep
  reduce product 3x4x2 axes1
  reduce sum 3x4 keep
  reduce mean 3x5x70 axes2 keep
  reduce sum 2x301 axes0x1
  reduce maximum 2x331 axes1
  reduce minimum 2x40x6 axes1
  reduce sum 70001 axes0
  reduce mean 5x2000x3 axes1
  reduce sum int64 3x4 axes1
  reduce mean int32 3x4 axes1
  reduce maximum int64 3x4 axes0
  argReduce maximum 5x10 axis1
  argReduce maximum 5x10 axis1 keep
  argReduce minimum 3x4x5 axis1
  argReduce maximum 6x9 axis0 last
  argReduce minimum int64 6x9 axis0 last keep
  """

private let movementLines =
  """
  concatenate 2x16x7x7 2x8x7x7 axis1
  concatenate 2x3 5x3 1x3 axis0
  concatenate 2x3x1 2x3x4 2x3x2 axis2
  concatenate 4x3 axis1
  concatenate int64 3 2 axis0
  split 2x9x4 axis1 sizes3x5x1
  split 6x4 axis0 sizes2x4
  reshape 2x16x1x1 2x16
  reshape 2x3x4 6x4
  transpose 2x3x4 axes0x2x1
  transpose 2x3x4x5 axes0x2x3x1
  transpose 2x3x4x5 axes3x1x0x2
  transpose 2x3 axes1x0
  transpose int64 2x3x4 axes2x1x0
  transpose uint8 2x3x4 axes2x1x0
  transpose float16 2x3x4 axes2x1x0
  pad uint8 3x5 begins0x1 ends1x2 constant3
  pad float16 3x5 begins0x1 ends1x2 constant0.5
  pad int64 3x5 begins0x1 ends1x2 constant-3
  expand 3x1 2x3x4
  expand 4 3x1
  expand scalar 2x2
  gather 5x7 3 axis0
  gather 5x7 2x3 axis1
  gather 3x5x4 2x2 axis1 narrow
  gather 6 scalar axis0
  gather uint8 5x4 3 axis0
  gather float16 5x4 3 axis0
  gather int64 4 2 axis0
  gatherGradient 5x7 9 axis0
  gatherGradient 5x7 2x3 axis1
  gatherGradient 3x5x4 2x4 axis1 narrow
  """ + "\n"
  + prefixed(
    """
    2x16x8x8 starts0x0x0x0 sizes2x16x4x4 steps1x1x2x2
    5x6 starts4x0 sizes3x2 steps-1x2
    7 starts6 sizes3 steps-3
    3x4x5 starts1x0x2 sizes2x4x3
    """, "slice ", "sliceGradient ")
  + "\n"
  + prefixed(
    """
    2x4x3x3 begins0x2x0x0 ends0x2x0x0 constant0
    2x3x5x4 begins0x0x1x2 ends0x0x2x1 constant1.5
    2x3x5x4 begins0x0x1x2 ends0x0x2x1 reflect
    2x3x5x4 begins0x0x3x2 ends0x1x7x1 edge
    2x3x5x4 begins0x0x3x2 ends0x0x7x1 wrap
    5x6 begins-1x2 ends1x-2 constant-1
    5x6 begins-1x2 ends1x-2 reflect
    5x6 begins-2x1 ends1x-3 edge
    5x6 begins-1x3 ends4x-2 wrap
    1x4 begins0x0 ends0x0 reflect
    """, "pad ", "padGradient ")

private let resizeLines = prefixed(
  """
  1x3x4x5 sizes1x3x8x10 nearestFloor asymmetric
  1x3x4x5 sizes1x3x8x10 nearestPreferFloor halfPixel
  2x2x7x5 sizes2x2x3x11 nearestPreferCeil halfPixel
  2x2x7x5 sizes2x2x3x11 nearestCeil asymmetric
  1x2x4x4 sizes1x2x7x3 nearestPreferFloor alignCorners
  1x3x4x5 sizes1x3x8x10 linear halfPixel
  1x3x4x5 sizes1x3x8x10 linear asymmetric
  2x2x7x5 sizes2x2x3x11 linear alignCorners
  1x2x4x6 sizes1x2x1x3 linear pytorchHalfPixel
  1x2x4x6 sizes1x2x1x3 linear alignCorners
  1x2x5x6 sizes1x2x7x4 linear halfPixelSymmetric scales1x1x1.5x0.7
  2x3x5 sizes2x3x9 linear halfPixel
  1x1x2x3x4 sizes1x1x4x5x6 linear halfPixel
  """, "resize ", "resizeGradient ")

private let gateLines =
  prefixed(
    """
    2x16x8x8
    6x5x3x4 regions3
    4x7 regions2
    3x9x8 axis2
    4x6x3x5 axis3 regions4
    96x7 regions2
    1200x21 regions2
    """, "gate ", "gateGradient ", "gateGradientFromOutput ") + """

    adam 4x16 4x16
    adam 3x7 3x1
    adam 5 scalar
    """

/// Every line of `lines` behind every prefix.
private func prefixed(_ lines: String, _ prefixes: String...) -> String {
  prefixes.flatMap { prefix in lines.split(separator: "\n").map { prefix + $0 } }.joined(separator: "\n")
}
