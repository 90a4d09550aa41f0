import CatenaCPU
import CatenaCompute
import CatenaFormats
import CatenaTensors
import CatenaTraces
import Foundation
import TestSupport
import Testing

@Suite("Tuned ratios")
struct RatioTunerTests {
  private static let samples: [TraceSample] = {
    (0..<3).map { picture in
      var generator = SeededGenerator(seed: UInt64(picture))
      let pixels = (0..<32 * 32 * 3).map { place in
        UInt8(min(255, Int(generator.uniform() * 60) + (place / 96 + 40 * picture) % 190))
      }
      return TraceSample(name: "picture \(picture)", image: Image(width: 32, height: 32, pixels: pixels))
    }
  }()

  private static func tuner(_ change: (inout TuningSettings) -> Void = { _ in }) throws -> RatioTuner {
    let model = try ONNXModel(contentsOf: Assets.samples.appending(path: "models/mlperf_tiny_resnet8.onnx").path)
    var settings = TraceSettings()
    (settings.augmentations, settings.batch, settings.checkedAugmentations) = (24, 8, 8)
    var tuning = TuningSettings()
    (tuning.candidates, tuning.probes) = ([0.3, 0.6, 0.9], 2)
    (tuning.depths, tuning.moves) = (2, 1)
    tuning.limits = [0.001, 0.01, 0.1, 1, 10]
    change(&tuning)
    return try RatioTuner(
      network: TraceNetwork(model: model, batch: 8), backend: CPUBackend(), solvers: CPUSolverBackend(),
      preprocessing: Preprocessing(divisor: 1), settings: settings, tuning: tuning)
  }

  @Test("are what one limit for every layer's divergence allows, and keep what was asked for")
  func search() async throws {
    let tuner = try Self.tuner { ($0.kept, $0.agreement, $0.depths) = (1, 0.5, 1) }
    var records: [TuningRecord] = []
    let found = try await tuner.ratios(for: Self.samples, checkpoint: { records.append($0) })
    #expect(records.map { $0.divergences.count } == [1, 2, 2, 2, 2])
    #expect(records.map { $0.rounds.first?.count ?? 0 } == [0, 0, 1, 2, 3])
    let record = try #require(records.last)
    for level in found.levels {
      for (index, layer) in tuner.extractor.network.layers.enumerated() {
        let lists = record.divergences.map { $0[index] }
        let ratio = level.ratios[layer.name] ?? 0
        for (place, candidate) in tuner.tuning.candidates.enumerated() where candidate <= ratio {
          #expect(lists.reduce(0) { $0 + $1[place] } / 2 <= level.limits[0])
        }
      }
    }
    #expect(
      zip(found.levels, found.levels.dropFirst()).allSatisfy {
        $0.sparsity < $1.sparsity && $0.limits[0] < $1.limits[0]
      })
    #expect(found.isMet && found.chosen.kept == 1 && found.chosen.agreement >= 0.5)
    // A trace with these ratios keeps what the search says of it.
    let place = try #require(found.levels.firstIndex(of: found.chosen))
    let extractor = try TraceExtractor(
      network: tuner.extractor.network, backend: CPUBackend(), solvers: CPUSolverBackend(),
      preprocessing: tuner.extractor.preprocessing, ratios: .perLayer(found.chosen.ratios),
      settings: tuner.extractor.settings)
    for (sample, trials) in zip(Self.samples, try #require(record.rounds.first)) {
      let fidelity = try await extractor.trace(of: sample).fidelity
      #expect(fidelity.keepsPrediction == trials[0][place].keepsPrediction)
      #expect(fidelity.agreement == trials[0][place].agreement)
    }
  }

  @Test("are the same after an interruption, and a record of something else is not used")
  func resumed() async throws {
    let tuner = try Self.tuner()
    var records: [TuningRecord] = []
    let found = try await tuner.ratios(for: Self.samples, checkpoint: { records.append($0) })
    var again: [TuningRecord] = []
    let resumed = try await tuner.ratios(for: Self.samples, resuming: records[2], checkpoint: { again.append($0) })
    #expect(resumed == found)
    #expect(again == Array(records[3...]))
    // In every round, and with nothing left to do.
    for place in Set(records.map(\.rounds.count).map { count in records.lastIndex { $0.rounds.count == count } ?? 0 }) {
      #expect(try await tuner.ratios(for: Self.samples, resuming: records[place]) == found)
    }
    let key = try tuner.emptyRecord(for: Self.samples).key
    #expect(key == records[0].key)
    #expect(try tuner.emptyRecord(for: Self.samples.dropLast()).key != key)
    #expect(try Self.tuner { $0.kept = 0.5 }.emptyRecord(for: Self.samples).key != key)
  }

  @Test("by depth are what each group's limit allows, and remove no less than one limit for all")
  func byDepth() async throws {
    let tuner = try Self.tuner { ($0.kept, $0.agreement, $0.depths, $0.moves) = (1, 0.5, 3, 2) }
    var last: TuningRecord?
    let found = try await tuner.ratios(for: Self.samples, checkpoint: { last = $0 })
    let record = try #require(last)
    let network = tuner.extractor.network
    let (groups, count) = network.depthGroups(atMost: 3)
    #expect(count == 3 && groups == groups.sorted() && Set(groups) == [0, 1, 2])
    for level in found.levels {
      #expect(level.limits.count == 3)
      for (index, layer) in network.layers.enumerated() {
        let lists = record.divergences.map { $0[index] }
        let places = tuner.tuning.candidates.indices.prefix { place in
          lists.allSatisfy { $0.indices.contains(place) }
            && lists.reduce(0) { $0 + $1[place] } / Double(lists.count) <= level.limits[groups[index]]
        }
        #expect(level.ratios[layer.name] == places.last.map { tuner.tuning.candidates[$0] })
      }
    }
    #expect(Set(found.levels.map(\.ratios)).count == found.levels.count, "nothing is tried twice")
    let uniform = found.levels.filter { Set($0.limits).count == 1 && $0.kept >= 1 && $0.agreement >= 0.5 }
    #expect(found.isMet && found.chosen.kept == 1 && found.chosen.agreement >= 0.5)
    #expect(found.chosen.sparsity >= uniform.map(\.sparsity).max() ?? 0)
    #expect(found.levels.count > uniform.count && found.levels.contains { Set($0.limits).count > 1 })
    let alone = try await Self.tuner { ($0.kept, $0.agreement, $0.depths, $0.moves) = (1, 0.5, 1, 2) }
      .ratios(for: Self.samples)
    #expect(alone.levels.map(\.ratios) == found.levels.prefix(alone.levels.count).map(\.ratios))
  }

  @Test("have the highest score of all that keep enough")
  func scored() async throws {
    let settings = try Self.tuner { ($0.kept, $0.agreement, $0.depths) = (0.5, 0.3, 3) }
    let layers = settings.extractor.network.layers
    // High where the last layers lose what the first keep.
    let score = TuningScore(name: "late") { sample, graph, target in
      func kept(_ layer: TraceLayer) -> Double {
        let matrix = graph.constants.values.filter { $0.elementCount == layer.connections }
        return matrix.map { Double($0.floats.count { $0 != 0 }) }.min() ?? 0
      }
      return kept(layers[0]) / Double(layers[0].connections)
        - kept(layers[layers.count - 1]) / Double(layers[layers.count - 1].connections)
    }
    let tuner = try RatioTuner(
      network: settings.extractor.network, backend: CPUBackend(), solvers: CPUSolverBackend(),
      preprocessing: settings.extractor.preprocessing, settings: settings.extractor.settings,
      tuning: settings.tuning, score: score)
    let found = try await tuner.ratios(for: Self.samples)
    let met = found.levels.filter { $0.kept >= 0.5 && $0.agreement >= 0.3 }
    #expect(found.isMet && found.chosen.score == met.compactMap(\.score).max())
    #expect(found.chosen.ratios[layers[0].name] == nil, "the first layers stay dense")
    #expect(try tuner.emptyRecord(for: Self.samples).key != settings.emptyRecord(for: Self.samples).key)
  }

  @Test("that cannot keep enough are the best there are, and say so")
  func notMet() async throws {
    let tuner = try Self.tuner { ($0.limits, $0.agreement, $0.depths) = ([20], 1, 1) }
    let found = try await tuner.ratios(for: Self.samples)
    #expect(!found.isMet && found.levels.count == 1 && found.chosen == found.levels[0])
  }

  @Test("stop when the task is cancelled")
  func cancelled() async throws {
    let tuner = try Self.tuner()
    let task = Task { try await tuner.ratios(for: Self.samples) }
    task.cancel()
    await #expect(throws: (any Error).self) { try await task.value }
  }

  @Test("measure divergence as its formula says")
  func divergence() {
    // p = (3/4, 1/4), q = (1/2, 1/2).
    let expected = 0.75 * log(1.5) + 0.25 * log(0.5)
    #expect(abs(meanDivergence([[Float(log(3.0)), 0]], [[1, 1]]) - expected) < 1e-6)
    #expect(meanDivergence([[5, 1], [0, 0]], [[7, 3], [1, 1]]) < 1e-12)
  }
}
