import CatenaAutodiff
import CatenaChains
import CatenaCompute
import CatenaGraph
import CatenaReference
import CatenaTensors

/// Scores of every unit of a network by which common pruning criteria rank them; larger is more important. They compare
/// within a layer.
public struct UnitScores: Sendable, Hashable {
  /// The L1 norm of the unit's weights (Li et al., *Pruning Filters for Efficient ConvNets*, ICLR 2017); no samples
  /// are needed.
  public var magnitude: [Double]
  /// The mean absolute activation on the samples.
  public var activation: [Double]
  /// The mean over the samples of |sum over positions of a dL/da|, the first-order change of the loss when the unit is
  /// removed (Molchanov et al., *Pruning Convolutional Neural Networks for Resource Efficient Inference*, ICLR 2017).
  ///
  /// L is the cross-entropy of the class that the dense network itself predicts: the divergence from its own outputs
  /// has no first-order term there.
  public var taylor: [Double]
}

/// Computes unit scores of the dense network: activations and gradients of every sample on its own, as the regions of
/// one gated program.
public final class UnitScorer: Sendable {
  private let network: ChainNetwork
  private let executable: any Executable
  private let gated: GatedGraph
  private let samples: ValueID
  private let classes: ValueID
  private let activation: ValueID
  private let gradient: ValueID

  /// Compiles the dense network, its batch one region per sample, with the gradient of its gates.
  public init(network: ChainNetwork, backend: any Backend, options: CompileOptions) async throws {
    self.network = network
    gated = try network.graph.gated(network.sites, regions: network.batch, parametrization: .identity)
    samples = gated.graph.inputs[0]
    var graph = gated.graph
    activation = try graph.addMeanActivations(of: gated, samples: network.batch)
    classes = graph.addInput("predicted classes", TensorType(.float32, graph.logitTable(network.batch)))
    let loss = try graph.addCrossEntropy(of: graph.outputs[0], classes: classes)
    let derivative = try graph.differentiating([DerivativeTarget(loss)], withRespectTo: [gated.unitGates])
    graph = derivative.graph
    gradient = derivative.gradients[gated.unitGates] ?? gated.unitGates
    graph.outputs = [activation, gradient]
    executable = try await backend.compile(Program(graph.pruned()), options: options)
  }

  /// The scores on `samples`, for which the dense network gives `logits`.
  public func scores(of samples: Tensor, logits: [[Float]]) async throws -> UnitScores {
    let dense = UnitMask.dense(network.sites)
    let batch = network.batch
    func rows(_ gates: [Float]) -> Tensor {
      Tensor(Array(repeatElement(gates, count: batch).joined()), shape: [batch, gates.count])
    }
    try await executable.write(rows(dense.units), to: gated.scores)
    if let blockScores = gated.blockScores { try await executable.write(rows(dense.blocks), to: blockScores) }
    var activation = [Double](repeating: 0, count: dense.units.count)
    var taylor = activation
    for range in Batches(size: batch, count: samples.shape[0]).ranges {
      try await executable.write(samples.rows(range, filledTo: batch), to: self.samples)
      try await executable.write(oneHot(range.map { logits[$0] }), to: classes)
      try await executable.run(steps: 1)
      let activations = try await executable.read(self.activation).rowsOfFloats()
      let gradients = try await executable.read(gradient).rowsOfFloats()
      for row in range.indices.map({ $0 - range.lowerBound }) {
        for unit in activation.indices {
          activation[unit] += Double(activations[row][unit]) / Double(samples.shape[0])
          taylor[unit] += Double(abs(gradients[row][unit])) / Double(samples.shape[0])
        }
      }
    }
    return UnitScores(magnitude: try network.weightMagnitudes(), activation: activation, taylor: taylor)
  }

  /// 1 at the class that each row of logits predicts; rows that only fill the batch repeat the last.
  private func oneHot(_ logits: [[Float]]) -> Tensor {
    let width = logits[0].count
    var table = [Float](repeating: 0, count: network.batch * width)
    for row in 0..<network.batch { table[row * width + topClass(of: logits[min(row, logits.count - 1)])] = 1 }
    return Tensor(table, shape: [network.batch, width])
  }
}

extension Graph {
  /// N x K.
  fileprivate func logitTable(_ samples: Int) -> Shape { [samples, shape(outputs[0]).elementCount / samples] }

  /// N x U: the mean of |a| over the positions of every gated value.
  fileprivate mutating func addMeanActivations(of gated: GatedGraph, samples: Int) throws(GraphError) -> ValueID {
    var columns: [ValueID] = []
    for (layer, value) in zip(gated.sites.layers, gated.gatedValues) {
      var size = try add(.unary(.absolute), value)
      let positions = shape(value).dimensions.indices.filter { $0 != 0 && $0 != layer.axis }
      if !positions.isEmpty { size = try add(.reduce(Reduce(.mean, axes: positions, keepsDimensions: false)), size) }
      if shape(size)[0] != samples {
        // Tokens of one sample after another.
        size = try add(.reshape([samples, shape(size)[0] / samples, layer.count]), size)
        size = try add(.reduce(Reduce(.mean, axes: [1], keepsDimensions: false)), size)
      }
      if type(size).elementType != .float32 { size = try add(.cast(.float32), size) }
      columns.append(size)
    }
    return columns.count == 1 ? columns[0] : try add(.concatenate(axis: 1), inputs: columns)[0]
  }

  /// The sum over the samples of -log softmax at `classes`, N x K with one 1 in each row.
  fileprivate mutating func addCrossEntropy(of logits: ValueID, classes: ValueID) throws(GraphError) -> ValueID {
    var table = try reshaped(logits, to: shape(classes))
    if type(table).elementType != .float32 { table = try add(.cast(.float32), table) }
    let terms = try multiply(classes, add(.logSoftmax(axes: [1]), table))
    let sum = try add(.reduce(Reduce(.sum, axes: [0, 1], keepsDimensions: false)), terms)
    return try add(.unary(.negate), sum)
  }
}

extension ChainNetwork {
  /// The L1 norm of every unit's weights, without its bias.
  /// - Throws: `ChainError.mismatch` for weights that depend on samples.
  func weightMagnitudes() throws(ChainError) -> [Double] {
    var magnitudes: [Double] = []
    let constants: ValueMap<Tensor>
    do throws(GraphError) { constants = try graph.foldingConstants().constants } catch {
      throw .mismatch("the weights cannot be told: \(error)")
    }
    for layer in sites.layers {
      let node = graph.nodes[layer.mixing]
      guard let weight = node.inputs.lazy.compactMap({ constants[$0] }).first else {
        throw .mismatch("the weights of '\(layer.name)' are computed while the network runs: they have no magnitude")
      }
      magnitudes += try sums(of: weight, node.operation, layer: layer)
    }
    return magnitudes
  }

  private func sums(of weight: Tensor, _ operation: Operator, layer: UnitLayer) throws(ChainError) -> [Double] {
    let axis: Int
    var groups = 1
    switch operation {
    case .convolution: axis = 0
    case .convolutionTranspose(let transpose): (axis, groups) = (1, transpose.convolution.groups)
    case .gemm(let gemm): axis = gemm.transposeB ? 0 : 1
    default: axis = weight.shape.rank - 1
    }
    let extent = weight.shape[axis]
    guard extent * groups == layer.count else {
      throw .mismatch("'\(layer.name)' has \(layer.count) units but weights of the shape \(weight.shape)")
    }
    // The groups of a transposed convolution lie one after the other along its first axis.
    let inner = weight.shape.count(of: (axis + 1)..<weight.shape.rank)
    let perGroup = weight.elementCount / groups
    var sums = [Double](repeating: 0, count: layer.count)
    for (index, element) in weight.floats.enumerated() {
      sums[index / perGroup * extent + index / inner % extent] += Double(abs(element))
    }
    return sums
  }
}
