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
/// expectation is estimated from some draws of a class for every sample, each one pass back, in which every sample has
/// gates of its own and so a gradient of its own. A sample's draws are spread over its q: its k-th of n is from the k-th n-th
/// of the classes, one after the other.
package struct GateSensitivity {
  /// By what logits are divided.
  private static let softness = 3.0

  private let executable: any Executable
  private let gated: GatedGraph
  private let direction: ValueID
  private let gradient: ValueID

  /// Compiles the dense network with the gradient of every sample's gates.
  package init(network: ChainNetwork, backend: any Backend, options: CompileOptions) async throws {
    let (program, gated, direction, gradient) = try Self.program(network: network)
    (self.gated, self.direction, self.gradient) = (gated, direction, gradient)
    executable = try await backend.compile(program, options: options)
    try await executable.write(Tensor(ones: gated.graph.shape(gated.scores)), to: gated.scores)
    if let blocks = gated.blockScores {
      try await executable.write(Tensor(ones: gated.graph.shape(blocks)), to: blocks)
    }
  }

  /// The program whose gradient is that of a linear function of the logits.
  static func program(
    network: ChainNetwork
  ) throws -> (program: Program, gated: GatedGraph, direction: ValueID, gradient: ValueID) {
    let samples = network.graph.shape(network.graph.inputs[0])[0]
    let gated = try network.graph.gated(network.sites, regions: samples, parametrization: .identity)
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
    let none = [Double](repeating: 0, count: gated.sites.unitCount)
    var information = [[Double]](repeating: none, count: dense.count)
    for draw in 0..<draws {
      let rows = dense.indices.map { region in
        dense[region].map { logits in
          let quantile = (Double(draw) + generators[region].uniform()) / Double(draws)
          return Self.direction(ofLogits: logits, quantile)
        }
      }
      for (part, batch) in batches.batches(ofStep: 0).enumerated() {
        try await executable.write(batch.samples, to: gated.graph.inputs[0])
        try await executable.write(batches.table(of: rows, inPart: part), to: direction)
        try await executable.run(steps: 1)
        for (row, gradients) in try await executable.read(gradient).rowsOfFloats().enumerated() {
          information[row * dense.count / batches.samplesPerRun].addSquares(of: gradients, factor: 1 / Double(draws))
        }
      }
      progress(draw + 1)
    }
    return information
  }

  /// The gradient of log q_y with respect to the logits, y the class at this quantile of q.
  private static func direction(ofLogits logits: [Float], _ quantile: Double) -> [Float] {
    let q = logProbabilities(logits.map { $0 / Float(softness) }).map { exp($0) }
    var left = quantile
    let drawn = q.indices.first { index in
      left -= q[index]
      return left < 0
    }
    return q.indices.map { Float((($0 == drawn ?? q.count - 1 ? 1 : 0) - q[$0]) / softness) }
  }
}

extension [Double] {
  fileprivate mutating func addSquares(of numbers: [Float], factor: Double) {
    for (index, number) in numbers.enumerated() { self[index] += factor * Double(number) * Double(number) }
  }
}

extension Tensor {
  fileprivate init(ones shape: Shape) {
    self.init([Float](repeating: 1, count: shape.elementCount), shape: shape)
  }
}
