import CatenaGraph
import CatenaTensors
import Testing

/// A small network of one pattern, with the units and blocks that are expected of it.
struct NetworkPattern: Sendable, CustomTestStringConvertible {
  let testDescription: String
  /// Layers as `mixing -> value x count`, followed by `in block` where there is one.
  let layers: [String]
  /// Blocks as `sum = shortcut + branch`.
  let blocks: [String]
  /// Builds the network on an input of 2 x 3 x 6 x 6 and returns its output.
  let build: @Sendable (inout NetworkBuilder, ValueID) throws -> ValueID

  init(
    _ name: String, layers: [String], blocks: [String] = [],
    _ build: @escaping @Sendable (inout NetworkBuilder, ValueID) throws -> ValueID
  ) {
    testDescription = name
    self.layers = layers
    self.blocks = blocks
    self.build = build
  }

  func network() throws -> (builder: NetworkBuilder, output: ValueID) {
    var builder = NetworkBuilder(seed: 11)
    let input = builder.input([2, 3, 6, 6])
    let output = try build(&builder, input)
    builder.graph.outputs = [output]
    return (builder, output)
  }

  static let all = chains + residuals + scalings
}

private let chains: [NetworkPattern] = [
  NetworkPattern(
    "plain chain of convolution, batch norm, ReLU, pool",
    layers: ["a -> a.pool x 4", "b -> flat x 5"]
  ) { builder, input in
    let first = try builder.maximumPool(builder.convolutionNormRelu(input, 4, name: "a"), name: "a.pool")
    return try builder.head(builder.convolutionNormRelu(first, 5, name: "b"))
  },
  NetworkPattern("VGG with ReLU, then batch norm", layers: ["a -> a.norm x 4", "b -> flat x 5"]) { builder, input in
    let first = try builder.batchNormalization(
      builder.relu(builder.convolution(input, 4, bias: true, name: "a"), name: "a.relu"), name: "a.norm")
    let second = try builder.batchNormalization(
      builder.relu(builder.convolution(first, 5, name: "b"), name: "b.relu"), name: "b.norm")
    return try builder.head(second)
  },
  NetworkPattern(
    "flatten with spatial extent, then gemm", layers: ["a -> a.relu x 4", "fc -> fc.relu x 6"]
  ) { builder, input in
    let features = try builder.flatten(builder.convolutionNormRelu(input, 4, name: "a"), name: "flat")
    let hidden = try builder.relu(builder.linear(features, 6, name: "fc"), name: "fc.relu")
    return try builder.linear(hidden, 3, name: "classifier")
  },
  NetworkPattern("patches become tokens: the embedding has no units", layers: ["hidden -> mean x 5"]) {
    builder, input in
    let patches = try builder.convolution(input, 4, stride: 3, bias: true, name: "patches")
    let tokens = try builder.add(
      .transpose(permutation: [0, 2, 1]), builder.add(.reshape([2, 4, 4]), patches, name: "sequence"), name: "tokens")
    let hidden = try builder.add(.matmul, tokens, builder.constant([4, 5]), name: "hidden")
    let mean = try builder.add(
      .reduce(Reduce(.mean, axes: [1], keepsDimensions: false)), builder.relu(hidden, name: "relu"), name: "mean")
    return try builder.linear(mean, 3, name: "classifier")
  },
  NetworkPattern(
    "depthwise separable", layers: ["expand -> depthwise.relu x 6", "project -> flat x 4"]
  ) { builder, input in
    let expanded = try builder.convolutionNormRelu(input, 6, kernel: 1, name: "expand")
    let depthwise = try builder.convolutionNormRelu(expanded, 6, groups: 6, name: "depthwise")
    return try builder.head(
      builder.batchNormalization(builder.convolution(depthwise, 4, kernel: 1, name: "project"), name: "project.norm"))
  },
  NetworkPattern(
    "grouped convolution", layers: ["a -> a.relu x 4", "grouped -> flat x 6"]
  ) { builder, input in
    let first = try builder.convolutionNormRelu(input, 4, name: "a")
    return try builder.head(builder.convolutionNormRelu(first, 6, groups: 2, name: "grouped"))
  },
  NetworkPattern(
    "fire module with concatenation, convolutional classifier",
    layers: ["squeeze -> squeeze.relu x 3", "left -> left.relu x 4", "right -> right.relu x 5"]
  ) { builder, input in
    let squeezed = try builder.relu(builder.convolution(input, 3, kernel: 1, name: "squeeze"), name: "squeeze.relu")
    let left = try builder.relu(builder.convolution(squeezed, 4, kernel: 1, name: "left"), name: "left.relu")
    let right = try builder.relu(builder.convolution(squeezed, 5, name: "right"), name: "right.relu")
    let joined = try builder.add(.concatenate(axis: 1), left, right, name: "joined")
    let classified = try builder.relu(builder.convolution(joined, 3, kernel: 1, name: "classifier"), name: "c.relu")
    return try builder.add(
      .softmax(axes: [1]), builder.flatten(builder.globalAverage(classified, name: "pool"), name: "flat"))
  },
  NetworkPattern(
    "dense connections", layers: ["a -> a.relu x 3", "b -> b.relu x 2"]
  ) { builder, input in
    let first = try builder.convolutionNormRelu(input, 3, name: "a")
    let second = try builder.convolutionNormRelu(first, 2, name: "b")
    return try builder.head(builder.add(.concatenate(axis: 1), first, second, name: "joined"))
  },
  NetworkPattern(
    "x * sigmoid(x) belongs to the chain", layers: ["a -> depthwise.swish x 4"]
  ) { builder, input in
    func swish(_ data: ValueID, _ name: String) throws -> ValueID {
      try builder.add(.binary(.multiply), data, builder.add(.unary(.sigmoid), data), name: name)
    }
    let first = try swish(builder.convolution(input, 4, bias: true, name: "a"), "swish")
    let second = try builder.convolution(first, 4, groups: 4, bias: true, name: "depthwise")
    let features = try swish(second, "depthwise.swish")
    let classified = try builder.convolution(features, 3, kernel: 6, name: "classifier")
    return try builder.add(.reduce(Reduce(.mean, axes: [2, 3], keepsDimensions: false)), classified)
  },
  NetworkPattern(
    "fork into two activations", layers: ["a -> a x 4", "b -> b x 3", "c -> c x 3"]
  ) { builder, input in
    let forked = try builder.convolution(input, 4, name: "a")
    let left = try builder.convolution(builder.relu(forked, name: "relu"), 3, name: "b")
    let sigmoid = try builder.add(.unary(.sigmoid), forked, name: "sigmoid")
    let right = try builder.convolution(sigmoid, 3, name: "c")
    return try builder.head(builder.add(.concatenate(axis: 1), left, right, name: "joined"))
  },
  NetworkPattern(
    "tokens through an MLP", layers: ["embed -> embed x 4", "up -> up.gelu x 6", "down -> mean x 4"]
  ) { builder, input in
    let tokens = try builder.add(.transpose(permutation: [0, 2, 1]), builder.add(.reshape([2, 3, 36]), input))
    let embedded = try builder.add(.matmul, tokens, builder.constant([3, 4]), name: "embed")
    let up = try builder.add(.matmul, embedded, builder.constant([4, 6]), name: "up")
    let hidden = try builder.add(
      .unary(.gelu), builder.add(.binary(.add), up, builder.constant([6])), name: "up.gelu")
    let down = try builder.add(.matmul, hidden, builder.constant([6, 4]), name: "down")
    let pooled = try builder.add(.reduce(Reduce(.mean, axes: [1], keepsDimensions: false)), down, name: "mean")
    return try builder.linear(pooled, 3, name: "classifier")
  },
]

private let residuals: [NetworkPattern] = [
  NetworkPattern(
    "basic block",
    layers: ["stem -> stem.relu x 4", "a -> a.relu x 5 in sum", "b -> b.norm x 4 in sum"],
    blocks: ["sum = stem.relu + b.norm"]
  ) { builder, input in
    let stem = try builder.convolutionNormRelu(input, 4, name: "stem")
    let first = try builder.convolutionNormRelu(stem, 5, name: "a")
    let second = try builder.batchNormalization(builder.convolution(first, 4, name: "b"), name: "b.norm")
    return try builder.head(builder.relu(builder.add(.binary(.add), second, stem, name: "sum"), name: "sum.relu"))
  },
  NetworkPattern(
    "two bottlenecks, one with a projection",
    layers: [
      "stem -> stem.relu x 4", "p1 -> p1.relu x 2 in sum1", "p2 -> p2.relu x 3 in sum1", "p3 -> p3.norm x 6 in sum1",
      "projection -> projection.norm x 6", "q1 -> q1.relu x 2 in sum2", "q2 -> q2.relu x 2 in sum2",
      "q3 -> q3.norm x 6 in sum2",
    ],
    blocks: ["sum1 = projection.norm + p3.norm", "sum2 = sum1.relu + q3.norm"]
  ) { builder, input in
    let stem = try builder.convolutionNormRelu(input, 4, name: "stem")
    let p1 = try builder.convolutionNormRelu(stem, 2, kernel: 1, name: "p1")
    let p2 = try builder.convolutionNormRelu(p1, 3, stride: 2, name: "p2")
    let p3 = try builder.batchNormalization(builder.convolution(p2, 6, kernel: 1, name: "p3"), name: "p3.norm")
    let projection = try builder.batchNormalization(
      builder.convolution(stem, 6, kernel: 1, stride: 2, name: "projection"), name: "projection.norm")
    let sum1 = try builder.relu(builder.add(.binary(.add), p3, projection, name: "sum1"), name: "sum1.relu")
    let q1 = try builder.convolutionNormRelu(sum1, 2, kernel: 1, name: "q1")
    let q2 = try builder.convolutionNormRelu(q1, 2, name: "q2")
    let q3 = try builder.batchNormalization(builder.convolution(q2, 6, kernel: 1, name: "q3"), name: "q3.norm")
    return try builder.head(builder.add(.binary(.add), sum1, q3, name: "sum2"))
  },
  NetworkPattern(
    "option A shortcut",
    layers: ["stem -> stem.relu x 4", "a -> a.relu x 6 in sum", "b -> b x 6 in sum"],
    blocks: ["sum = padded + b"]
  ) { builder, input in
    let stem = try builder.convolutionNormRelu(input, 4, name: "stem")
    let first = try builder.convolutionNormRelu(stem, 6, stride: 2, name: "a")
    let second = try builder.convolution(first, 6, bias: true, name: "b")
    let strided = try builder.add(
      .slice(Slice(starts: [0, 0, 0, 0], sizes: [2, 4, 3, 3], steps: [1, 1, 2, 2])), stem, name: "strided")
    let padded = try builder.add(
      .pad(Pad(.constant(0), begins: [0, 1, 0, 0], ends: [0, 1, 0, 0])), strided, name: "padded")
    return try builder.head(builder.add(.binary(.add), second, padded, name: "sum"))
  },
  NetworkPattern(
    "pre-activation, shortcut from before the activation",
    layers: ["stem -> stem x 4", "a -> a.relu x 5 in sum", "b -> b x 4 in sum"],
    blocks: ["sum = stem + b"]
  ) { builder, input in
    let stem = try builder.convolution(input, 4, name: "stem")
    let active = try builder.relu(builder.batchNormalization(stem, name: "norm"), name: "relu")
    let first = try builder.convolutionNormRelu(active, 5, name: "a")
    let second = try builder.convolution(first, 4, name: "b")
    let sum = try builder.add(.binary(.add), second, stem, name: "sum")
    return try builder.head(builder.relu(builder.batchNormalization(sum, name: "last.norm"), name: "last.relu"))
  },
  NetworkPattern(
    "pre-activation, projection from behind the activation",
    layers: [
      "stem -> relu x 4", "a -> a.relu x 5 in sum", "b -> b x 6 in sum", "projection -> projection x 6",
    ],
    blocks: ["sum = projection + b"]
  ) { builder, input in
    let stem = try builder.convolution(input, 4, name: "stem")
    let active = try builder.relu(builder.batchNormalization(stem, name: "norm"), name: "relu")
    let first = try builder.convolutionNormRelu(active, 5, stride: 2, name: "a")
    let second = try builder.convolution(first, 6, name: "b")
    let projection = try builder.convolution(active, 6, kernel: 1, stride: 2, name: "projection")
    return try builder.head(builder.add(.binary(.add), second, projection, name: "sum"))
  },
  NetworkPattern(
    "block within a block",
    layers: [
      "stem -> stem.relu x 4", "outer1 -> outer1.relu x 5 in outer", "inner1 -> inner1.relu x 3 in inner",
      "inner2 -> inner2 x 5 in inner", "outer2 -> outer2 x 4 in outer",
    ],
    blocks: ["inner = outer1.relu + inner2", "outer = stem.relu + outer2"]
  ) { builder, input in
    let stem = try builder.convolutionNormRelu(input, 4, name: "stem")
    let outer1 = try builder.convolutionNormRelu(stem, 5, name: "outer1")
    let inner1 = try builder.convolutionNormRelu(outer1, 3, name: "inner1")
    let inner2 = try builder.convolution(inner1, 5, name: "inner2")
    let inner = try builder.add(.binary(.add), outer1, inner2, name: "inner")
    let outer2 = try builder.convolution(inner, 4, name: "outer2")
    return try builder.head(builder.add(.binary(.add), stem, outer2, name: "outer"))
  },
  NetworkPattern(
    "sum of two like branches is no block",
    layers: ["a -> a.relu x 4", "b -> b.relu x 4", "c -> flat x 5"]
  ) { builder, input in
    let left = try builder.convolutionNormRelu(input, 4, name: "a")
    let right = try builder.convolutionNormRelu(input, 4, name: "b")
    return try builder.head(
      builder.convolution(builder.add(.binary(.add), left, right, name: "sum"), 5, name: "c"))
  },
  NetworkPattern(
    "feature pyramid is no block",
    layers: [
      "c3 -> c3.relu x 4", "c4 -> c4.relu x 5", "top -> top x 4", "lateral -> lateral x 4", "smooth -> smooth.flat x 4",
      "high -> high.flat x 4",
    ]
  ) { builder, input in
    let c3 = try builder.convolutionNormRelu(input, 4, name: "c3")
    let c4 = try builder.convolutionNormRelu(c3, 5, stride: 2, name: "c4")
    let top = try builder.convolution(c4, 4, kernel: 1, name: "top")
    let upsampled = try builder.add(
      .resize(
        Resize(
          .nearest(.floor), coordinates: .asymmetric, sizes: [2, 4, 6, 6], scales: [1, 1, 2, 2])), top, name: "up")
    let lateral = try builder.convolution(c3, 4, kernel: 1, name: "lateral")
    let merged = try builder.add(.binary(.add), lateral, upsampled, name: "merged")
    let low = try builder.globalAverage(builder.convolution(merged, 4, name: "smooth"), name: "smooth.pool")
    let high = try builder.globalAverage(builder.convolution(top, 4, name: "high"), name: "high.pool")
    let joined = try builder.add(
      .concatenate(axis: 1), builder.flatten(low, name: "smooth.flat"), builder.flatten(high, name: "high.flat"))
    return try builder.linear(joined, 3, name: "classifier")
  },
]

private let scalings: [NetworkPattern] = [
  NetworkPattern(
    "squeeze and excite with convolutions",
    layers: ["a -> a.relu x 4", "squeeze -> squeeze.relu x 2", "b -> flat x 3"]
  ) { builder, input in
    let features = try builder.convolutionNormRelu(input, 4, name: "a")
    let squeezed = try builder.relu(
      builder.convolution(
        builder.globalAverage(features, name: "mean"), 2, kernel: 1, bias: true, name: "squeeze"), name: "squeeze.relu")
    let excited = try builder.add(
      .unary(.sigmoid), builder.convolution(squeezed, 4, kernel: 1, bias: true, name: "excite"), name: "scale")
    let scaled = try builder.add(.binary(.multiply), features, excited, name: "scaled")
    return try builder.head(builder.convolution(scaled, 3, name: "b"))
  },
  NetworkPattern(
    "squeeze and excite with gemm, inside a residual branch",
    layers: [
      "stem -> stem.relu x 4", "a -> a.relu x 5 in sum", "b -> b.norm x 4 in sum", "squeeze -> squeeze.relu x 2 in sum",
    ],
    blocks: ["sum = stem.relu + scaled"]
  ) { builder, input in
    let stem = try builder.convolutionNormRelu(input, 4, name: "stem")
    let first = try builder.convolutionNormRelu(stem, 5, name: "a")
    let second = try builder.batchNormalization(builder.convolution(first, 4, name: "b"), name: "b.norm")
    let mean = try builder.flatten(builder.globalAverage(second, name: "mean"), name: "mean.flat")
    let squeezed = try builder.relu(builder.linear(mean, 2, name: "squeeze"), name: "squeeze.relu")
    let excited = try builder.add(.unary(.sigmoid), builder.linear(squeezed, 4, name: "excite"), name: "scale")
    let scale = try builder.add(.reshape([2, 4, 1, 1]), excited, name: "scale.image")
    let scaled = try builder.add(.binary(.multiply), second, scale, name: "scaled")
    return try builder.head(builder.add(.binary(.add), stem, scaled, name: "sum"))
  },
]
