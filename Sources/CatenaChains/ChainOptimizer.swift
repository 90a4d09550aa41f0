import CatenaAutodiff
import CatenaCompute
import CatenaGraph
import CatenaTensors
import Foundation

/// Optimises the scores of R regions at once and hands out snapshots of them.
package final class ChainOptimizer: Sendable {
  /// The compiled step.
  package let executable: any Executable
  /// The step.
  package let step: ChainProgram
  private let chunks: [Chunk]
  private let regionCount: Int
  private let settings: ChainSettings

  /// What the plan holds.
  package var memoryPlan: MemoryPlan { executable.memoryPlan }

  /// What one run reads: part of every region.
  private struct Chunk: Sendable {
    let samples: Tensor
    let target: Tensor
    let weights: Tensor
  }

  /// Compiles the step and fills in everything that does not change.
  /// - Parameters:
  ///   - dense: the dense network's logits of every region's samples.
  ///   - keep: the fraction of units that each region's search heads for.
  package init(
    network: ChainNetwork, regions: [Region], dense: [[[Float]]], keep: [Double], settings: ChainSettings,
    backend: any Backend, options: CompileOptions
  ) async throws {
    self.settings = settings
    regionCount = regions.count
    let perRegion = Self.samplesPerRun(network: network, regions: regions, settings: settings)
    let planned = try ChainNetwork(model: network.model, batch: perRegion * regions.count)
    step = try ChainProgram(network: planned, regions: regions.count, settings: settings)
    chunks = Self.chunks(of: regions, dense: dense, perRegion: perRegion)
    executable = try await backend.compile(step.program, options: options)
    try await reset(keep: keep)
  }

  /// The samples of each region in one run: the planned batch shared out, but no more than the largest region has.
  private static func samplesPerRun(network: ChainNetwork, regions: [Region], settings: ChainSettings) -> Int {
    if let fixed = network.model.fixedBatch { return max(fixed / regions.count, 1) }
    let largest = regions.map(\.count).max() ?? 1
    return max(1, min(largest, settings.batch / regions.count))
  }

  private static func chunks(of regions: [Region], dense: [[[Float]]], perRegion: Int) -> [Chunk] {
    let largest = regions.map(\.count).max() ?? 0
    return Batches(size: perRegion, count: largest).ranges.map { range in
      var samples: [Tensor] = []
      var target: [Float] = []
      var weights: [Float] = []
      for (region, logits) in zip(regions, dense) {
        let clamped = min(range.lowerBound, region.count - 1)..<min(max(range.upperBound, 1), region.count)
        let real = range.lowerBound < region.count ? clamped.count : 0
        let rows = real > 0 ? clamped : (region.count - 1)..<region.count
        samples.append(region.samples.rows(rows, filledTo: perRegion))
        for index in 0..<perRegion {
          target += logProbabilities(logits[min(rows.lowerBound + index, rows.upperBound - 1)]).map(Float.init)
          weights.append(index < real ? 1 / Float(region.count) : 0)
        }
      }
      let rowCount = perRegion * regions.count
      return Chunk(
        samples: Tensor.concatenatingRows(samples),
        target: Tensor(target, shape: [rowCount, target.count / rowCount]), weights: Tensor(weights, shape: [rowCount]))
    }
  }

  private func reset(keep: [Double]) async throws {
    for (input, value) in step.initialState { try await executable.write(value, to: input) }
    try await executable.write(
      Tensor([Float](repeating: 1, count: regionCount), shape: [regionCount, 1]), to: step.active)
    try await executable.write(
      Tensor(keep.map { Float(log($0)) }, shape: [regionCount, 1]), to: step.logKeep)
    let shape = step.program.graph.shape(step.scores)
    // Every region starts from the same scores, so that it gives the same chain alone and among others.
    var generator = SeededGenerator(seed: settings.seed)
    let row = (0..<shape[1]).map { _ in
      settings.initialNoise * Float(generator.normal())
    }
    let scores = Array(repeatElement(row, count: regionCount).joined())
    try await executable.write(Tensor(scores, shape: shape), to: step.scores)
    if let blockScores = step.blockScores {
      let shape = step.program.graph.shape(blockScores)
      try await executable.write(
        Tensor([Float](repeating: settings.initialBlockScore, count: shape.elementCount), shape: shape), to: blockScores
      )
    }
    if chunks.count == 1 {
      try await write(chunks[0])
      try await executable.write(Tensor(scalar: Float(1)), to: step.commit)
    }
  }

  private func write(_ chunk: Chunk) async throws {
    try await executable.write(chunk.samples, to: step.samples)
    try await executable.write(chunk.target, to: step.target)
    try await executable.write(chunk.weights, to: step.sampleWeights)
  }

  /// Makes `count` optimisation steps.
  package func advance(by count: Int) async throws {
    if chunks.count == 1 { return try await executable.run(steps: count) }
    for _ in 0..<count {
      for (index, chunk) in chunks.enumerated() {
        try await write(chunk)
        try await executable.write(Tensor(scalar: Float(index == chunks.count - 1 ? 1 : 0)), to: step.commit)
        try await executable.run(steps: 1)
      }
    }
  }

  /// The gates of every region in the last step.
  package func snapshots(atStep count: Int) async throws -> [ScoreSnapshot] {
    let units = try await executable.read(step.unitGates).rowsOfFloats()
    var blocks = [[Float]](repeating: [], count: regionCount)
    if let blockGates = step.blockGates { blocks = try await executable.read(blockGates).rowsOfFloats() }
    return zip(units, blocks).map { ScoreSnapshot(step: count, unitGates: $0, blockGates: $1) }
  }

  /// The divergence and the soft size of every region after the last step.
  package func state() async throws -> [(divergence: Double, size: Double)] {
    let divergence = try await executable.read(step.divergence).floats
    let size = try await executable.read(step.size).floats
    return zip(divergence, size).map { (Double($0), Double($1)) }
  }
}

extension SeededGenerator {
  /// A number from the standard normal distribution (Box and Muller).
  mutating func normal() -> Double {
    let radius = (-2 * log(1 - uniform())).squareRoot()
    return radius * cos(2 * Double.pi * uniform())
  }
}

extension Tensor {
  /// Tensors that differ only in their first extent, one after the other.
  package static func concatenatingRows(_ parts: [Tensor]) -> Tensor {
    var shape = parts[0].shape
    shape[0] = parts.reduce(0) { $0 + $1.shape[0] }
    return Tensor(elementType: parts[0].elementType, shape: shape) { target in
      var offset = 0
      for part in parts {
        part.withUnsafeBytes { source in
          UnsafeMutableRawBufferPointer(rebasing: target[offset..<(offset + source.count)]).copyMemory(from: source)
        }
        offset += part.byteCount
      }
    }
  }
}
