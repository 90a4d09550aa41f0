import Catena

/// Which units and residual branches of a network stay.
struct UnitMask: Sendable {
  /// How units are drawn.
  enum Choice: CaseIterable, Sendable {
    /// Half of every layer's units stay.
    case half
    /// A tenth of every layer's units stay, at least one.
    case few
    /// Half of the residual branches stay, and half of the units of every layer.
    case branches
    /// A third of the layers have no unit left, the others have half of theirs.
    case emptyLayers
  }

  let sites: GateSites
  private(set) var units: [Bool]
  private(set) var blocks: [Bool]

  /// The mask that `seed` fixes.
  init(_ sites: GateSites, _ choice: Choice, seed: UInt64) {
    self.sites = sites
    var generator = SeededGenerator(seed: seed)
    units = []
    blocks = [Bool](repeating: true, count: sites.blocks.count)
    if choice == .branches {
      let dead = sites.blocks.indices.shuffled(using: &generator).prefix((sites.blocks.count + 1) / 2)
      for block in dead { blocks[block] = false }
    }
    for layer in sites.layers {
      let isEmpty = choice == .emptyLayers && generator.uniform() < 1.0 / 3
      let kept = isEmpty ? 0 : max(1, choice == .few ? layer.count / 10 : layer.count / 2)
      let chosen = Set((0..<layer.count).shuffled(using: &generator).prefix(kept))
      units += (0..<layer.count).map(chosen.contains)
    }
  }

  /// The units' gates, 0 or 1, of one region.
  var unitGates: Tensor { Self.gates(units) }
  /// The branches' gates, 0 or 1, of one region.
  var blockGates: Tensor { Self.gates(blocks) }

  private static func gates(_ kept: [Bool]) -> Tensor {
    Tensor(kept.map { $0 ? Float(1) : 0 }, shape: [1, kept.count])
  }

  /// The channels of the units that do not stay.
  var deadChannels: [ZeroedChannels] {
    zip(sites.layers, sites.unitOffsets).map { layer, offset in
      ZeroedChannels(value: layer.value, axis: layer.axis, indices: (0..<layer.count).filter { !units[offset + $0] })
    }.filter { !$0.indices.isEmpty }
  }

  /// The branches that do not stay.
  var deadBranches: [ValueID] { zip(sites.blocks, blocks).filter { !$0.1 }.map(\.0.branch) }
}

/// A network whose gates are inputs, compiled once for many masks.
struct GatedNetwork {
  private let gated: GatedGraph
  private let executable: any Executable
  private let output: ValueID

  init(_ graph: Graph, _ sites: GateSites, input: Tensor) async throws {
    gated = try graph.gated(sites, parametrization: .identity)
    output = gated.graph.outputs[0]
    executable = try await Run.processor().compile(Program(gated.graph), options: CompileOptions())
    try await executable.write(input, to: graph.inputs[0])
  }

  /// The logits with the gates that a mask says.
  func logits(_ mask: UnitMask) async throws -> Tensor {
    try await executable.write(mask.unitGates, to: gated.scores)
    if let blockScores = gated.blockScores { try await executable.write(mask.blockGates, to: blockScores) }
    try await executable.run(steps: 1)
    return try await executable.read(output)
  }
}
