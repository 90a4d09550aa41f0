import CatenaAutodiff
import CatenaCompute
import CatenaGraph
import CatenaTensors
import Foundation

/// How much a network's outputs on regions depend on each gate: the diagonal of the gates' Fisher information at gates of 1,
///
///     F_u = sum over samples of E[(d log q_y / dg_u)^2],   y drawn from q = softmax(z / 3), z the dense logits.
///
/// The divergence from the dense network is flat there, so that its gradient says nothing of any gate; F is its
/// curvature (with the softened q, since a network that is sure of its class has next to no curvature either). The
/// expectation is estimated from some draws, each one pass back: the samples of a region get random signs, under which
/// the square of their summed gradients is, in the mean, the sum of their squares (Hutchinson's estimator).
package struct GateSensitivity {
  /// By what logits are divided.
  private static let softness = 3.0

  private let executable: any Executable
  private let gated: GatedGraph
  private let direction: ValueID
  private let gradient: ValueID

  /// Compiles the dense network for R regions, with the gradient of its gates.
  package init(network: ChainNetwork, regions: Int, backend: any Backend, options: CompileOptions) async throws {
    let (program, gated, direction, gradient) = try Self.program(network: network, regions: regions)
    (self.gated, self.direction, self.gradient) = (gated, direction, gradient)
    executable = try await backend.compile(program, options: options)
    let sites = network.sites
    try await executable.write(Tensor(ones: [regions, sites.unitCount]), to: gated.scores)
    if let blocks = gated.blockScores {
      try await executable.write(Tensor(ones: [regions, sites.blocks.count]), to: blocks)
    }
  }

  /// The program whose gradient is that of a linear function of the logits.
  static func program(
    network: ChainNetwork, regions: Int
  ) throws -> (program: Program, gated: GatedGraph, direction: ValueID, gradient: ValueID) {
    let gated = try network.graph.gated(network.sites, regions: regions, parametrization: .identity)
    var graph = gated.graph
    let shape = graph.shape(graph.outputs[0])
    let table: Shape = [shape[0], shape.elementCount / shape[0]]
    let direction = graph.addInput("direction", TensorType(.float32, table))
    let products = try graph.multiply(direction, graph.reshaped(graph.outputs[0], to: table))
    let sum = try graph.add(.reduce(Reduce(.sum, axes: [0, 1], keepsDimensions: false)), products)
    let derivative = try graph.differentiating([DerivativeTarget(sum)], withRespectTo: [gated.unitGates])
    graph = derivative.graph
    let gradient = derivative.gradients[gated.unitGates] ?? gated.unitGates
    graph.outputs = [gradient]
    return (Program(graph.pruned()), gated, direction, gradient)
  }

  /// F of every unit, region by region.
  /// - Parameters:
  ///   - dense: the dense network's logits of every region's samples.
  ///   - progress: told after each draw.
  package func information(
    of batches: RegionBatches, dense: [[[Float]]], draws: Int, seed: UInt64, progress: (Int) -> Void
  ) async throws -> [[Double]] {
    // A generator for each region, so that a region gives the same alone and among others.
    var generators = dense.map { _ in SeededGenerator(seed: seed) }
    var information = [[Double]](repeating: [], count: dense.count)
    for draw in 0..<draws {
      let rows = dense.indices.map { region in
        dense[region].map { Self.direction(ofLogits: $0, &generators[region]) }
      }
      var sums = [[Double]](repeating: [], count: dense.count)
      for (part, batch) in batches.batches(ofStep: 0).enumerated() {
        try await executable.write(batch.samples, to: gated.graph.inputs[0])
        try await executable.write(batches.table(of: rows, inPart: part), to: direction)
        try await executable.run(steps: 1)
        for (region, gradients) in try await executable.read(gradient).rowsOfFloats().enumerated() {
          sums[region].add(gradients.map(Double.init))
        }
      }
      for region in dense.indices { information[region].add(sums[region].map { $0 * $0 / Double(draws) }) }
      progress(draw + 1)
    }
    return information
  }

  /// The gradient of log q_y with respect to the logits, y drawn from q, under a random sign.
  private static func direction(ofLogits logits: [Float], _ generator: inout SeededGenerator) -> [Float] {
    let q = logProbabilities(logits.map { $0 / Float(softness) }).map { exp($0) }
    var left = generator.uniform()
    let sign = generator.uniform() < 0.5 ? -1.0 : 1.0
    let drawn = q.indices.first { index in
      left -= q[index]
      return left < 0
    }
    return q.indices.map { Float(sign * (($0 == drawn ?? q.count - 1 ? 1 : 0) - q[$0]) / softness) }
  }
}

extension [Double] {
  fileprivate mutating func add(_ other: [Double]) {
    self = isEmpty ? other : zip(self, other).map { $0 + $1 }
  }
}

extension Tensor {
  fileprivate init(ones shape: Shape) {
    self.init([Float](repeating: 1, count: shape.elementCount), shape: shape)
  }
}
