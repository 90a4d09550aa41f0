import CatenaAutodiff
import CatenaCompute
import CatenaGraph
import CatenaTensors
import Foundation

/// One optimisation step of a chain as one program: forward, divergence from the dense network, gradients of the scores,
/// their projection onto the budget, Adam.
///
/// For R regions in equal, consecutive parts of the batch it minimises KL(p || p_gated) over unit scores a and block
/// scores c under the constraint that the chain has the size aimed at:
///
///     S = sigmoid((a - tau) / T),  alpha = sigmoid(c T0 / T^2),  mean of alpha S = aim(t)
///
/// The offset tau holds the constraint at every step, so that units compete and none has to be chosen a lambda for: the
/// multiplier of the constraint, lambda = -sum of g S' / sum of alpha S' (g the gradient of the KL with respect to S),
/// follows from the gradients. The logarithm of the aim falls to that of `keep`, the temperature T geometrically. Every
/// region has its own aim, offset, multiplier and stop state, and the schedule runs inside the program, which needs
/// nothing from the host between steps. (A fixed lambda with a binarising term, ALGORITHMS section 1.2, lets all scores
/// shrink together or collapses once lambda has grown.)
///
/// In the settled phase alpha is 1 where c >= 0 and 0 elsewhere, and stays: units of a branch at one half would cost
/// half, and no binary chain follows from such a branch. The units' gates are driven to 0 or 1: besides Adam's step every
/// score moves by rho clip(8 (S - 1/2)) 4 S (1 - S) of the largest step, away from the offset. That is in Adam's own
/// measure: the gates that the network depends on most give in as soon as others, while those can still follow. rho
/// grows with the cube of the steps, until no gradient holds against it.
///
/// The straight phase ends the search: gates are exactly 1 or 0, S = 1 where min(a, b) >= tau, so that the KL is the
/// binary chain's. b is the highest offset at which the unit's branch has units in all layers that it needs: a branch
/// without, which the chain leaves out, is left out in the step, and takes no part of the budget. The gradient with
/// respect to *all* gates, those that are 0 too, moves the scores as if S were sigmoid((a - tau) / W) (the
/// straight-through estimator, Bengio et al. 2013), by steps that fall linearly to 0. The offset is where the number of
/// units that are on is the aim; branches stay as they are. The divergence jumps from step to step, by a factor of ten
/// where a single unit of the stem goes: the gates of the best step are kept, best as chains are compared: by agreement,
/// then by divergence.
package struct ChainProgram {
  /// Which part of a search a program runs.
  package enum Phase: Sendable, Hashable, CaseIterable { case soft, settled, straight }

  /// Which part this one runs.
  let phase: Phase
  /// What is compiled.
  package private(set) var program: Program
  /// Input: samples, N first; no longer one where the stem was taken out and nothing else reads them.
  package let samples: ValueID
  /// Input: log-probabilities of the dense network, N x K.
  package let target: ValueID
  /// Input: weight of each sample, N; 0 for filling. They sum to 1 over all chunks of a region.
  package let sampleWeights: ValueID
  /// Input: 1 to update after this run, 0 to go on accumulating gradients (scalar).
  package let commit: ValueID
  /// Input: 1 in steps that read the regions themselves, 0 in steps that read variants (scalar); `nil` before the straight
  /// phase.
  package let judged: ValueID?
  /// Input: 1 for regions that go on, 0 for those that have stopped, R x 1.
  package let active: ValueID
  /// Input: logarithm of the fraction of units aimed at, R x 1.
  package let logKeep: ValueID
  /// Carried: the unit scores a, R x U.
  package let scores: ValueID
  /// Carried: the block scores c, R x B; `nil` without blocks.
  package let blockScores: ValueID?
  /// Output: the gates S of the last run, R x U; in the straight phase as nearly hard ones, whose order is the scores'.
  package let unitGates: ValueID
  /// Carried: what `unitGates` was in the best step of those that were judged and within the budget, R x U; all 0 as long
  /// as there is none, `nil` before the straight phase.
  package let bestGates: ValueID?
  /// Carried: the loss of that step, R x 1; the largest finite number as long as there is none, `nil` before the straight
  /// phase.
  package let lowestLoss: ValueID?
  /// What a region's loss grows by where all its samples are given another class than the network's: one sample counts for
  /// more than any divergence.
  package static let missPenalty = 1000.0
  /// Output: the gates alpha of the last run, R x B; `nil` without blocks.
  package let blockGates: ValueID?
  /// Output: KL of the last step, summed with the sample weights over its chunks so far, R.
  package let divergence: ValueID
  /// Output: mean of alpha S over the units, R x 1.
  package let size: ValueID
  /// What the carried inputs besides the scores hold before the first step.
  package let initialState: ValueMap<Tensor>
  /// The carried inputs that have a column per unit: scores and Adam's moments.
  package let unitState: [ValueID]
  /// The same of the blocks.
  package let blockState: [ValueID]
  /// The other carried inputs that matter after a whole step.
  package let clockState: [ValueID]

  /// Builds the program for a network made for the planned batch, whose only output is the logits.
  /// - Parameter allUnits: The number of units that sizes are fractions of; `nil` for the network's own.
  package init(
    network: ChainNetwork, regions: Int, settings: ChainSettings, phase: Phase = .soft, allUnits: Int? = nil
  ) throws {
    var builder = try StepBuilder(
      network: network, regions: regions, settings: settings, phase: phase,
      allUnits: allUnits ?? network.sites.unitCount)
    let divergences = try builder.addDivergences()
    let divergence = try builder.weightedSums(of: divergences, name: "divergence")
    let gradients = try builder.addGradients(of: divergence)
    let total = try builder.accumulated(divergence, name: "divergence")
    if phase == .straight { try builder.addBest(divergences) }
    try builder.addUpdates(gradients)
    try builder.addClock()
    let gated = builder.gated
    self.phase = phase
    builder.graph.outputs =
      [total, builder.size, builder.reportedGates] + (gated.blockGates.map { [$0] } ?? [])
      + builder.carries.map(\.output)
    program = Program(builder.graph.pruned(), carries: builder.carries)
    samples = network.graph.inputs[0]
    target = builder.target
    sampleWeights = builder.sampleWeights
    commit = builder.commit
    judged = builder.best?.judged
    bestGates = builder.best?.gates
    lowestLoss = builder.best?.loss
    active = builder.active
    logKeep = builder.schedule.logKeep
    scores = gated.scores
    blockScores = gated.blockScores
    unitGates = builder.reportedGates
    blockGates = gated.blockGates
    self.divergence = total
    size = builder.size
    initialState = builder.initialState
    unitState = [gated.scores] + (builder.moments[gated.scores] ?? [])
    blockState = gated.blockScores.map { [$0] + (builder.moments[$0] ?? []) } ?? []
    clockState = [builder.schedule.step, builder.schedule.offset, builder.schedule.temperature]
  }

  /// Takes the stem out of the step: what the network computes before its first gates, which is the same in every step that
  /// reads the same samples.
  ///
  /// The step reads the stem's outputs from then on, in place of `samples`.
  /// - Returns: The stem; `nil` where the network begins with gates.
  package mutating func takeStem() -> Graph? {
    guard let (stem, rest) = program.graph.splitting(offWhatDependsOn: samples) else { return nil }
    program.graph = rest
    return stem
  }

  /// What is left to know once it is compiled, without the network's weights.
  func interface() -> ChainProgram {
    var result = self
    result.program.graph = program.graph.interface()
    return result
  }
}

/// What the gates read besides their scores; inputs of the graph, made before it is gated.
private struct ScheduleInputs {
  let step: ValueID
  let offset: ValueID
  let logKeep: ValueID
  let temperature: ValueID

  init(in graph: inout Graph, regions: Int) {
    step = graph.addInput("step", TensorType(.float32, .scalar))
    offset = graph.addInput("offset", TensorType(.float32, [regions, 1]))
    logKeep = graph.addInput("log keep", TensorType(.float32, [regions, 1]))
    temperature = graph.addInput("temperature", TensorType(.float32, [regions, 1]))
  }
}

/// The parts of the program while it is put together.
private struct StepBuilder {
  var graph: Graph
  let gated: GatedGraph
  let schedule: ScheduleInputs
  let size: ValueID
  let reportedGates: ValueID
  let target: ValueID
  let sampleWeights: ValueID
  let commit: ValueID
  let active: ValueID
  private(set) var carries: [Program.Carry] = []
  private(set) var initialState: ValueMap<Tensor> = [:]
  private(set) var moments: ValueMap<[ValueID]> = [:]
  private(set) var best: (judged: ValueID, loss: ValueID, gates: ValueID)?
  private let settings: ChainSettings
  private let regions: Int
  private let allUnits: Int
  private let logits: ValueID
  private let phase: ChainProgram.Phase

  init(
    network: ChainNetwork, regions: Int, settings: ChainSettings, phase: ChainProgram.Phase, allUnits: Int
  ) throws(GraphError) {
    self.settings = settings
    self.phase = phase
    self.allUnits = allUnits
    self.regions = regions
    var prepared = network.graph
    let schedule = ScheduleInputs(in: &prepared, regions: regions)
    self.schedule = schedule
    gated = try prepared.gated(
      network.sites, regions: regions,
      parametrization: GateParametrization { scores, graph throws(GraphError) in
        switch phase {
        case .soft, .settled:
          let shifted = try graph.subtract(scores, schedule.offset)
          return try graph.add(.unary(.sigmoid), graph.divide(shifted, schedule.temperature))
        case .straight:
          return try graph.isAtLeast(graph.scoresInBranches(scores, network.sites), schedule.offset)
        }
      },
      blockParametrization: GateParametrization { scores, graph throws(GraphError) in
        switch phase {
        case .soft:
          let temperature = try graph.blockTemperature(schedule, settings)
          return try graph.add(.unary(.sigmoid), graph.divide(scores, temperature))
        case .settled, .straight: return try graph.isAtLeast(scores, graph.scalar(0, like: scores))
        }
      })
    graph = gated.graph
    switch phase {
    case .soft, .settled: reportedGates = gated.unitGates
    case .straight:
      reportedGates = try graph.gates(
        of: gated.scores, above: schedule.offset, temperature: settings.lastTemperature / 8)
    }
    let shape = graph.shape(graph.outputs[0])
    let classes = shape.elementCount / shape[0]
    logits = try graph.reshaped(graph.outputs[0], to: [shape[0], classes])
    target = graph.addInput("dense log-probabilities", TensorType(.float32, [shape[0], classes]))
    sampleWeights = graph.addInput("sample weights", TensorType(.float32, [shape[0]]))
    commit = graph.addInput("commit", TensorType(.float32, .scalar))
    active = graph.addInput("active", TensorType(.float32, [regions, 1]))
    let kept = try graph.add(.reduce(Reduce(.sum, axes: [1], keepsDimensions: true)), gated.effectiveGates)
    size = try graph.scaled(kept, by: 1 / Double(allUnits))
    initialState[schedule.step] = Tensor(scalar: Float(0))
    initialState[schedule.temperature] = perRegion(settings.firstTemperature)
    // With all scores near 0, this offset gives the first aim.
    initialState[schedule.offset] = perRegion(-settings.firstTemperature * settings.logitOfFirstSize)
  }

  private func perRegion(_ number: Float) -> Tensor {
    Tensor([Float](repeating: number, count: regions), shape: [regions, 1])
  }

  /// KL(p || p_gated) of every sample.
  mutating func addDivergences() throws(GraphError) -> ValueID {
    let logGated = try graph.add(.logSoftmax(axes: [1]), logits)
    let probabilities = try graph.add(.unary(.exponential), target)
    let terms = try graph.multiply(probabilities, graph.subtract(target, logGated))
    return try graph.add(.reduce(Reduce(.sum, axes: [1], keepsDimensions: false)), terms)
  }

  /// What samples add to their regions, R.
  mutating func weightedSums(of perSample: ValueID, name: String) throws(GraphError) -> ValueID {
    let weighted = try graph.multiply(perSample, sampleWeights)
    let perRegion = try graph.add(.reshape([regions, graph.shape(logits)[0] / regions]), weighted)
    return try graph.add(.reduce(Reduce(.sum, axes: [1], keepsDimensions: false)), perRegion, name: name)
  }

  /// The gradient of the divergence with respect to the gates, summed over the chunks of a region so far.
  mutating func addGradients(of divergence: ValueID) throws -> (units: ValueID, blocks: ValueID?) {
    let total = try graph.add(.reduce(Reduce(.sum, axes: [0], keepsDimensions: false)), divergence)
    // Branches move in the soft phase alone.
    let wanted = [gated.unitGates] + (phase == .soft ? gated.blockGates.map { [$0] } ?? [] : [])
    let derivative = try graph.differentiating(
      [DerivativeTarget(total)], withRespectTo: wanted,
      rules: GradientRules(gateGradients: phase == .straight ? .fromInput : .fromOutput))
    graph = derivative.graph
    let summed = try wanted.map { try accumulated(derivative.gradients[$0] ?? $0, name: "\(graph[$0].name)/gradient") }
    return (summed[0], summed.count > 1 ? summed[1] : nil)
  }

  /// Adds what earlier chunks left, and starts again after a commit.
  mutating func accumulated(_ gradient: ValueID, name: String) throws(GraphError) -> ValueID {
    let accumulator = carriedInput("\(name) so far", graph.type(gradient))
    let total = try graph.sum(accumulator, gradient)
    let keep = try graph.subtract(graph.scalar(1, like: commit), commit)
    carries.append(.init(from: try graph.multiply(total, keep), to: accumulator))
    return total
  }

  /// Keeps the gates of the step in which the network's own class is found for the most samples, and of several the one
  /// with the lowest divergence.
  mutating func addBest(_ divergences: ValueID) throws(GraphError) {
    let judged = graph.addInput("judged", TensorType(.float32, .scalar))
    let lowest = carriedInput("lowest loss", TensorType(.float32, [regions, 1]))
    initialState[lowest] = perRegion(.greatestFiniteMagnitude)
    let gates = carriedInput("best gates", graph.type(reportedGates))
    let missed = try graph.scaled(missedSamples(), by: ChainProgram.missPenalty)
    let losses = try weightedSums(of: graph.sum(divergences, missed), name: "loss")
    let loss = try graph.reshaped(accumulated(losses, name: "loss"), to: [regions, 1])
    let largest = try graph.scaled(graph.add(.unary(.exponential), schedule.logKeep), by: Double(allUnits))
    let count = try graph.scaled(size, by: Double(allUnits))
    let fits = try graph.isAtLeast(graph.sum(largest, graph.scalar(0.01, like: largest)), count)
    // A loss that is no number is not lower.
    let isLower = try graph.indicator(graph.add(.binary(.less), loss, lowest), like: lowest)
    let mask = try graph.multiply(
      graph.multiply(isLower, fits), graph.multiply(active, graph.multiply(commit, judged)))
    let isBest = try graph.add(.binary(.greater), mask, graph.scalar(0.5, like: mask))
    carries += [
      .init(from: try graph.add(.select, isBest, loss, lowest), to: lowest),
      .init(from: try graph.add(.select, isBest, reportedGates, gates), to: gates),
    ]
    best = (judged, lowest, gates)
  }

  /// 1 for samples whose largest logit is not where the dense network's is, 0 for others, N.
  private mutating func missedSamples() throws(GraphError) -> ValueID {
    let found = try graph.multiply(isLargest(target), isLargest(logits))
    let agrees = try graph.add(.reduce(Reduce(.maximum, axes: [1], keepsDimensions: false)), found)
    return try graph.subtract(graph.scalar(1, like: agrees), agrees)
  }

  /// 1 at the largest element of each row, 0 elsewhere.
  private mutating func isLargest(_ rows: ValueID) throws(GraphError) -> ValueID {
    try graph.isAtLeast(rows, graph.add(.reduce(Reduce(.maximum, axes: [1], keepsDimensions: true)), rows))
  }

  /// Projects the gradients onto the constraint and lets Adam follow them; then moves the offset.
  mutating func addUpdates(_ gradients: (units: ValueID, blocks: ValueID?)) throws(GraphError) {
    let slopes = try unitSlopes()
    let alphaOfUnit = try alphaOfUnits()
    let costs = try costsOfUnits(alphaOfUnit)
    let reach = try sumOfUnits(graph.multiply(costs, slopes))
    // Gates that are all 0 or 1 leave nothing to choose; the bound keeps the multiplier finite.
    let bounded = try graph.add(.binary(.maximum), reach, graph.scalar(1e-6, like: reach))
    let pull = try sumOfUnits(graph.multiply(gradients.units, slopes))
    let multiplier = try graph.add(.unary(.negate), graph.divide(pull, bounded), name: "lambda")
    let projected = try graph.sum(gradients.units, graph.multiply(multiplier, costs))
    let scores = try addAdam(
      gated.scores, gradient: graph.multiply(projected, slopes), rate: unitRate(),
      drift: phase == .settled ? binarising() : nil)
    if phase != .soft {
      if let blockScores = gated.blockScores {
        carries.append(.init(from: try graph.add(.identity, blockScores), to: blockScores))
      }
      return try addExactOffset(scores, alphaOfUnit)
    }
    if let blockScores = gated.blockScores, let alphas = gated.blockGates, let gradient = gradients.blocks {
      let sizes = try graph.add(.matmul, gated.unitGates, membership(transposed: false), name: "units of blocks")
      let cost = try graph.multiply(multiplier, sizes)
      let slope = try graph.divide(variance(of: alphas), graph.blockTemperature(schedule, settings))
      // At the full rate: cold branches are thrown to one side or the other, and do not settle in between, where no
      // binary chain follows from them.
      _ = try addAdam(
        blockScores, gradient: graph.multiply(graph.sum(gradient, cost), slope),
        rate: graph.scalar(1, like: schedule.temperature))
    }
    try addOffset(reach: bounded)
  }

  /// rho clip(8 (S - 1/2)) 4 S (1 - S)
  private mutating func binarising() throws(GraphError) -> ValueID {
    let begin = graph.scalar(Double(settings.branchSteps), like: schedule.step)
    let progress = try graph.scaled(
      graph.subtract(schedule.step, begin), by: 1 / Double(max(settings.softSteps - settings.branchSteps, 1)))
    let cube = try graph.multiply(progress, graph.multiply(progress, progress))
    let rho = try graph.scaled(cube, by: Double(settings.binarising))
    let half = graph.scalar(0.5, like: gated.unitGates)
    let distance = try graph.scaled(graph.subtract(gated.unitGates, half), by: 8)
    let direction = try graph.add(.unary(.clip(minimum: -1, maximum: 1)), distance)
    let inBetween = try graph.scaled(variance(of: gated.unitGates), by: 4)
    return try graph.multiply(rho, graph.multiply(direction, inBetween))
  }

  /// dS/da of the units.
  private mutating func unitSlopes() throws(GraphError) -> ValueID {
    guard phase == .straight else { return try slope(of: gated.unitGates) }
    let window = try graph.gates(of: gated.scores, above: schedule.offset, temperature: settings.straightWidth)
    return try graph.scaled(variance(of: window), by: 1 / Double(settings.straightWidth))
  }

  /// dS/da = S (1 - S) / T
  private mutating func slope(of gates: ValueID) throws(GraphError) -> ValueID {
    try graph.divide(variance(of: gates), schedule.temperature)
  }

  private mutating func variance(of gates: ValueID) throws(GraphError) -> ValueID {
    try graph.subtract(gates, graph.multiply(gates, gates))
  }

  private mutating func sumOfUnits(_ value: ValueID) throws(GraphError) -> ValueID {
    try graph.add(.reduce(Reduce(.sum, axes: [1], keepsDimensions: true)), value)
  }

  /// What a unit costs while it is on, R x U or a scalar: alpha of its block, 1 outside blocks; in the straight phase
  /// nothing where its branch carries nothing.
  private mutating func costsOfUnits(_ alphaOfUnit: ValueID) throws(GraphError) -> ValueID {
    guard phase == .straight, let limits = try graph.branchLimits(gated.scores, gated.sites) else { return alphaOfUnit }
    return try graph.multiply(alphaOfUnit, graph.isAtLeast(limits, schedule.offset))
  }

  /// alpha of each unit's block, 1 outside blocks; R x U or a scalar.
  private mutating func alphaOfUnits() throws(GraphError) -> ValueID {
    guard let alphas = gated.blockGates else { return graph.scalar(1, like: gated.unitGates) }
    let outside = gated.sites.layers.flatMap { layer in
      [Float](repeating: layer.block == nil ? 1 : 0, count: layer.count)
    }
    let ones = graph.addConstant("units outside blocks", Tensor(outside, shape: [1, outside.count]))
    return try graph.sum(graph.add(.matmul, alphas, membership(transposed: true)), ones)
  }

  /// 1 where a unit belongs to a block: U x B, or B x U.
  private mutating func membership(transposed: Bool) -> ValueID {
    let blocks = gated.sites.blocks.count
    let blockOfUnit = gated.sites.layers.flatMap { [Int?](repeating: $0.block, count: $0.count) }
    let units = blockOfUnit.count
    var elements = [Float](repeating: 0, count: units * blocks)
    for case (let unit, let block?) in blockOfUnit.enumerated() {
      elements[transposed ? block * units + unit : unit * blocks + block] = 1
    }
    let shape: Shape = transposed ? [blocks, units] : [units, blocks]
    return graph.addConstant("membership", Tensor(elements, shape: shape))
  }

  /// Adam with its steps times `rate`, and a drift in parts of the largest step, in effect when `commit` is 1 and the
  /// region active.
  private mutating func addAdam(
    _ parameter: ValueID, gradient: ValueID, rate: ValueID, drift: ValueID? = nil
  ) throws(GraphError) -> ValueID {
    let type = graph.type(parameter)
    let name = graph[parameter].name
    let first = carriedInput("\(name)/first moment", type)
    let second = carriedInput("\(name)/second moment", type)
    moments[parameter] = [first, second]
    let mask = try graph.multiply(active, commit)
    let updated = try graph.add(
      .adam(Adam(learningRate: settings.learningRate)),
      inputs: [parameter, gradient, first, second, schedule.step, mask])
    var step = try graph.subtract(updated[0], parameter)
    if let drift {
      step = try graph.sum(step, graph.multiply(mask, graph.scaled(drift, by: Double(settings.learningRate))))
    }
    let change = try graph.multiply(rate, step)
    let moved = try graph.sum(parameter, change)
    carries += [
      .init(from: moved, to: parameter), .init(from: updated[1], to: first), .init(from: updated[2], to: second),
    ]
    return moved
  }

  /// What Adam's steps on the units' scores are multiplied by; in the straight phase a part that falls to 0.
  private mutating func unitRate() throws(GraphError) -> ValueID {
    switch phase {
    case .soft, .settled:
      // The root of the temperature, by which scores count: cold gates would flicker otherwise.
      let relative = try graph.scaled(schedule.temperature, by: 1 / Double(settings.firstTemperature))
      return try graph.add(.unary(.squareRoot), relative)
    case .straight:
      let left = try graph.subtract(graph.scalar(Double(settings.steps), like: schedule.step), schedule.step)
      let falling = try graph.scaled(
        left, by: Double(settings.straightRate) / Double(max(settings.straightSteps, 1)))
      return try graph.add(.unary(.clip(minimum: 0, maximum: settings.straightRate)), falling)
    }
  }

  /// One Newton step of tau towards mean of alpha S = the next aim. Scores and aim move little from step to step, so
  /// that one is enough; the bound guards against gates that are nearly all 0 or 1.
  private mutating func addOffset(reach: ValueID) throws(GraphError) {
    let excess = try graph.scaled(graph.subtract(size, aim()), by: Double(allUnits))
    let newton = try graph.divide(excess, reach)
    let bound = settings.firstTemperature / 4
    let bounded = try graph.add(.unary(.clip(minimum: -bound, maximum: bound)), newton)
    let mask = try graph.multiply(active, commit)
    let next = try graph.sum(schedule.offset, graph.multiply(bounded, mask))
    carries.append(.init(from: next, to: schedule.offset))
  }

  /// The fraction of units aimed at after this step, R x 1.
  private mutating func aim() throws(GraphError) -> ValueID {
    if phase == .straight { return try graph.add(.unary(.exponential), schedule.logKeep) }
    let progress = try graph.scaled(schedule.step, by: 1 / max(settings.shrinkingEnd * Double(settings.steps), 1))
    let linear = try graph.add(.unary(.clip(minimum: 0, maximum: 1)), progress)
    // 1 - (1 - x)^3: fast while the network is large and every step costs much, slowly where units are scarce.
    let left = try graph.subtract(graph.scalar(1, like: linear), linear)
    let cube = try graph.multiply(left, graph.multiply(left, left))
    let ramp = try graph.subtract(graph.scalar(1, like: cube), cube)
    let first = try logFirstSize()
    let fall = try graph.multiply(graph.subtract(schedule.logKeep, first), ramp)
    return try graph.add(.unary(.exponential), graph.sum(first, fall), name: "aim")
  }

  /// The logarithm of the fraction of units aimed at in the first step (see `ChainSettings.firstSize(towards:)`), R x 1.
  private mutating func logFirstSize() throws(GraphError) -> ValueID {
    let most = log(settings.firstSize)
    var first = graph.scalar(Double(most), like: schedule.logKeep)
    if settings.draws > 0 {
      let near = try graph.sum(
        schedule.logKeep, graph.scalar(Double(log(ChainSettings.firstRatio)), like: schedule.logKeep))
      first = try graph.add(.unary(.clip(minimum: log(settings.firstSize / 2), maximum: most)), near)
    }
    let bounds = UnaryFunction.clip(minimum: -.greatestFiniteMagnitude, maximum: log(settings.largestFirstSize))
    return try graph.add(.binary(.maximum), first, graph.add(.unary(bounds), schedule.logKeep))
  }

  /// The offset at which the gates have the size aimed at, to the bisection's resolution: never a larger one, and with
  /// gates of exactly 0 and 1 a smaller one only where scores are that close.
  private mutating func addExactOffset(_ scores: ValueID, _ alphaOfUnit: ValueID) throws(GraphError) {
    let aim = try graph.scaled(aim(), by: Double(allUnits))
    // Guards against the rounding of the aim, which is whole in the straight phase.
    let largest = try graph.sum(aim, graph.scalar(0.01, like: aim))
    let counted = phase == .straight ? try graph.scoresInBranches(scores, gated.sites) : scores
    var width = 1.0
    // The highest offset tried; every bisection goes down by its width unless the chain was too large there.
    var found = try graph.sum(schedule.offset, graph.scalar(width, like: schedule.offset))
    for _ in 0..<18 {
      let lower = try graph.subtract(found, graph.scalar(width, like: found))
      let gates =
        phase == .straight
        ? try graph.isAtLeast(counted, lower)
        : try graph.add(.unary(.sigmoid), graph.divide(graph.subtract(counted, lower), schedule.temperature))
      let count = try sumOfUnits(graph.multiply(gates, alphaOfUnit))
      let fits = try graph.isAtLeast(largest, count)
      found = try graph.subtract(found, graph.scaled(fits, by: width))
      width /= 2
    }
    let mask = try graph.multiply(active, commit)
    let change = try graph.multiply(mask, graph.subtract(found, schedule.offset))
    carries.append(.init(from: try graph.sum(schedule.offset, change), to: schedule.offset))
  }

  /// Counts committed steps, and cools the regions that go on: a region that has stopped keeps its gates.
  mutating func addClock() throws(GraphError) {
    let cooling = log(Double(settings.lastTemperature / settings.firstTemperature)) / Double(settings.coolingSteps)
    let mask = try graph.multiply(active, commit)
    let factor = try graph.add(.unary(.exponential), graph.scaled(mask, by: cooling))
    let cooled = try graph.multiply(schedule.temperature, factor)
    let last = graph.scalar(Double(settings.lastTemperature), like: cooled)
    let temperature = try graph.add(.binary(.maximum), cooled, last)
    carries += [
      .init(from: try graph.sum(schedule.step, commit), to: schedule.step),
      .init(from: temperature, to: schedule.temperature),
    ]
  }

  private mutating func carriedInput(_ name: String, _ type: TensorType) -> ValueID {
    let id = graph.addInput(name, type)
    initialState[id] = Tensor(zeros: type.shape, elementType: type.elementType)
    return id
  }
}

extension Graph {
  /// T^2 / T0, T0 the first temperature: branches are decided on before units are.
  fileprivate mutating func blockTemperature(
    _ schedule: ScheduleInputs, _ settings: ChainSettings
  ) throws(GraphError) -> ValueID {
    try scaled(
      multiply(schedule.temperature, schedule.temperature), by: 1 / Double(settings.firstTemperature))
  }

  /// 1 where `left` >= `right`, 0 elsewhere.
  mutating func isAtLeast(_ left: ValueID, _ right: ValueID) throws(GraphError) -> ValueID {
    try indicator(add(.binary(.greaterOrEqual), left, right), like: left)
  }

  /// sigmoid((scores - offset) / temperature)
  fileprivate mutating func gates(
    of scores: ValueID, above offset: ValueID, temperature: Float
  ) throws(GraphError) -> ValueID {
    try add(.unary(.sigmoid), scaled(subtract(scores, offset), by: 1 / Double(temperature)))
  }
}
