import CatenaTensors

/// What a node computes. Every parameter that shapes depend on is static: it stands here, not in an input.
///
/// Axes, paddings and weights are ONNX's: images are N x C x spatial, convolution weights M x C/groups x kernel. Inputs
/// are named in the order in which a node lists them. An operator is complete or absent: each case has a shape rule
/// (`Operator+ShapeInference`), a literal kernel (CatenaReference), a CPU kernel and a derivative rule.
public enum Operator: Sendable, Hashable {
  // Mixing channels
  /// Inputs: data N x C x spatial, weight M x C/groups x kernel, optionally bias M.
  case convolution(Convolution)
  /// Inputs: data N x C x spatial, weight C x M/groups x kernel, optionally bias M.
  case convolutionTranspose(ConvolutionTranspose)
  /// alpha * op(A) op(B) + beta * C. Inputs: A, B, optionally C (broadcast to the result).
  case gemm(Gemm)
  /// numpy's matmul, batched and broadcast. Inputs: A, B.
  case matmul

  // Normalisation, at inference
  /// Inputs: data N x C x ..., scale C, bias C, mean C, variance C.
  case batchNormalization(epsilon: Float)
  /// Inputs: data N x C x spatial, scale C, bias C.
  case instanceNormalization(epsilon: Float)
  /// Input: data N x C x spatial.
  case localResponseNormalization(LocalResponseNormalization)
  /// Inputs: gradient of the output, input, output.
  case localResponseNormalizationGradient(LocalResponseNormalization)

  // Pooling
  /// Input: data N x C x spatial.
  case pool(Pool)
  /// Gradient of the input. Inputs: gradient of the output, input, output. `maximum` gives the whole gradient to the
  /// first maximum of a window in row-major order.
  case poolGradient(Pool)

  // Element by element
  /// Input: data.
  case unary(UnaryFunction)
  /// gradient * f'(x). Inputs: gradient of the output, and the function's input or, where
  /// `UnaryFunction.derivativeReadsOutput`, its output.
  case unaryGradient(UnaryFunction)
  /// Inputs: left, right, broadcast against each other.
  case binary(BinaryFunction)
  /// condition ? left : right. Inputs: condition (bool), left, right, broadcast against each other.
  case select
  /// Input: data.
  case cast(ElementType)
  /// Input: data.
  case identity

  // Along axes
  /// Softmax over all elements of `axes` together. Input: data.
  case softmax(axes: [Int])
  /// Its logarithm, computed without overflow. Input: data.
  case logSoftmax(axes: [Int])
  /// Input: data.
  case reduce(Reduce)
  /// Index (i64) of the largest or smallest element. Input: data.
  case argReduce(ArgReduce)

  // Moving data
  /// Inputs: one or more, equal but for `axis`.
  case concatenate(axis: Int)
  /// Input: data. As many outputs as sizes.
  case split(axis: Int, sizes: [Int])
  /// Input: data.
  case slice(Slice)
  /// A tensor of `inputShape` that is zero outside the slice. Input: gradient of the slice's output.
  case sliceGradient(Slice, inputShape: Shape)
  /// Input: data.
  case pad(Pad)
  /// Input: gradient of the output. Sums what several padded positions copied from one.
  case padGradient(Pad, inputShape: Shape)
  /// Same elements in row-major order. Also ONNX's Flatten, Squeeze, Unsqueeze. Input: data.
  case reshape(Shape)
  /// Output axis i is input axis `permutation[i]`. Input: data.
  case transpose(permutation: [Int])
  /// Input: data, broadcast to the shape that both broadcast to.
  case expand(Shape)
  /// Inputs: data, indices (i32 or i64; negative ones count from the end).
  case gather(axis: Int)
  /// Scatters and adds. Inputs: gradient of the output, indices.
  case gatherGradient(axis: Int, inputShape: Shape)
  /// Input: data.
  case resize(Resize)
  /// Input: gradient of the output.
  case resizeGradient(Resize, inputShape: Shape)

  // Catena's own
  /// Multiplies channel c of sample n by `gate[n * R / N, c]`: R regions are R equal, consecutive parts of the batch.
  /// Inputs: data with N first, gate R x C with C = the extent of `axis`.
  case gate(axis: Int)
  /// Gradient of the gates, R x C: the sum of gradient * data over a region's samples and all other axes.
  /// Inputs: gradient of the gate's output, the gate's data input, gate (for its shape).
  case gateGradient(axis: Int)
  /// The same from the gate's *output*: (sum of gradient * output) / gate, and 0 where the gate is 0. Exact for
  /// positive gates; where a gate is 0 it is the right input only to a parametrisation whose own slope is 0 there
  /// (sigmoid). Inputs: gradient of the gate's output, the gate's output, gate.
  case gateGradientFromOutput(axis: Int)
  /// One step of Adam (Kingma and Ba, 2015, with bias correction).
  /// Inputs: parameter, gradient, first moment, second moment (all one shape), step count before this step (scalar
  /// f32), mask (broadcast to the parameter: where it is 0 nothing changes). Outputs: parameter, first moment, second
  /// moment, step count + 1.
  case adam(Adam)
}

/// A convolution's geometry; every array has one entry per spatial axis.
public struct Convolution: Sendable, Hashable {
  /// Steps between windows.
  public var strides: [Int]
  /// Zeros before each axis; negative numbers crop.
  public var padsBegin: [Int]
  /// Zeros after each axis; negative numbers crop.
  public var padsEnd: [Int]
  /// Steps between the taps of a window.
  public var dilations: [Int]
  /// Channels are mixed within each of this many equal groups only.
  public var groups: Int

  /// A convolution of this geometry.
  public init(strides: [Int], padsBegin: [Int], padsEnd: [Int], dilations: [Int], groups: Int = 1) {
    self.strides = strides
    self.padsBegin = padsBegin
    self.padsEnd = padsEnd
    self.dilations = dilations
    self.groups = groups
  }
}

/// A transposed convolution's geometry: the input gradient of the convolution of the same geometry.
public struct ConvolutionTranspose: Sendable, Hashable {
  /// The convolution whose input gradient this is.
  public var convolution: Convolution
  /// Extra extent at the end of each axis, less than the stride or the dilation.
  public var outputPadding: [Int]

  /// The transpose of `convolution`.
  public init(_ convolution: Convolution, outputPadding: [Int]) {
    self.convolution = convolution
    self.outputPadding = outputPadding
  }
}

/// ONNX's Gemm.
public struct Gemm: Sendable, Hashable {
  /// Factor of the product.
  public var alpha: Float
  /// Factor of the third input.
  public var beta: Float
  /// Whether the first input is transposed.
  public var transposeA: Bool
  /// Whether the second input is transposed.
  public var transposeB: Bool

  /// alpha * op(A) op(B) + beta * C.
  public init(alpha: Float = 1, beta: Float = 1, transposeA: Bool = false, transposeB: Bool = false) {
    self.alpha = alpha
    self.beta = beta
    self.transposeA = transposeA
    self.transposeB = transposeB
  }
}

/// ONNX's LRN: x / (bias + alpha / size * sum of squares over a window of `size` channels)^beta; the window reaches
/// (size - 1) / 2 channels back (rounded down) and the rest forward.
public struct LocalResponseNormalization: Sendable, Hashable {
  /// Scale of the sum of squares, before division by `size`.
  public var alpha: Float
  /// The exponent.
  public var beta: Float
  /// The constant in the denominator.
  public var bias: Float
  /// Channels per window.
  public var size: Int

  /// ONNX's parameters.
  public init(alpha: Float, beta: Float, bias: Float, size: Int) {
    self.alpha = alpha
    self.beta = beta
    self.bias = bias
    self.size = size
  }
}

/// A pooling window; every array has one entry per spatial axis. A global pool's window is the whole image.
public struct Pool: Sendable, Hashable {
  /// What is computed in a window.
  public enum Kind: Sendable, Hashable {
    /// The largest element.
    case maximum
    /// The mean, over the padding too when `countIncludesPadding`.
    case average(countIncludesPadding: Bool)
    /// (sum of |x|^p)^(1/p)
    case norm(p: Int)
  }
  /// What is computed.
  public var kind: Kind
  /// Window extents.
  public var kernel: [Int]
  /// Steps between windows.
  public var strides: [Int]
  /// Padding before each axis.
  public var padsBegin: [Int]
  /// Padding after each axis.
  public var padsEnd: [Int]
  /// Steps between the taps of a window.
  public var dilations: [Int]
  /// Whether a last, partial window counts.
  public var ceilMode: Bool

  /// A pool of this geometry.
  public init(
    _ kind: Kind, kernel: [Int], strides: [Int], padsBegin: [Int], padsEnd: [Int], dilations: [Int],
    ceilMode: Bool = false
  ) {
    self.kind = kind
    self.kernel = kernel
    self.strides = strides
    self.padsBegin = padsBegin
    self.padsEnd = padsEnd
    self.dilations = dilations
    self.ceilMode = ceilMode
  }
}

/// A function of one element.
public enum UnaryFunction: Sendable, Hashable {
  case relu
  case leakyRelu(alpha: Float)
  case elu(alpha: Float)
  case selu(alpha: Float, gamma: Float)
  case sigmoid
  case hardSigmoid(alpha: Float, beta: Float)
  case hardSwish
  case tanh
  case softplus
  case erf
  case gelu
  case geluTanh
  case clip(minimum: Float, maximum: Float)
  case squareRoot
  case exponential
  case logarithm
  case negate
  case absolute
  case reciprocal
  case floor
  case ceiling
  case sign
  case not

  /// Whether f'(x) is computed from f(x), so that x need not be kept.
  public var derivativeReadsOutput: Bool {
    switch self {
    case .relu, .sigmoid, .tanh, .squareRoot, .exponential, .reciprocal: true
    case .leakyRelu(let alpha): alpha > 0
    default: false
    }
  }
}

/// A function of two elements; comparisons give `bool`.
public enum BinaryFunction: Sendable, Hashable, CaseIterable {
  case add, subtract, multiply, divide, power, minimum, maximum
  /// x < 0 ? slope * x : x
  case prelu
  /// Remainder with the divisor's sign (ONNX Mod, fmod = 0) for integers.
  case modulo
  case equal, less, lessOrEqual, greater, greaterOrEqual
  case and, or, xor

  /// Whether the result is `bool`.
  public var isPredicate: Bool {
    switch self {
    case .equal, .less, .lessOrEqual, .greater, .greaterOrEqual, .and, .or, .xor: true
    default: false
    }
  }
}

/// A reduction over axes.
public struct Reduce: Sendable, Hashable {
  /// What is computed.
  public enum Kind: Sendable, Hashable, CaseIterable {
    case sum, mean, maximum, minimum, product
  }
  /// What is computed.
  public var kind: Kind
  /// The reduced axes, not negative, ascending; none means the data is returned as it is.
  public var axes: [Int]
  /// Whether reduced axes stay with extent 1.
  public var keepsDimensions: Bool

  /// A reduction of `axes`.
  public init(_ kind: Kind, axes: [Int], keepsDimensions: Bool) {
    self.kind = kind
    self.axes = axes.sorted()
    self.keepsDimensions = keepsDimensions
  }
}

/// ArgMax or ArgMin.
public struct ArgReduce: Sendable, Hashable {
  /// Largest or smallest.
  public var findsMaximum: Bool
  /// The reduced axis, not negative.
  public var axis: Int
  /// Whether the reduced axis stays with extent 1.
  public var keepsDimensions: Bool
  /// Which of several equal elements is meant.
  public var selectsLast: Bool

  /// The index of the extreme element along `axis`.
  public init(findsMaximum: Bool = true, axis: Int, keepsDimensions: Bool, selectsLast: Bool = false) {
    self.findsMaximum = findsMaximum
    self.axis = axis
    self.keepsDimensions = keepsDimensions
    self.selectsLast = selectsLast
  }
}

/// A strided part of a tensor: on axis a, the indices `starts[a] + i * steps[a]` for i in 0..<sizes[a]. One entry per
/// axis of the data; a negative step walks backwards. Always within bounds.
public struct Slice: Sendable, Hashable {
  /// First index on each axis.
  public var starts: [Int]
  /// Number of indices on each axis.
  public var sizes: [Int]
  /// Distance of successive indices, not 0.
  public var steps: [Int]

  /// A slice with one entry per axis.
  public init(starts: [Int], sizes: [Int], steps: [Int]) {
    self.starts = starts
    self.sizes = sizes
    self.steps = steps
  }

  /// The part `range` of `axis`, everything on the others.
  public init(_ range: Range<Int>, axis: Int, of shape: Shape) {
    starts = [Int](repeating: 0, count: shape.rank)
    sizes = shape.dimensions
    steps = [Int](repeating: 1, count: shape.rank)
    starts[axis] = range.lowerBound
    sizes[axis] = range.count
  }
}

/// Padding of every axis of the data; negative amounts crop.
public struct Pad: Sendable, Hashable {
  /// What the padding holds.
  public enum Mode: Sendable, Hashable {
    case constant(Double)
    /// Mirrored without repeating the border.
    case reflect
    /// The border, repeated.
    case edge
    /// From the other end.
    case wrap
  }
  /// What the padding holds.
  public var mode: Mode
  /// Elements before each axis.
  public var begins: [Int]
  /// Elements after each axis.
  public var ends: [Int]

  /// Padding with one entry per axis.
  public init(_ mode: Mode, begins: [Int], ends: [Int]) {
    self.mode = mode
    self.begins = begins
    self.ends = ends
  }
}

/// ONNX's Resize and Upsample. The source position of output index i on an axis follows from `coordinates`.
public struct Resize: Sendable, Hashable {
  /// How values between samples are found.
  public enum Interpolation: Sendable, Hashable {
    case nearest(Rounding)
    case linear
  }
  /// How a source position is rounded for `nearest`.
  public enum Rounding: Sendable, Hashable { case roundPreferFloor, roundPreferCeil, floor, ceil }
  /// ONNX's coordinate_transformation_mode.
  public enum Coordinates: Sendable, Hashable {
    case halfPixel, halfPixelSymmetric, pytorchHalfPixel, alignCorners, asymmetric
  }
  /// How values between samples are found.
  public var interpolation: Interpolation
  /// How positions correspond.
  public var coordinates: Coordinates
  /// The output's extent on every axis.
  public var sizes: [Int]
  /// The scale used in the formulas, on every axis: as given, or output extent / input extent.
  public var scales: [Double]

  /// A resize to `sizes`.
  public init(_ interpolation: Interpolation, coordinates: Coordinates, sizes: [Int], scales: [Double]) {
    self.interpolation = interpolation
    self.coordinates = coordinates
    self.sizes = sizes
    self.scales = scales
  }
}

/// Adam's constants.
public struct Adam: Sendable, Hashable {
  /// Step size.
  public var learningRate: Float
  /// Decay of the first moment.
  public var beta1: Float
  /// Decay of the second moment.
  public var beta2: Float
  /// Added to the root of the second moment.
  public var epsilon: Float

  /// Adam with the paper's defaults but for the step size.
  public init(learningRate: Float, beta1: Float = 0.9, beta2: Float = 0.999, epsilon: Float = 1e-8) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
  }
}
