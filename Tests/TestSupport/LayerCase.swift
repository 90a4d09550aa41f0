import CatenaCompute
import CatenaGraph
import CatenaTensors

/// A layer with random weights and inputs whose channels are correlated, as in real networks.
package struct LayerCase: Sendable {
  package var testDescription: String
  package var layer: LayerGeometry
  package var images: Int
  /// Whether there are fewer samples than columns: rounding decides what the undamped solver removes then.
  package var isSingular: Bool

  package init(testDescription: String, layer: LayerGeometry, images: Int = 6, isSingular: Bool = false) {
    self.testDescription = testDescription
    self.layer = layer
    self.images = images
    self.isSingular = isSingular
  }

  package static func convolution(
    _ name: String, channels: Int, rows: Int, kernel: [Int], source: [Int], strides: [Int] = [1, 1],
    dilations: [Int] = [1, 1], pads: [Int], groups: Int = 1
  ) -> LayerCase {
    let convolution = Convolution(
      strides: strides, padsBegin: pads, padsEnd: pads, dilations: dilations, groups: groups)
    let destination = (0..<2).map { (axis: Int) -> Int in
      let span = (kernel[axis] - 1) * dilations[axis] + 1
      let room = source[axis] + 2 * pads[axis] - span
      return room / strides[axis] + 1
    }
    return LayerCase(
      testDescription: name,
      layer: LayerGeometry(
        convolution, weights: Shape([rows * groups, channels] + kernel), source: source, destination: destination))
  }

  package static let all = [
    convolution("3x3", channels: 5, rows: 6, kernel: [3, 3], source: [7, 8], pads: [1, 1]),
    convolution(
      "3x3, stride 2", channels: 4, rows: 5, kernel: [3, 3], source: [9, 8], strides: [2, 2], pads: [1, 1]),
    convolution(
      "3x3, dilation 2", channels: 3, rows: 4, kernel: [3, 3], source: [9, 9], dilations: [2, 2], pads: [2, 2]),
    convolution("3x3 without padding", channels: 3, rows: 7, kernel: [3, 3], source: [8, 7], pads: [0, 0]),
    convolution(
      "5x3, uneven", channels: 3, rows: 4, kernel: [5, 3], source: [8, 9], strides: [2, 1], dilations: [1, 2],
      pads: [3, 1]),
    convolution("1x1", channels: 9, rows: 6, kernel: [1, 1], source: [5, 6], pads: [0, 0]),
    convolution(
      "1x1, stride 2", channels: 9, rows: 6, kernel: [1, 1], source: [7, 8], strides: [2, 2], pads: [0, 0]),
    convolution("groups", channels: 4, rows: 3, kernel: [3, 3], source: [6, 6], pads: [1, 1], groups: 3),
    convolution("depthwise", channels: 1, rows: 2, kernel: [3, 3], source: [7, 7], pads: [1, 1], groups: 5),
    // Channels that fill registers: products that read the images in place, in one run of positions or several.
    convolution("3x3 of 16 channels", channels: 16, rows: 2, kernel: [3, 3], source: [12, 11], pads: [1, 1]),
    convolution(
      "3x1 of 32 channels, stride 2", channels: 32, rows: 3, kernel: [3, 1], source: [13, 40], strides: [2, 2],
      pads: [1, 0]),
    convolution("1x1 of 48 channels", channels: 48, rows: 4, kernel: [1, 1], source: [14, 13], pads: [0, 0]),
    convolution(
      "groups of 16 channels", channels: 16, rows: 2, kernel: [2, 3], source: [9, 30], dilations: [2, 1], pads: [1, 1],
      groups: 2),
    LayerCase(testDescription: "linear", layer: LayerGeometry(linear: 7, features: 12, tokens: 4), images: 9),
  ]

  /// More columns than the exact solver removes between two compactions, also when they go one by one.
  package static let manyColumns = convolution(
    "1x1 of 140 channels", channels: 140, rows: 2, kernel: [1, 1], source: [14, 13], pads: [0, 0])

  package var inputs: Tensor {
    var generator = SeededGenerator(seed: 7)
    let channels = layer.groups * layer.channels
    let shape: Shape = [images, layer.source[0], layer.source[1], channels]
    var values: [Float] = []
    for _ in 0..<images * layer.source[0] * layer.source[1] {
      let common = generator.uniform() - 0.3
      // Rectified, as behind an activation.
      values += (0..<channels).map { _ in Float(max(0, generator.uniform() - 0.4 + common)) }
    }
    return Tensor(values, shape: shape)
  }

  package var weights: Tensor {
    var generator = SeededGenerator(seed: 3)
    let values = (0..<layer.weightShape.elementCount).map { _ in Float(generator.uniform() - 0.5) }
    return Tensor(values, shape: layer.weightShape)
  }

  /// Solves the layer whose inputs come in `parts`.
  package func solved(
    _ method: PruningMethod, sparsity: Double, inputs parts: [Tensor], on backend: some LayerSolverBackend
  ) async throws -> PrunedLayer {
    let solver = try await backend.makeSolver(for: layer, method: method, images: images)
    for part in parts { try await solver.add(part) }
    return try await solver.solve(weights, sparsity: sparsity)
  }
}

// MARK: What memory is checked with

extension LayerCase {
  /// Layers so small that slow checks of memory can run them, which still need every kernel of the solvers: more columns
  /// than one block of a factorisation, fewer samples than columns, two late blocks of a sweep.
  package static let small: [LayerCase] = {
    var singular = convolution(
      "14x7, singular", channels: 2, rows: 5, kernel: [14, 7], source: [14, 7], pads: [1, 1])
    singular.isSingular = true
    return all.filter { $0.layer.columns <= 45 } + [
      LayerCase(
        testDescription: "linear, singular", layer: LayerGeometry(linear: 5, features: 20, tokens: 1), images: 4,
        isSingular: true),
      singular,
    ]
  }()

  /// How small layers are solved: by every method, except that only the fast one takes many columns.
  package var solutions: [(method: PruningMethod, sparsity: Double)] {
    let fast = [
      (PruningMethod(.fast), 0), (PruningMethod(.fast), 0.6), (PruningMethod(.fast, isCompatible: true), 0.6),
    ]
    let exact = PruningMethod.Blocks.allCases.map { (PruningMethod(.exact($0)), 0.6) }
    return layer.columns <= 45 ? fast + exact : fast
  }

  /// The inputs in two parts, of which the second is the smaller one.
  package var parts: [Tensor] {
    let first = images * 2 / 3
    let pixels = inputs.elementCount / images
    return [0..<first, first..<images].map { range in
      Tensor(
        Array(inputs.floats[range.lowerBound * pixels..<range.upperBound * pixels]),
        shape: Shape([range.count] + inputs.shape.dimensions.dropFirst()))
    }
  }

  /// How a solution differs from the one that is expected, beyond rounding; `nil` when it does not.
  package func difference(_ found: PrunedLayer, _ expected: PrunedLayer, _ method: PruningMethod) -> String? {
    guard found.damping == expected.damping && found.wasDampedFurther == expected.wasDampedFurther else {
      return "the damping is \(found.damping) instead of \(expected.damping)"
    }
    guard found.deadColumns == expected.deadColumns else {
      return "\(found.deadColumns) columns are dead instead of \(expected.deadColumns)"
    }
    let (values, wanted) = (found.weights.floats, expected.weights.floats)
    guard values.allSatisfy(\.isFinite) else { return "weights are not finite" }
    if isSingular, case .exact = method.algorithm { return nil }
    guard zip(values, wanted).allSatisfy({ ($0 == 0) == ($1 == 0) }) else { return "the masks differ" }
    let error = zip(values, wanted).map { abs($0 - $1) }.max() ?? 0
    guard error <= 1e-4 * (wanted.map(abs).max() ?? 1) else { return "weights differ by \(error)" }
    return abs(found.loss - expected.loss) <= 1e-3 * max(expected.loss, 1e-6)
      ? nil : "the loss is \(found.loss) instead of \(expected.loss)"
  }
}
