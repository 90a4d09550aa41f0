import CatenaCPU
import CatenaFormats
import CatenaGraph
import CatenaTensors
import CatenaTraces
import TestSupport
import Testing

@Suite("Traces of rare networks")
struct RareNetworkTests {
  private struct Builder {
    var graph = Graph()
    private var generator = SeededGenerator(seed: 7)

    mutating func constant(_ shape: Shape, _ name: String) -> ValueID {
      let values = (0..<shape.elementCount).map { _ in Float(generator.uniform() - 0.5) }
      return graph.addConstant(name, Tensor(values, shape: shape))
    }

    mutating func convolution(_ data: ValueID, _ filters: Int, _ name: String) throws -> ValueID {
      let geometry = Convolution(strides: [1, 1], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1])
      let weights = constant([filters, graph.shape(data)[1], 3, 3], "\(name).weight")
      return try graph.add(.convolution(geometry), inputs: [data, weights], names: [name])[0]
    }

    mutating func classify(_ data: ValueID) throws {
      let mean = try graph.add(.reduce(Reduce(.mean, axes: [2, 3], keepsDimensions: false)), data)
      let weights = constant([graph.shape(mean)[1], 5], "classifier")
      graph.outputs = [try graph.add(.gemm(Gemm()), inputs: [mean, weights], names: ["logits"])[0]]
    }
  }

  /// A value that a convolution and a product along the last axis read; `isShared`, or by way of a second rectifier,
  /// which changes nothing.
  private static func network(isShared: Bool, productFirst: Bool) throws -> ONNXModel {
    var builder = Builder()
    let image = builder.graph.addInput("image", TensorType(.float32, [5, 3, 32, 32]))
    let stem = try builder.graph.add(.unary(.relu), builder.convolution(image, 8, "stem"))
    let other = isShared ? stem : try builder.graph.add(.unary(.relu), stem)
    let weights = builder.constant([32, 32], "product.weight")
    var values: [ValueID] = []
    func addProduct() throws {
      values.append(try builder.graph.add(.matmul, inputs: [other, weights], names: ["product"])[0])
    }
    if productFirst { try addProduct() }
    values.append(try builder.convolution(stem, 8, "convolution"))
    if !productFirst { try addProduct() }
    try builder.classify(builder.graph.add(.binary(.add), values[0], values[1]))
    return try ONNXModel(exporting: builder.graph)
  }

  @Test("a value that layers read in different orders is captured in each of them", arguments: [true, false])
  func sharedInput(productFirst: Bool) async throws {
    let path = Assets.samples.appending(path: "images/cifar10_demo.bin").path
    guard case .image(let image) = try SampleSource.samples(["\(path)#0"])[0].content else { return }
    var losses: [[String: Double]] = []
    for isShared in [true, false] {
      var settings = TraceSettings()
      (settings.augmentations, settings.batch, settings.checkedAugmentations) = (10, 5, 5)
      let extractor = try TraceExtractor(
        network: TraceNetwork(model: Self.network(isShared: isShared, productFirst: productFirst), batch: 5),
        backend: CPUBackend(), solvers: CPUSolverBackend(), preprocessing: try Preprocessing.named("cifar10"),
        ratios: .uniform(0.5), settings: settings)
      let result = try await extractor.trace(of: TraceSample(name: "picture", image: image))
      losses.append(
        Dictionary(uniqueKeysWithValues: result.layers.map { ($0.name, $0.solution?.loss ?? 0) }))
    }
    #expect(losses[0].count == 3)
    for (name, loss) in losses[1] {
      let found = try #require(losses[0][name])
      #expect(abs(found - loss) <= 1e-4 * loss, "\(name)")
    }
  }

  @Test("a convolution of parts of images is left dense, with the reason")
  func partsOfImages() throws {
    var builder = Builder()
    let image = builder.graph.addInput("image", TensorType(.float32, [5, 3, 32, 32]))
    let stem = try builder.convolution(image, 8, "stem")
    let halves = try builder.graph.add(.reshape([10, 4, 32, 32]), stem)
    let inner = try builder.convolution(halves, 4, "inner")
    let whole = try builder.graph.add(.reshape([5, 8, 32, 32]), inner)
    try builder.classify(builder.convolution(whole, 8, "outer"))
    let network = try TraceNetwork(model: ONNXModel(exporting: builder.graph), batch: 5)
    #expect(network.layers.map(\.name) == ["outer", "logits"])
    #expect(network.untouched.map(\.name) == ["stem", "inner"])
    #expect(network.untouched.last?.reason.contains("10 images of 5") == true)
  }
}
