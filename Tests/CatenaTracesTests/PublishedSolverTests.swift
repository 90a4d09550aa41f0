import CatenaCPU
import CatenaCompute
import CatenaTensors
import TestSupport
import Testing

@Suite(
  "Compatibility with the published solvers", .enabled(if: Peer.availability.isPresent, "\(Peer.availability.reason)"))
struct PublishedSolverTests {
  /// Whole positions of an image, so that the im2col matrix is plain.
  static let layers = [
    LayerCase.convolution("3x3", channels: 6, rows: 8, kernel: [3, 3], source: [3, 3], pads: [0, 0]),
    LayerCase.convolution("1x1", channels: 17, rows: 12, kernel: [1, 1], source: [1, 1], pads: [0, 0]),
    LayerCase(testDescription: "linear", layer: LayerGeometry(linear: 9, features: 14, tokens: 1)),
  ]

  @Test(
    "removes the same connections and leaves the same weights", arguments: PublishedSolverTests.layers.indices,
    ["fast", "exact"])
  func compatible(index: Int, solver: String) async throws {
    var test = Self.layers[index]
    test.images = 120
    let (layer, folder) = (test.layer, try TemporaryFolder())
    let method = PruningMethod(solver == "fast" ? .fast : .exact(.tap), isCompatible: true)
    // One window covers an image: its pixels, channels first, are the columns.
    let inputs = test.inputs.floats
    let columns = (0..<test.images * layer.columns).map { place -> Float in
      let (image, column) = (place / layer.columns, place % layer.columns)
      return inputs[image * layer.columns + column % layer.taps * layer.channels + column / layer.taps]
    }
    try folder.write(Tensor(columns, shape: [test.images, layer.columns, 1]), "columns")
    try folder.write(test.weights, "weights")
    for sparsity in [0.0, 0.5, 0.85] {
      let numbers = [layer.rows, layer.channels, layer.taps].map(String.init)
      try await Peer.run("published_solver.py", [folder.path] + numbers + ["\(sparsity)", solver])
      let published = try folder.read("pruned").floats
      let ours = try await test.solved(method, sparsity: sparsity).weights.floats
      #expect(zip(ours, published).allSatisfy { ($0 == 0) == ($1 == 0) }, "sparsity \(sparsity)")
      let scale = published.map(abs).max() ?? 1
      let error = zip(ours, published).map { abs($0 - $1) }.max() ?? 0
      Measured.report("\(test.testDescription) \(solver) \(sparsity): \(error / scale)")
      #expect(error <= 1e-4 * scale, "sparsity \(sparsity)")
    }
  }
}
