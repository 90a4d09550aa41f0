import CatenaAutodiff
import CatenaChains
import CatenaFormats
import CatenaGraph
import CatenaReference
import CatenaTensors
import TestSupport
import Testing

/// Random scores: uniform ones, ones that are nearly all 0 or 1, and many that are equal.
private func snapshots(of sites: GateSites, count: Int) -> [ScoreSnapshot] {
  var generator = SeededGenerator(seed: 11)
  return (0..<count).map { index in
    func gate() -> Float {
      let uniform = Float(generator.uniform())
      switch index % 3 {
      case 0: return uniform
      case 1: return uniform < 0.2 ? 1 - uniform * 1e-3 : uniform * 1e-6
      default: return (uniform * 4).rounded() / 4
      }
    }
    return ScoreSnapshot(
      step: index, unitGates: (0..<sites.unitCount).map { _ in gate() }, blockGates: sites.blocks.map { _ in gate() })
  }
}

@Suite("Selection")
struct SelectionTests {
  enum Structure: String, CaseIterable, Sendable {
    case residual, nested, parallel, resnet, paddedShortcut, squeezeExcite, denseNet, mobileNet, resnet20, squeezeNet

    func network() throws -> ChainNetwork {
      let model =
        switch self {
        case .residual: try NetworkBuilder.residual(batch: 2)
        case .nested: try NetworkBuilder.nested(batch: 2)
        case .parallel: try NetworkBuilder.parallel(batch: 2)
        case .resnet: try GoldenNetwork.resnet.model()
        case .paddedShortcut: try GoldenNetwork.paddedShortcut.model()
        case .squeezeExcite: try GoldenNetwork.squeezeExcite.model()
        case .denseNet: try GoldenNetwork.denseNet.model()
        case .mobileNet: try GoldenNetwork.mobileNet.model()
        case .resnet20: try ShippedNetwork.resnet20.model()
        case .squeezeNet: try ShippedNetwork.squeezeNet.model()
        }
      return try ChainNetwork(model: model, batch: 2)
    }
  }

  @Test("every selection is connected, within its budget and consistent", arguments: Structure.allCases)
  func properties(structure: Structure) throws {
    let sites = try structure.network().sites
    let selector = ChainSelector(sites: sites)
    let smallest = selector.smallestCount
    #expect(smallest >= 1 && smallest <= sites.unitCount)
    for snapshot in snapshots(of: sites, count: 9) {
      check(selector.hardChain(of: snapshot), snapshot, sites)
      var last = 0
      for count in counts(from: smallest, to: sites.unitCount) {
        let selection = selector.largest(count, of: snapshot)
        check(selection, snapshot, sites)
        #expect(selection.keptCount <= count)
        // A branch that does not fit is left out as a whole, so that a larger budget need not be used up; but what
        // fitted a smaller one still fits.
        #expect(selection.keptCount >= last, "\(count) units of \(structure), snapshot \(snapshot.step)")
        last = selection.keptCount
      }
      #expect(selector.largest(smallest, of: snapshot).keptCount == smallest)
      #expect(selector.largest(sites.unitCount, of: snapshot).keptCount == sites.unitCount)
      #expect(selector.largest(sites.unitCount, of: snapshot).blocks.allSatisfy { $0 })
    }
  }

  private func counts(from smallest: Int, to all: Int) -> [Int] {
    stride(from: smallest, through: all, by: max(1, (all - smallest) / 40)).map { $0 }
  }

  private func check(_ selection: ChainSelection, _ snapshot: ScoreSnapshot, _ sites: GateSites) {
    for (index, offset) in sites.unitOffsets.enumerated() {
      let layer = sites.layers[index]
      guard let block = layer.block, !selection.blocks[block] else { continue }
      let kept = selection.units[offset..<offset + layer.count].count { $0 }
      #expect(kept == 0, "'\(layer.name)' keeps \(kept) units of block \(block), which is gone")
    }
    // A branch inside a branch that is gone is gone.
    for (inner, block) in sites.blocks.enumerated() {
      for (outer, around) in sites.blocks.enumerated() where around.nodes.contains(block.add) {
        #expect(selection.blocks[outer] || !selection.blocks[inner], "'\(block.name)' lies in '\(around.name)'")
      }
    }
    for unit in selection.units.indices {
      #expect(selection.unitFactors[unit] == (selection.units[unit] ? snapshot.unitGates[unit] : 0))
    }
    for block in selection.blocks.indices {
      #expect(selection.blockFactors[block] == (selection.blocks[block] ? snapshot.blockGates[block] : 0))
    }
  }

  @Test("a chain of a step with hard gates has the factors that the step ran with", arguments: BranchRepair.allCases)
  func factorsOfHardGates(repair: BranchRepair) throws {
    let sites = try Structure.residual.network().sites
    var snapshot = snapshots(of: sites, count: 1)[0]
    snapshot.isBinary = true
    snapshot.blockGates = sites.blocks.map { _ in 1 }
    let selector = ChainSelector(sites: sites)
    for selection in [selector.hardChain(of: snapshot, repair), selector.largest(6, of: snapshot, repair)] {
      #expect(selection.unitFactors == selection.units.map { $0 ? 1 : 0 })
      #expect(selection.blockFactors == selection.blocks.map { $0 ? 1 : 0 })
    }
  }

  /// Counted by hand from the networks' definitions.
  @Test(
    "the smallest chain has one unit per layer of the shortest path",
    arguments: [
      // The stem; all else is in residual branches.
      (Structure.nested, 1), (.resnet20, 1), (.paddedShortcut, 1),
      // Stem, squeeze, one of two expansions, the shortcut; the excitation may be a constant.
      (.parallel, 4),
      // The first layer, and a squeeze and an expand layer of each of eight fire modules.
      (.squeezeNet, 17),
    ])
  func smallest(structure: Structure, count: Int) throws {
    let sites = try structure.network().sites
    #expect(structure != .nested || sites.blocks.count == 3)
    #expect(ChainSelector(sites: sites).smallestCount == count)
  }

  /// Activations are tanh, so that the output depends on the input exactly where a path of kept units connects them.
  @Test(
    "the output of a chain depends on the input, and on every layer that keeps units",
    arguments: [Structure.nested, .parallel], [1, 2, 4, 8, 12, 20, 31])
  func dependence(structure: Structure, count: Int) throws {
    let network = try structure.network()
    let selector = ChainSelector(sites: network.sites)
    let budget = min(max(count, selector.smallestCount), network.sites.unitCount)
    for snapshot in snapshots(of: network.sites, count: 9) {
      for repair in BranchRepair.allCases {
        let selection = selector.largest(budget, of: snapshot, repair)
        let logits = try logits(of: network, selection.units, selection.blocks)
        #expect(logits.prefix(3) != logits.suffix(3))
        for (layer, offset) in zip(network.sites.layers, network.sites.unitOffsets) {
          let units = offset..<offset + layer.count
          guard units.contains(where: { selection.units[$0] }) else { continue }
          var without = selection.units
          for unit in units { without[unit] = false }
          #expect(try self.logits(of: network, without, selection.blocks) != logits, "'\(layer.name)' is not heard")
        }
      }
    }
  }

  @Test("what connects a chain costs as little as it can: no smaller set of layers would do")
  func smallestOfAll() throws {
    let network = try Structure.parallel.network()
    let sites = network.sites
    let blocks = sites.blocks.map { _ in true }
    var smallest = sites.layers.count
    for choice in 0..<(1 << sites.layers.count) {
      let filled = sites.layers.indices.map { choice >> $0 & 1 == 1 }
      let units = zip(sites.layers, filled).flatMap { layer, isFilled in
        (0..<layer.count).map { isFilled && $0 == 0 }
      }
      let logits = try logits(of: network, units, blocks)
      if logits.prefix(3) != logits.suffix(3) { smallest = min(smallest, filled.count { $0 }) }
    }
    #expect(smallest == ChainSelector(sites: sites).smallestCount)
  }

  /// The logits of two different samples, by the reference back end in double.
  private func logits(of network: ChainNetwork, _ units: [Bool], _ blocks: [Bool]) throws -> [Double] {
    let sliced = try network.sliced(keeping: units, blocks: blocks)
    let samples = try noise(2, sample: [2, 5, 5], seed: 3).samples
    let values = try Reference.run(sliced.graph, inputs: [sliced.graph.inputs[0]: samples], precision: .double)
    return try #require(values[sliced.graph.outputs[0]]).doubles
  }

  @Test("a branch inside a branch that is left out does not use up the budget")
  func nestedBlocks() throws {
    let sites = try Structure.nested.network().sites
    let selector = ChainSelector(sites: sites)
    let names = sites.blocks.map(\.name)
    let inner = try #require(names.firstIndex(of: "inner sum"))
    let outer = try #require(names.firstIndex(of: "outer sum"))
    var snapshot = ScoreSnapshot(
      step: 0, unitGates: [Float](repeating: 0.9, count: sites.unitCount),
      blockGates: [Float](repeating: 0.9, count: sites.blocks.count))
    snapshot.blockGates[outer] = 0.1
    let chain = selector.hardChain(of: snapshot)
    #expect(!chain.blocks[outer] && !chain.blocks[inner])
    // Stem and plain branch: 4 + 3 + 4.
    #expect(chain.keptCount == 11)
  }
}
