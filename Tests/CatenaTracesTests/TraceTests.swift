import CatenaCPU
import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors
import CatenaTraces
import Foundation
import TestSupport
import Testing

@Suite("Traces")
struct TraceTests {
  private static func model(_ name: String) throws -> ONNXModel {
    try ONNXModel(contentsOf: Assets.samples.appending(path: "models/\(name).onnx").path)
  }

  private static func picture(_ index: Int) throws -> TraceSample {
    let path = Assets.samples.appending(path: "images/cifar10_demo.bin").path
    let samples = try SampleSource.samples(["\(path)#\(index)"])
    guard case .image(let image) = samples[0].content else { throw TraceError.unsuitable("no picture") }
    return TraceSample(name: "picture", image: image)
  }

  private static func settings(_ solver: TraceSolver, augmentations: Int = 20) -> TraceSettings {
    var settings = TraceSettings()
    (settings.solver, settings.augmentations, settings.batch) = (solver, augmentations, 8)
    settings.checkedAugmentations = 10
    return settings
  }

  private static func extractor(
    _ model: ONNXModel, _ settings: TraceSettings, ratios: SparsityRatios, preprocessing: Preprocessing
  ) throws -> TraceExtractor {
    try TraceExtractor(
      network: TraceNetwork(model: model, batch: settings.batch), backend: CPUBackend(), solvers: CPUSolverBackend(),
      preprocessing: preprocessing, ratios: ratios, settings: settings)
  }

  @Test(
    "are ordinary networks that onnxruntime runs, with the connections that the masks name",
    arguments: TraceSolver.allCases)
  func folder(solver: TraceSolver) async throws {
    let model = try Self.model("mlperf_tiny_resnet8")
    let preprocessing = Preprocessing(divisor: 1)
    let extractor = try Self.extractor(
      model, Self.settings(solver), ratios: .uniform(0.5), preprocessing: preprocessing)
    let sample = try Self.picture(1)
    let result = try await extractor.trace(of: sample)
    let folder = try TemporaryFolder()
    let origin = TraceOrigin(
      modelFile: "m.onnx", preprocessing: preprocessing.json, device: CPUBackend().device, version: "test")
    let path = folder.file("trace")
    let manifest = try TraceWriter(extractor: extractor, origin: origin)
      .write(result, into: try AtomicDirectory(path))
    #expect(manifest.layers.count + manifest.untouched.count == 10)
    #expect(manifest.untouched.map(\.reason) == ["it is the stem convolution"])
    #expect(manifest.fidelity.augmentations == 10)

    let read = try TraceFolder(contentsOf: path)
    #expect(read.manifest == manifest)
    #expect(TraceFolder.exists(at: path) && !TraceFolder.exists(at: folder.path))
    let masks = try Safetensors.read("\(path)/\(TraceFile.connections)")
    for (layer, listed) in zip(result.layers, manifest.layers) {
      let kept = ConnectionMask.unpacked(try #require(masks[layer.name]), count: layer.weights.elementCount)
      #expect(kept == layer.weights.floats.map { $0 != 0 })
      #expect(kept.filter { $0 }.count == listed.connections.kept)
      // Columns without input go besides.
      #expect(Double(listed.connections.kept) <= 0.52 * Double(listed.connections.total))
    }
    guard Peer.availability.isPresent else { return }
    let schema = Assets.repository.appending(path: "Tools/schemas/trace-manifest.schema.json").path
    try await Peer.run("check_manifest.py", [schema, "\(path)/\(TraceFile.manifest)"])
    let input = try preprocessing.tensor(of: [sample.image]) { _ in "" }
    let file = try folder.write(input, "input")
    let outputs = try await Peer.onnxruntime(
      [.init(model: "\(path)/\(TraceFile.network)", input: file, output: "trace")], in: folder, checking: true)
    let logits = outputs[0].floats
    #expect(logits.firstIndex(of: logits.max() ?? 0) == manifest.fidelity.traceClass)
  }

  @Test("from layers' inputs in bf16 are nearly those from f32, and judged in f32")
  func bfloat16() async throws {
    guard ["avx512-bf16", "avx512-amx"].contains(CPUBackend().device.instructionSet) else { return }
    var results: [TraceResult] = []
    for precision in [Precision.f32, .bf16] {
      let settings = Self.settings(.fast)
      let extractor = try TraceExtractor(
        network: TraceNetwork(model: Self.model("cifar10_resnet20"), batch: settings.batch), backend: CPUBackend(),
        solvers: CPUSolverBackend(), preprocessing: try Preprocessing.named("cifar10"), ratios: .uniform(0.5),
        settings: settings, options: CompileOptions(precision: precision))
      results.append(try await extractor.trace(of: try Self.picture(0)))
    }
    let (exact, rounded) = (results[0], results[1])
    var losses = (exact: 0.0, rounded: 0.0)
    for (exact, rounded) in zip(exact.layers, rounded.layers) {
      let solutions = (exact.solution, rounded.solution)
      guard let expected = solutions.0, let found = solutions.1 else {
        #expect(solutions.0 == nil && solutions.1 == nil)
        continue
      }
      // Which connections go follows from small differences.
      #expect(abs(found.loss / expected.loss - 1) < 0.25, "\(exact.name)")
      #expect(found.deadColumns == expected.deadColumns, "\(exact.name)")
      losses.exact += expected.loss
      losses.rounded += found.loss
    }
    #expect(abs(losses.rounded / losses.exact - 1) < 0.02)
    // The same dense network in the same precision.
    #expect(exact.fidelity.denseClass == rounded.fidelity.denseClass)
    #expect(abs(exact.fidelity.logitCosine - rounded.fidelity.logitCosine) < 0.02)
  }

  @Test("do not depend on how the augmentations are batched")
  func batches() async throws {
    let model = try Self.model("cifar10_resnet20")
    var results: [TraceResult] = []
    for batch in [8, 5] {
      var settings = Self.settings(.fast)
      settings.batch = batch
      let extractor = try Self.extractor(
        model, settings, ratios: .uniform(0.6), preprocessing: try Preprocessing.named("cifar10"))
      results.append(try await extractor.trace(of: try Self.picture(0)))
    }
    for (left, right) in zip(results[0].layers, results[1].layers) {
      let differing = zip(left.connections, right.connections).filter { $0 != $1 }.count
      // A tie of two scores within rounding may fall either way.
      #expect(differing <= left.connections.count / 500 + 2)
    }
  }

  @Test("leave layers of ratio 0 bit for bit as they are")
  func dense() async throws {
    let model = try Self.model("cifar10_resnet20")
    let network = try TraceNetwork(model: model, batch: 8)
    let name = network.layers[3].name
    let extractor = try Self.extractor(
      model, Self.settings(.fast), ratios: .perLayer([name: 0.7]), preprocessing: try Preprocessing.named("cifar10"))
    let result = try await extractor.trace(of: try Self.picture(0))
    for (id, tensor) in network.graph.constants {
      let isPruned = network.graph[id].name == name || !tensor.isBitIdentical(to: result.graph.constants[id] ?? tensor)
      #expect(!isPruned || result.layers[3].weights.isBitIdentical(to: result.graph.constants[id] ?? tensor))
    }
    #expect(result.layers.filter { $0.solution != nil }.map(\.name) == [name])
  }

  @Test("take ratios that exist and make sense")
  func ratios() throws {
    let network = try TraceNetwork(model: try Self.model("cifar10_resnet20"), batch: 1)
    #expect(throws: TraceError.self) { try SparsityRatios.uniform(1).ratios(of: network) }
    #expect(throws: TraceError.self) { try SparsityRatios.uniform(.nan).ratios(of: network) }
    #expect(throws: TraceError.self) { try SparsityRatios.perLayer(["no such layer": 0.5]).ratios(of: network) }
    let published = try SparsityRatios.published.ratios(of: network)
    #expect(published.first == 0.2 && published.last == 0.95)
    // Both convolutions of a block share a ratio.
    #expect(published[2] == published[3] && published[16] == published[17])
  }

  @Test(
    "map the published ratios to ResNet-50 block by block",
    .enabled(if: Assets.asset("models/resnet50_pqf_large.onnx").isPresent, "the assets are not there"))
  func publishedRatios() throws {
    let path = try #require(Assets.asset("models/resnet50_pqf_large.onnx").url).path
    let network = try TraceNetwork(model: try ONNXModel(contentsOf: path), batch: 1)
    let blocks = [3, 4, 6, 3].flatMap { count in (0..<count).map { $0 == 0 ? 4 : 3 } } + [1]
    let perBlock = [0.2, 0.8, 0, 0.2, 0, 0.99, 0.95, 0.8, 0.8, 0.9, 0.8, 0, 0, 0.95, 0.95, 0.95, 0.95]
    let expected = zip(blocks, perBlock).flatMap { [Double](repeating: $1, count: $0) }
    #expect(try SparsityRatios.published.ratios(of: network) == expected)
  }

  @Test("stop when they are cancelled")
  func cancelled() async throws {
    let model = try Self.model("cifar10_resnet20")
    let extractor = try Self.extractor(
      model, Self.settings(.exact, augmentations: 2000), ratios: .uniform(0.5),
      preprocessing: try Preprocessing.named("cifar10"))
    let sample = try Self.picture(0)
    let task = Task { try await extractor.trace(of: sample) }
    task.cancel()
    await #expect(throws: (any Error).self) { try await task.value }
  }

  @Test("refuse weights that are not finite, and pictures that do not fit")
  func badInput() async throws {
    let model = try Self.model("cifar10_resnet20")
    let extractor = try Self.extractor(
      model, Self.settings(.fast), ratios: .uniform(0.5), preprocessing: try Preprocessing.named("imagenet"))
    let sample = try Self.picture(0)
    await #expect(throws: TraceError.self) { try await extractor.trace(of: sample) }
  }

  @Test("respect a limit of memory before they run")
  func memory() async throws {
    let settings = Self.settings(.fast)
    let extractor = try TraceExtractor(
      network: TraceNetwork(model: try Self.model("cifar10_resnet20"), batch: settings.batch), backend: CPUBackend(),
      solvers: CPUSolverBackend(), preprocessing: try Preprocessing.named("cifar10"), ratios: .uniform(0.5),
      settings: settings, options: CompileOptions(memoryLimit: 4 << 20))
    let sample = try Self.picture(0)
    await #expect(throws: ComputeError.self) { try await extractor.trace(of: sample) }
  }
}
