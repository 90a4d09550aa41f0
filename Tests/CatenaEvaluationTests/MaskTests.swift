import CatenaAutodiff
import CatenaCPU
import CatenaChains
import CatenaCompute
import CatenaEvaluation
import CatenaGraph
import CatenaTensors
import Foundation
import Testing

@Suite("masks and unit scores, against the reference in double")
struct MaskTests {
  /// 3 masks at a time on 2 samples each, where there are 7 masks and 5 samples.
  @Test("many masks in one program give what each gives alone")
  func manyMasks() async throws {
    let small = try SmallNetwork(samples: 5)
    let network = try small.network(batch: 6)
    let runner = try await MaskRunner(
      graph: network.graph, sites: network.sites, masksPerRun: 3, backend: CPUBackend(), options: CompileOptions())
    var generator = SeededGenerator(seed: 4)
    let masks = (0..<7).map { _ in
      UnitMask(
        units: (0..<network.sites.unitCount).map { _ in Bool.random(using: &generator) ? 1 : 0 },
        blocks: network.sites.blocks.map { _ in generator.uniform() < 0.8 ? 1 : 0 })
    }
    let found = try await runner.logits(of: small.samples, under: masks)
    for (mask, rows) in zip(masks, found) {
      let expected = try small.logits(mask.units.map(Double.init), mask.blocks.map(Double.init))
      #expect(rows.count == 5)
      for (row, wanted) in zip(rows, expected) {
        for (a, b) in zip(row, wanted) { #expect(abs(Double(a) - b) < 1e-4 * max(1, abs(b))) }
      }
    }
  }

  @Test("Taylor scores are |dL/dgate| by central differences, activations are means of |a|, magnitudes sums of |w|")
  func scores() async throws {
    let small = try SmallNetwork(samples: 3)
    let network = try small.network(batch: 2)
    let sites = network.sites
    let ones = [Double](repeating: 1, count: sites.unitCount)
    let blocks = [Double](repeating: 1, count: sites.blocks.count)
    let dense = try small.logits(ones, blocks)
    let scorer = try await UnitScorer(network: network, backend: CPUBackend(), options: CompileOptions())
    let found = try await scorer.scores(of: small.samples, logits: dense.map { $0.map(Float.init) })

    let classes = dense.map { row in row.indices.max { row[$0] < row[$1] } ?? 0 }
    for unit in stride(from: 0, to: sites.unitCount, by: 5) {
      let changes = try [1e-4, -1e-4].map { step in
        var gates = ones
        gates[unit] += step
        return zip(try small.logits(gates, blocks), classes).map { -SmallNetwork.logProbabilities($0)[$1] }
      }
      let taylor = zip(changes[0], changes[1]).map { abs($0 - $1) / 2e-4 }.reduce(0, +) / 3
      // Both the step in single precision and the difference of two large losses round.
      #expect(abs(found.taylor[unit] - taylor) < 2e-3 * max(taylor, 0.05), "unit \(unit)")
    }

    let gatedValues = try small.values(ones, blocks) { $0.gatedValues }
    for (index, layer) in sites.layers.enumerated() {
      let values = gatedValues[index]
      let inner = values.shape.count(of: (layer.axis + 1)..<values.shape.rank)
      var sums = [Double](repeating: 0, count: layer.count)
      for (place, element) in values.doubles.enumerated() { sums[place / inner % layer.count] += abs(element) }
      let weights = try #require(network.graph.constants[network.graph.nodes[layer.mixing].inputs[1]])
      let perUnit = weights.elementCount / layer.count
      for unit in 0..<layer.count {
        let position = sites.unitOffsets[index] + unit
        let activation = sums[unit] / Double(values.elementCount / layer.count)
        #expect(abs(found.activation[position] - activation) < 1e-4 * max(activation, 0.01))
        let norm = weights.doubles[unit * perUnit..<(unit + 1) * perUnit].map { abs($0) }.reduce(0, +)
        #expect(abs(found.magnitude[position] - norm) < 1e-5 * norm)
      }
    }
  }

  @Test("matched masks keep the counts of every layer; swaps exchange what they say")
  func matched() throws {
    let sites = try SmallNetwork(samples: 1).network(batch: 1).sites
    var generator = SeededGenerator(seed: 2)
    let mask = UnitMask(
      units: (0..<sites.unitCount).map { _ in generator.uniform() < 0.4 ? 1 : 0 },
      blocks: sites.blocks.indices.map { $0 == 0 ? 0 : 1 })
    let masks = MatchedMasks(sites: sites, mask: mask)
    let scores = mask.units.indices.map { Double($0 % 7) }
    func counts(_ mask: UnitMask) -> [Int] {
      zip(sites.layers, sites.unitOffsets).map { layer, offset in
        mask.units[offset..<offset + layer.count].count { $0 == 1 }
      }
    }
    let others = [masks.largest(scores), masks.random(&generator), masks.swapping(0.5, &generator)]
    for other in others { #expect(counts(other) == counts(mask) && other.blocks == mask.blocks) }
    for (layer, offset) in zip(sites.layers, sites.unitOffsets) {
      let range = offset..<offset + layer.count
      let kept = range.filter { others[0].units[$0] == 1 }
      let left = range.filter { others[0].units[$0] == 0 }
      #expect((kept.map { scores[$0] }.min() ?? 9) >= (left.map { scores[$0] }.max() ?? -1))
      let own = range.filter { mask.units[$0] == 1 }
      let gone = own.count { others[2].units[$0] == 0 }
      let half = own.isEmpty ? 0 : max(1, Int((0.5 * Double(own.count)).rounded()))
      #expect(gone == min(half, layer.count - own.count))
    }
  }

  @Test("leaving units out of the cut chain changes KL as it does in the whole network")
  func leavingOneOut() async throws {
    let small = try SmallNetwork(samples: 4)
    var settings = EvaluationSettings()
    settings.batch = 12
    let evaluation = try ChainEvaluation(model: small.model, backend: CPUBackend(), settings: settings)
    let sites = evaluation.network.sites
    var generator = SeededGenerator(seed: 3)
    let snapshot = ScoreSnapshot(
      step: 0, unitGates: (0..<sites.unitCount).map { _ in Float(generator.uniform()) },
      blockGates: sites.blocks.map { _ in 0.9 })
    let chain = ChainSelector(sites: sites).largest(sites.unitCount / 2, of: snapshot)
    let bench = try await MaskBench(evaluation, samples: small.samples)
    let found = try await evaluation.leavingOneOut(chain, bench) { _ in }
    #expect(found.count == chain.keptCount)

    let all = try small.logits(
      [Double](repeating: 1, count: sites.unitCount), [Double](repeating: 1, count: sites.blocks.count)
    ).map(SmallNetwork.logProbabilities)
    let blocks = chain.blocks.map { $0 ? 1.0 : 0 }
    func divergence(_ units: [Double]) throws -> Double {
      let masked = try small.logits(units, blocks).map(SmallNetwork.logProbabilities)
      var sum = 0.0
      for (p, q) in zip(all, masked) {
        for (a, b) in zip(p, q) { sum += exp(a) * (a - b) }
      }
      return sum / 4
    }
    let units = chain.units.map { $0 ? 1.0 : 0 }
    let whole = try divergence(units)
    for record in found {
      let layer = try #require(sites.layers.firstIndex { $0.name == record.layer })
      var without = units
      without[sites.unitOffsets[layer] + record.index] = 0
      let expected = try divergence(without) - whole
      #expect(abs(record.deltaDivergence - expected) < 1e-4 * max(1, abs(expected)), "\(record)")
    }
  }
}
