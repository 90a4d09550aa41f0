import CatenaAutodiff
import CatenaChains
import CatenaFormats
import CatenaGraph
import CatenaReference
import CatenaTensors
import Foundation
import Testing

/// The optimisation step as its formulas say it, in double: the divergence's gradient by central differences of the
/// reference's forward pass, everything else by loops.
struct LiteralStep {
  /// What one region carries from step to step.
  struct State {
    var units: [Double]
    var blocks: [Double]
    var offset: Double
    var temperature: Double
    /// Adam's moments of the units' scores, then of the blocks'.
    var first: [Double]
    var second: [Double]
  }

  let settings: ChainSettings
  let phase: ChainProgram.Phase
  let keep: [Double]
  private(set) var states: [State]
  private(set) var steps = 0
  /// Divergence and size of every region in the last step.
  private(set) var divergences: [Double] = []
  private(set) var sizes: [Double] = []

  private let gated: GatedGraph
  /// What lies behind the first gates, and what it reads: that is kept from step to step in single precision.
  private let body: Graph
  private let read: ValueMap<Tensor>
  private let dense: [[Double]]
  /// The block of every unit.
  private let blockOfUnit: [Int?]
  /// Per unit, the units of each layer of its branch and of those around it; every one of them is on the only path.
  private let companions: [[Range<Int>]]

  /// The step of a network whose batch holds as many samples of every region.
  init(
    network: ChainNetwork, samples: Tensor, keep: [Double], scores: [Scores], settings: ChainSettings,
    phase: ChainProgram.Phase = .soft
  ) throws {
    self.settings = settings
    self.phase = phase
    self.keep = keep
    gated = try network.graph.gated(network.sites, regions: keep.count, parametrization: .identity)
    let input = gated.graph.inputs[0]
    let (stem, body) = try #require(gated.graph.splitting(offWhatDependsOn: input))
    self.body = body
    read = try Reference.run(stem, inputs: [input: samples], precision: .double).mapValues {
      Tensor($0.doubles.map(Float.init), shape: $0.shape)
    }
    blockOfUnit = network.sites.layers.flatMap { [Int?](repeating: $0.block, count: $0.count) }
    let (sites, offsets) = (network.sites, network.sites.unitOffsets)
    companions = blockOfUnit.map { block in
      guard let block else { return [] }
      let around = sites.blocks.indices.filter {
        $0 == block || sites.blocks[$0].nodes.contains(sites.blocks[block].add)
      }
      return sites.layers.indices.filter { sites.layers[$0].block.map(around.contains) ?? false }
        .map { offsets[$0]..<(offsets[$0] + sites.layers[$0].count) }
    }
    let output = network.graph.outputs[0]
    let logits = try Reference.run(
      network.graph, inputs: [network.graph.inputs[0]: samples], precision: .double)[output]
    dense = Self.logSoftmax(rows: logits)
    let first = Double(settings.firstSize)
    states = scores.map { scores in
      let count = scores.units.count + scores.blocks.count
      return State(
        units: scores.units.map(Double.init), blocks: scores.blocks.map(Double.init),
        offset: -Double(settings.firstTemperature) * log(first / (1 - first)),
        temperature: Double(settings.firstTemperature), first: [Double](repeating: 0, count: count),
        second: [Double](repeating: 0, count: count))
    }
  }

  private func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

  /// S and alpha of a region.
  private func gates(_ state: State) -> (units: [Double], blocks: [Double]) {
    let soft = state.units.map { sigmoid(($0 - state.offset) / state.temperature) }
    let settled = state.blocks.map { $0 >= 0 ? 1.0 : 0 }
    switch phase {
    case .soft: return (soft, state.blocks.map { sigmoid($0 / blockTemperature(state)) })
    case .settled: return (soft, settled)
    case .straight: return (scoresInBranches(state.units).map { $0 >= state.offset ? 1 : 0 }, settled)
    }
  }

  /// The scores, no higher than the best one of any layer that the unit needs.
  private func scoresInBranches(_ scores: [Double]) -> [Double] {
    zip(scores, companions).map { score, layers in
      layers.map { layer in layer.map { scores[$0] }.max() ?? score }.reduce(score, min)
    }
  }

  /// Whether each unit's branch has units in all layers that it needs.
  private func carries(_ state: State) -> [Bool] {
    companions.map { layers in layers.allSatisfy { layer in layer.contains { state.units[$0] >= state.offset } } }
  }

  private func blockTemperature(_ state: State) -> Double {
    state.temperature * state.temperature / Double(settings.firstTemperature)
  }

  /// One step of every region.
  mutating func advance() throws {
    let all = states.map(gates)
    let units = all.map(\.units)
    let blocks = all.map(\.blocks)
    divergences = try divergence(units, blocks)
    let unitGradients = try gradients(of: units) { try divergence($0, blocks) }
    let blockGradients = try gradients(of: blocks) { try divergence(units, $0) }
    sizes = []
    for region in states.indices {
      update(region, units[region], blocks[region], unitGradients[region], blockGradients[region])
    }
    steps += 1
  }

  private mutating func update(
    _ region: Int, _ gates: [Double], _ alphas: [Double], _ gradients: [Double], _ blockGradients: [Double]
  ) {
    var state = states[region]
    let temperature = state.temperature
    let alphaOfUnit = blockOfUnit.map { block in block.map { alphas[$0] } ?? 1 }
    let width = Double(settings.straightWidth)
    let slopes =
      switch phase {
      case .soft, .settled: gates.map { $0 * (1 - $0) / temperature }
      case .straight:
        state.units.map { sigmoid(($0 - state.offset) / width) }.map { $0 * (1 - $0) / width }
      }
    let costs =
      phase == .straight
      ? zip(alphaOfUnit, carries(state)).map { $1 ? $0 : 0 } : alphaOfUnit
    let reach = max(zip(costs, slopes).map(*).reduce(0, +), 1e-6)
    let multiplier = -zip(gradients, slopes).map(*).reduce(0, +) / reach

    var total: [Double] = []
    for unit in gates.indices { total.append((gradients[unit] + multiplier * costs[unit]) * slopes[unit]) }
    for block in alphas.indices {
      let members = gates.indices.filter { blockOfUnit[$0] == block }.map { gates[$0] }
      let slope = alphas[block] * (1 - alphas[block]) / blockTemperature(state)
      total.append((blockGradients[block] + multiplier * members.reduce(0, +)) * slope)
    }
    var scores = state.units + state.blocks
    let moving = phase == .soft ? scores.indices : gates.indices
    let rate: Double
    switch phase {
    case .soft, .settled: rate = (temperature / Double(settings.firstTemperature)).squareRoot()
    case .straight:
      let straight = (settings.straightPart * Double(settings.steps)).rounded(.down)
      rate = min(
        Double(settings.straightRate) * Double(settings.steps - steps) / straight, Double(settings.straightRate))
    }
    for index in moving {
      state.first[index] = 0.9 * state.first[index] + 0.1 * total[index]
      state.second[index] = 0.999 * state.second[index] + 0.001 * total[index] * total[index]
      let mean = state.first[index] / (1 - pow(0.9, Double(steps + 1)))
      let variance = state.second[index] / (1 - pow(0.999, Double(steps + 1)))
      var step = -mean / (variance.squareRoot() + 1e-8)
      if phase == .settled { step += binarising(gates[index]) }
      scores[index] += (index < gates.count ? rate : 1) * Double(settings.learningRate) * step
    }
    state.units = Array(scores.prefix(gates.count))
    state.blocks = Array(scores.dropFirst(gates.count))

    let size = zip(alphaOfUnit, gates).map(*).reduce(0, +) / Double(gates.count)
    sizes.append(size)
    let progress = min(Double(steps) / (settings.shrinkingEnd * Double(settings.steps)), 1)
    let ramp = 1 - pow(1 - progress, 3)
    let most = Double(settings.firstSize)
    let near = settings.draws > 0 ? min(most, max(5 * keep[region], most / 2)) : most
    let first = max(near, min(keep[region], 0.95))
    let aim = first * pow(keep[region] / first, ramp)
    switch phase {
    case .soft:
      let newton = Double(gates.count) * (size - aim) / reach
      let bound = Double(settings.firstTemperature) / 4
      state.offset += min(max(newton, -bound), bound)
    case .settled:
      var (low, high) = (state.offset - 1, state.offset + 1)
      for _ in 0..<60 {
        let middle = (low + high) / 2
        let mass = zip(alphaOfUnit, state.units).map { $0 * sigmoid(($1 - middle) / temperature) }.reduce(0, +)
        if mass > aim * Double(gates.count) + 0.01 { low = middle } else { high = middle }
      }
      state.offset = high
    case .straight:
      // Just above the largest score that the budget leaves out.
      let scores = scoresInBranches(state.units)
      let counted = scores.indices.filter { alphaOfUnit[$0] == 1 }.map { scores[$0] }.sorted(by: >)
      let count = Int(keep[region] * Double(gates.count) + 0.01)
      state.offset = counted[count] + 1e-6
    }
    let cooling = Double(settings.lastTemperature) / Double(settings.firstTemperature)
    state.temperature *= pow(cooling, 1 / (settings.coolingEnd * Double(settings.steps)).rounded(.down))
    state.temperature = max(state.temperature, Double(settings.lastTemperature))
    states[region] = state
  }

  /// What drives a gate to 0 or 1, in parts of Adam's largest step.
  private func binarising(_ gate: Double) -> Double {
    let begin = Int(settings.branchEnd * Double(settings.steps))
    let progress = Double(steps - begin) / Double(softSteps - begin)
    let rho = Double(settings.binarising) * pow(progress, 3)
    return rho * min(max(8 * (gate - 0.5), -1), 1) * 4 * gate * (1 - gate)
  }

  private var softSteps: Int { settings.steps - Int(settings.straightPart * Double(settings.steps)) }

  /// Central differences; all regions at once, since no region's divergence depends on another's gates.
  private func gradients(
    of gates: [[Double]], _ divergence: ([[Double]]) throws -> [Double]
  ) throws -> [[Double]] {
    let step = 1e-5
    var gradients = gates
    for index in gates[0].indices {
      let above = try divergence(gates.map { row in row.enumerated().map { $0 == index ? $1 + step : $1 } })
      let below = try divergence(gates.map { row in row.enumerated().map { $0 == index ? $1 - step : $1 } })
      for region in gates.indices { gradients[region][index] = (above[region] - below[region]) / (2 * step) }
    }
    return gradients
  }

  /// KL(p || p_gated), the mean over the samples of each region.
  private func divergence(_ units: [[Double]], _ blocks: [[Double]]) throws -> [Double] {
    func table(_ rows: [[Double]]) -> Tensor {
      Tensor(doubles: Array(rows.joined()), shape: [rows.count, rows[0].count], elementType: .float64)
    }
    var inputs = read
    inputs[gated.scores] = table(units)
    if let blockScores = gated.blockScores { inputs[blockScores] = table(blocks) }
    let output = body.outputs[0]
    let rows = Self.logSoftmax(
      rows: try Reference.run(body, inputs: inputs, precision: .double, values: [output])[output])
    let divergences = zip(dense, rows).map { p, q in zip(p, q).map { exp($0) * ($0 - $1) }.reduce(0, +) }
    let perRegion = divergences.count / keep.count
    return keep.indices.map { region in
      divergences[region * perRegion..<(region + 1) * perRegion].reduce(0, +) / Double(perRegion)
    }
  }

  private static func logSoftmax(rows logits: Tensor?) -> [[Double]] {
    guard let logits else { return [] }
    let width = logits.shape[1]
    return (0..<logits.shape[0]).map { row in
      let values = Array(logits.doubles[row * width..<(row + 1) * width])
      let logSum = log(values.map { exp($0) }.reduce(0, +))
      return values.map { $0 - logSum }
    }
  }
}
