import CatenaAutodiff
import CatenaCompute
import CatenaGraph
import CatenaTensors
import Foundation

/// Optimises the scores of R regions at once and hands out snapshots of them.
///
/// An optimiser runs a network from which the units that a search has given up may have been cut; scores and snapshots
/// are always those of the whole network's units.
package final class ChainOptimizer: Sendable {
  /// The compiled step.
  package let executable: any Executable
  /// The step's inputs and outputs: its weights are the executable's, packed.
  package let step: ChainProgram
  /// The indices, in the whole network, of the units and blocks of the step.
  private let stage: (units: [Int], blocks: [Int])
  private let batches: RegionBatches

  /// What the plan holds.
  package var memoryPlan: MemoryPlan { executable.memoryPlan }

  /// Compiles the step and fills in everything that does not change.
  /// - Parameters:
  ///   - dense: the dense network's logits of every region's samples.
  ///   - keep: the fraction of units that each region's search heads for.
  package convenience init(
    network: ChainNetwork, regions: [Region], dense: [[[Float]]], keep: [Double], settings: ChainSettings,
    phase: ChainProgram.Phase = .soft, backend: any Backend, options: CompileOptions
  ) async throws {
    let batches = RegionBatches(network: network, regions: regions, dense: dense, settings: settings)
    let planned = try network.whole(forBatch: batches.samplesPerRun)
    try await self.init(
      stage: CompactNetwork(whole: planned), phase: phase, batches: batches,
      state: OptimizerState(network: planned, keep: keep, settings: settings), settings: settings, backend: backend,
      options: options)
  }

  /// Compiles the step of what is left of a network, to go on from a state. Where every step reads the same samples, what
  /// lies before the first gates is computed once.
  package init(
    stage: CompactNetwork, phase: ChainProgram.Phase = .soft, batches: RegionBatches, state: OptimizerState,
    settings: ChainSettings, backend: any Backend, options: CompileOptions
  ) async throws {
    self.stage = (stage.units, stage.blocks)
    self.batches = batches
    var step = try ChainProgram(
      network: stage.network, regions: batches.regionCount, settings: settings, phase: phase,
      allUnits: state.unitCount)
    let constant = batches.isConstant ? batches.batches(ofStep: 0)[0] : nil
    var read: ValueMap = constant.map { [step.samples: $0.samples] } ?? [:]
    if let constant, let stem = step.takeStem() {
      let outputs = try await Self.outputs(of: stem, for: constant.samples, backend: backend, options: options)
      read = read.merging(outputs) { $1 }
    }
    let inputs = ValueSet(step.program.graph.inputs)
    executable = try await backend.compile(step.program, options: options)
    self.step = step.interface()
    try await write(state)
    if let constant {
      try await write(constant, read: read.filter { inputs.contains($0.key) })
      try await executable.write(Tensor(scalar: Float(1)), to: step.commit)
      if let judged = step.judged { try await executable.write(Tensor(scalar: Float(1)), to: judged) }
    }
  }

  /// What a stem computes from samples. Its program is given back before that of the step is made.
  private static func outputs(
    of stem: Graph, for samples: Tensor, backend: any Backend, options: CompileOptions
  ) async throws -> ValueMap<Tensor> {
    let executable = try await backend.compile(Program(stem), options: options)
    try await executable.write(samples, to: stem.inputs[0])
    try await executable.run(steps: 1)
    var outputs: ValueMap<Tensor> = [:]
    for output in stem.outputs { outputs[output] = try await executable.read(output) }
    return outputs
  }

  private func write(_ state: OptimizerState) async throws {
    for (input, value) in step.initialState { try await executable.write(value, to: input) }
    let count = batches.regionCount
    try await executable.write(Tensor([Float](repeating: 1, count: count), shape: [count, 1]), to: step.active)
    try await executable.write(Tensor(state.keep.map { Float(log($0)) }, shape: [count, 1]), to: step.logKeep)
    for (input, rows) in zip(step.unitState, state.units) {
      try await executable.write(rows.tensor(ofColumns: stage.units), to: input)
    }
    for (input, rows) in zip(step.blockState, state.blocks) {
      try await executable.write(rows.tensor(ofColumns: stage.blocks), to: input)
    }
    for (input, value) in zip(step.clockState, state.clock) { try await executable.write(value, to: input) }
  }

  /// Everything that is carried from step to step; what `state` says of units that are no longer there stays.
  package func advanced(_ state: OptimizerState) async throws -> OptimizerState {
    var state = state
    for (index, input) in step.unitState.enumerated() {
      state.units[index].replaceColumns(stage.units, by: try await executable.read(input).rowsOfFloats())
    }
    for (index, input) in step.blockState.enumerated() {
      state.blocks[index].replaceColumns(stage.blocks, by: try await executable.read(input).rowsOfFloats())
    }
    state.clock = []
    for input in step.clockState { state.clock.append(try await executable.read(input)) }
    return state
  }

  /// - Parameter read: what the step reads of the batch's samples.
  private func write(_ batch: RegionBatches.Batch, read: ValueMap<Tensor>) async throws {
    for (input, value) in read { try await executable.write(value, to: input) }
    try await executable.write(batch.target, to: step.target)
    try await executable.write(batch.weights, to: step.sampleWeights)
  }

  /// Makes `count` optimisation steps.
  /// - Parameter done: The number of steps made so far, on which the samples of a step depend.
  package func advance(by count: Int, after done: Int = 0) async throws {
    if batches.isConstant { return try await executable.run(steps: count) }
    for index in done..<(done + count) {
      let parts = batches.batches(ofStep: index)
      if let judged = step.judged {
        try await executable.write(Tensor(scalar: Float(batches.readsRegions(inStep: index) ? 1 : 0)), to: judged)
      }
      for (position, batch) in parts.enumerated() {
        try await write(batch, read: [step.samples: batch.samples])
        try await executable.write(Tensor(scalar: Float(position == parts.count - 1 ? 1 : 0)), to: step.commit)
        try await executable.run(steps: 1)
      }
    }
  }

  /// The gates of every region in the last step.
  package func snapshots(atStep count: Int) async throws -> [ScoreSnapshot] {
    try await snapshots(ofUnits: executable.read(step.unitGates).rowsOfFloats(), atStep: count)
  }

  /// The gates of every region that a chain is to be made of: in the straight phase those of its best step, where one was
  /// within the budget; else those of the last step.
  package func bestSnapshots(atStep count: Int) async throws -> [ScoreSnapshot] {
    var units = try await executable.read(step.unitGates).rowsOfFloats()
    if let bestGates = step.bestGates {
      let best = try await executable.read(bestGates).rowsOfFloats()
      units = zip(best, units).map { best, last in best.contains { $0 > 0 } ? best : last }
    }
    return try await snapshots(ofUnits: units, atStep: count)
  }

  /// The loss of each region's best step in the straight phase, `missPenalty` for each part of its samples with another
  /// class in it; `nil` before that phase.
  package func lowestLosses() async throws -> [Float]? {
    guard let lowest = step.lowestLoss else { return nil }
    return try await executable.read(lowest).floats
  }

  private func snapshots(ofUnits units: [[Float]], atStep count: Int) async throws -> [ScoreSnapshot] {
    var blocks = [[Float]](repeating: [], count: batches.regionCount)
    if let blockGates = step.blockGates { blocks = try await executable.read(blockGates).rowsOfFloats() }
    return zip(units, blocks).map { units, blocks in
      let cut = ScoreSnapshot.gateOfCutUnits
      return ScoreSnapshot(
        step: count,
        unitGates: units.map { max($0, cut) }.scattered(to: stage.units, count: batches.unitCount, elsewhere: cut),
        blockGates: blocks.scattered(to: stage.blocks, count: batches.blockCount, elsewhere: 0),
        isBinary: step.phase == .straight)
    }
  }

  /// The divergence and the soft size of every region after the last step.
  package func state() async throws -> [(divergence: Double, size: Double)] {
    let divergence = try await executable.read(step.divergence).floats
    let size = try await executable.read(step.size).floats
    return zip(divergence, size).map { (Double($0), Double($1)) }
  }
}

/// What a search carries from step to step, of all units of the whole network.
package struct OptimizerState: Sendable {
  /// Scores and Adam's moments of the units, region by region.
  package var units: [[[Float]]]
  /// The same of the blocks.
  var blocks: [[[Float]]]
  /// Step, offset and temperature; empty before the first step.
  package var clock: [Tensor] = []
  /// The fraction of units that each region's search heads for.
  var keep: [Double]

  /// The number of units of the whole network.
  var unitCount: Int { units[0][0].count }

  /// Before the first step. A region's scores do not depend on the other ones, so that it gives the same chain alone and
  /// among others.
  /// - Parameter sensitivities: of the units, region by region: scores begin in their order. `nil` for scores that begin
  ///   alike, but for noise.
  package init(
    network: ChainNetwork, keep: [Double], settings: ChainSettings, sensitivities: [[Double]]? = nil
  ) {
    self.keep = keep
    var generator = SeededGenerator(seed: settings.seed)
    let noise = (0..<network.sites.unitCount).map { _ in settings.initialNoise * Float(generator.normal()) }
    func rows(_ row: [Float]) -> [[Float]] { [[Float]](repeating: row, count: keep.count) }
    let zeros = rows([Float](repeating: 0, count: noise.count))
    units = [rows(noise), zeros, zeros]
    let blockCount = network.sites.blocks.count
    let blockZeros = rows([Float](repeating: 0, count: blockCount))
    blocks = [rows([Float](repeating: settings.initialBlockScore, count: blockCount)), blockZeros, blockZeros]
    guard let sensitivities else { return }
    let temperature = settings.firstTemperature
    for (region, row) in sensitivities.enumerated() {
      let spread = Self.quantiles(inOrderOf: row).map { Float($0) * settings.initialSpread * temperature }
      units[0][region] = zip(spread, noise).map { $0 + $1 }
    }
    let offsets = zip(units[0], keep).map { scores, keep in
      Self.offset(of: scores, temperature: temperature, size: settings.firstSize(towards: keep))
    }
    clock = [
      Tensor(scalar: Float(0)), Tensor(offsets, shape: [keep.count, 1]),
      Tensor([Float](repeating: temperature, count: keep.count), shape: [keep.count, 1]),
    ]
  }

  /// The gates of a first step whose scores begin in an order, with all branches; `nil` where they begin alike.
  var firstSnapshots: [ScoreSnapshot]? {
    guard clock.count == 3 else { return nil }
    let (offsets, temperatures) = (clock[1].floats, clock[2].floats)
    return units[0].indices.map { region in
      ScoreSnapshot(
        step: 0, unitGates: units[0][region].map { 1 / (1 + exp((offsets[region] - $0) / temperatures[region])) },
        blockGates: blocks[0][region].map { _ in 1 })
    }
  }

  /// Quantiles of the logistic distribution, in the order of `values`.
  private static func quantiles(inOrderOf values: [Double]) -> [Double] {
    let order = values.indices.sorted { values[$0] == values[$1] ? $0 > $1 : values[$0] < values[$1] }
    var result = [Double](repeating: 0, count: values.count)
    for (rank, index) in order.enumerated() {
      let part = (Double(rank) + 0.5) / Double(values.count)
      result[index] = log(part / (1 - part))
    }
    return result
  }

  /// The offset at which sigmoid((score - offset) / temperature) has the mean `size`.
  private static func offset(of scores: [Float], temperature: Float, size: Float) -> Float {
    let reach = 100 * temperature
    var (low, high) = ((scores.min() ?? 0) - reach, (scores.max() ?? 0) + reach)
    for _ in 0..<40 {
      let middle = (low + high) / 2
      let mean = scores.reduce(0) { $0 + 1 / (1 + exp((middle - $1) / temperature)) } / Float(scores.count)
      if mean > size { low = middle } else { high = middle }
    }
    return (low + high) / 2
  }

  /// Adds noise to the units' scores, the same for every region.
  mutating func disturb(by noise: Float, seed: UInt64) {
    let row = noiseOfUnits(noise, seed: seed)
    for region in units[0].indices { units[0][region] = zip(units[0][region], row).map { $0 + $1 } }
  }

  /// The same in temperatures.
  /// - Precondition: Steps were made.
  mutating func disturb(byTemperatures noise: Float, seed: UInt64) {
    precondition(clock.count == 3, "a state before the first step has no temperature")
    let row = noiseOfUnits(noise, seed: seed)
    for (region, temperature) in clock[2].floats.enumerated() {
      for unit in row.indices { units[0][region][unit] += temperature * row[unit] }
    }
  }

  /// Goes back to a step, with Adam at rest.
  mutating func restart(atStep step: Int) {
    clock[0] = Tensor(scalar: Float(step))
    let rest = [Float](repeating: 0, count: unitCount)
    for region in units[0].indices { (units[1][region], units[2][region]) = (rest, rest) }
  }

  private func noiseOfUnits(_ deviation: Float, seed: UInt64) -> [Float] {
    var generator = SeededGenerator(seed: seed)
    return (0..<unitCount).map { _ in deviation * Float(generator.normal()) }
  }

  /// Makes a region's part of another state its own.
  mutating func take(_ region: Int, from other: OptimizerState) {
    for index in units.indices { units[index][region] = other.units[index][region] }
    for index in blocks.indices { blocks[index][region] = other.blocks[index][region] }
    for index in clock.indices where clock[index].shape.rank > 0 {
      var rows = clock[index].floats
      rows[region] = other.clock[index].floats[region]
      clock[index] = Tensor(rows, shape: clock[index].shape)
    }
  }

  /// Units that have been cut out of the network stay out: a channel that had to stay although it is dead is zero there,
  /// whatever its gate, and a search that could open it would see a unit that costs and changes nothing.
  package mutating func giveUp(unitsOutside kept: [Bool]) {
    for region in units[0].indices {
      for unit in kept.indices where !kept[unit] { units[0][region][unit] = -1000 }
    }
  }
}

extension [[Float]] {
  /// Some columns of a table.
  fileprivate func tensor(ofColumns columns: [Int]) -> Tensor {
    Tensor(flatMap { row in columns.map { row[$0] } }, shape: [count, columns.count])
  }

  fileprivate mutating func replaceColumns(_ columns: [Int], by rows: [[Float]]) {
    for (index, row) in rows.enumerated() {
      for (column, value) in zip(columns, row) { self[index][column] = value }
    }
  }
}

extension [Float] {
  /// `count` numbers: these at `indices`, another elsewhere.
  fileprivate func scattered(to indices: [Int], count: Int, elsewhere: Float) -> [Float] {
    var result = [Float](repeating: elsewhere, count: count)
    for (index, value) in zip(indices, self) { result[index] = value }
    return result
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
