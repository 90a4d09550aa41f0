import CatenaCPU
import CatenaChains
import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors
import Synchronization
import TestSupport
import Testing

/// The processor, with memory for so many samples per run only.
private final class SmallBackend: Backend {
  let device: DeviceDescription
  private let processor = CPUBackend()
  private let limit: Int
  private let refused = Mutex<[Int]>([])

  init(limit: Int) {
    self.limit = limit
    device = processor.device
  }

  /// The batches that did not fit, in order.
  var refusals: [Int] { refused.withLock { $0 } }

  func compile(_ program: Program, options: CompileOptions) async throws(ComputeError) -> any Executable {
    let graph = program.graph
    let batch = graph.inputs.map { graph.shape($0) }.filter { $0.rank == 4 }.map { $0[0] }.max() ?? 0
    guard batch <= limit else {
      refused.withLock { $0.append(batch) }
      throw .outOfMemory(requested: batch, available: limit, device: "small")
    }
    return try await processor.compile(program, options: options)
  }
}

@Suite("Too little memory")
struct SmallerBatchTests {
  private static func example() throws -> (ChainNetwork, Region, ChainSettings) {
    let path = Assets.repository.appending(path: "Tools/samples/models/mlperf_tiny_resnet8.onnx").path
    let model = try ONNXModel(contentsOf: path)
    var settings = ChainSettings()
    settings.steps = 3
    settings.curvePoints = 2
    settings.batch = 8
    let network = try ChainNetwork(model: model, batch: 8)
    let shape = network.graph.shape(network.graph.inputs[0])
    var generator = SeededGenerator(seed: 1)
    let samples = Tensor((0..<shape.elementCount).map { _ in Float(generator.uniform() * 255) }, shape: shape)
    let region = try Region(name: "r", samples: samples, sampleNames: (0..<8).map { "\($0)" })
    return (network, region, settings)
  }

  @Test func extractionGoesOnWithHalfTheSamples() async throws {
    let (network, region, settings) = try Self.example()
    let backend = SmallBackend(limit: 3)
    let results = try await ChainExtractor(network: network, backend: backend, settings: settings)
      .chains(for: [region], request: .keep(fraction: 0.5))
    #expect(backend.refusals == [8, 4, 8, 4])
    #expect(results[0].settings.batch == 2)
    let plain = try await ChainExtractor(network: network, backend: CPUBackend(), settings: settings)
      .chains(for: [region], request: .keep(fraction: 0.5))
    #expect(plain[0].settings.batch == 8)
    for (found, expected) in zip(results[0].denseLogits.joined(), plain[0].denseLogits.joined()) {
      #expect(abs(found - expected) < 1e-3 * max(1, abs(expected)))
    }
  }

  /// Programs have parts of the limit; the error has the whole limit, and one that is large enough for the program that
  /// had none left.
  @Test(arguments: [1, 2])
  func theErrorHasTheWholeLimitAndOneThatIsEnough(regions count: Int) async throws {
    let (network, region, settings) = try Self.example()
    let backend = CPUBackend(threads: 2)
    var limit = 10_000
    var errors = 0
    while errors < 4 {
      do {
        let extractor = ChainExtractor(
          network: network, backend: backend, settings: settings, options: CompileOptions(memoryLimit: limit))
        let regions = [Region](repeating: region, count: count)
        #expect(try await extractor.chains(for: regions, request: .keep(fraction: 0.5)).count == count)
        break
      } catch ComputeError.outOfMemory(let requested, let available, _) {
        #expect(available == limit && requested > limit)
        errors += 1
        limit = requested
      }
    }
    // The evaluator's, and then the step's.
    #expect((1...3).contains(errors))
  }

  @Test func theErrorComesWhenASingleSampleDoesNotFit() async throws {
    await #expect(throws: ComputeError.self) {
      try await halvingBatches(from: 12, downTo: 1) { batch in
        throw ComputeError.outOfMemory(requested: batch, available: 0, device: "none")
      }
    }
    let (result, batch) = try await halvingBatches(from: 12, downTo: 5) { batch in
      if batch > 5 { throw ComputeError.outOfMemory(requested: batch, available: 0, device: "none") }
      return batch * 2
    }
    #expect(result == 10 && batch == 5)
  }
}
