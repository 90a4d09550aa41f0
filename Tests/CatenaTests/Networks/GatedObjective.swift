import Catena
import CatenaReference

/// A gated network's objective, the mean of KL(p || p_gated) over the samples, with all its gradients.
struct GatedObjective {
  private var graph: Graph
  private let input: ValueID
  private let target: ValueID
  private let dense: ValueID
  private let gated: GatedGraph
  private let values: [ValueID]
  /// What is gated.
  let sites: GateSites

  /// Where the derivative jumps: rectifiers, clips and maximum pools.
  let kinks: [Kink]

  /// A place where the network is not smooth.
  struct Kink {
    /// The ONNX name of what the node computes.
    let name: String
    /// What tells the side: an activation's own results, or what a pool reads.
    let value: ValueID
    /// The bounds of an activation; `nil` for a pool.
    let bounds: (minimum: Float, maximum: Float?)?
  }

  /// What a run gives; the names are those of the peer's file.
  static let names = ["kl", "logits", "grad_input", "grad_a", "grad_c"]

  /// The objective of `network`, whose gates are sigmoids of their scores.
  init(_ network: Graph, gateGradients: GradientRules.GateGradients = .fromOutput) throws {
    sites = network.gateSites()
    gated = try network.gated(sites)
    graph = gated.graph
    kinks = graph.nodes.compactMap { [graph] node in
      let name = graph[node.outputs[0]].name
      switch node.operation {
      case .unary(.relu): return Kink(name: name, value: node.outputs[0], bounds: (0, nil))
      case .unary(.clip(let minimum, let maximum)):
        return Kink(name: name, value: node.outputs[0], bounds: (minimum, maximum))
      case .pool(let pool) where pool.kind == .maximum: return Kink(name: name, value: node.inputs[0], bounds: nil)
      default: return nil
      }
    }
    input = network.inputs[0]
    dense = network.outputs[0]
    let logits = graph.outputs[0]
    let type = graph.type(logits)
    target = graph.addInput("target", type)
    let logGated = try graph.add(.logSoftmax(axes: [1]), logits)
    let distance = try graph.add(.binary(.subtract), target, logGated)
    let terms = try graph.add(.binary(.multiply), graph.add(.unary(.exponential), target), distance)
    let sum = try graph.add(.reduce(Reduce(.sum, axes: [0, 1], keepsDimensions: false)), terms)
    let count = graph.addConstant("samples", Tensor(scalar: Float(type.shape[0])))
    let divergence = try graph.add(.binary(.divide), sum, count)
    let sources = [input, gated.scores] + (gated.blockScores.map { [$0] } ?? [])
    let derivative = try graph.differentiating(
      [DerivativeTarget(divergence)], withRespectTo: sources, rules: GradientRules(gateGradients: gateGradients))
    graph = derivative.graph
    values = [divergence, logits] + sources.compactMap { derivative.gradients[$0] }
  }

  /// Runs it on samples; the target is the dense network's. `sides` are the values of the kinks, in their order, where
  /// they are asked for.
  func results(
    _ network: Graph, _ samples: Tensor, _ scores: Tensor, _ blockScores: Tensor?, withSides: Bool = false,
    on backend: any Backend
  ) async throws -> (results: [String: Tensor], sides: [Tensor]) {
    let logits = try await Run.values([dense], of: network, [input: samples], on: backend)[0]
    let target = Tensor(rows: logits.rows.map { logProbabilities($0).map(Float.init) })
    let inputs = inputs(samples, scores, blockScores, target: target)
    let found = try await Run.values(values + (withSides ? kinks.map(\.value) : []), of: graph, inputs, on: backend)
    return (Dictionary(uniqueKeysWithValues: zip(Self.names, found)), Array(found.dropFirst(values.count)))
  }

  /// The same graph by the literal kernels in double precision, towards a given target.
  func exactResults(
    _ samples: Tensor, _ scores: Tensor, _ blockScores: Tensor?, target: Tensor
  ) throws -> [String: Tensor] {
    let inputs = inputs(samples, scores, blockScores, target: target)
    var pruned = graph
    pruned.outputs = values
    pruned = pruned.pruned()
    let found = try Reference.run(pruned, inputs: inputs, precision: .double)
    return Dictionary(uniqueKeysWithValues: zip(Self.names, values.compactMap { found[$0] }))
  }

  private func inputs(
    _ samples: Tensor, _ scores: Tensor, _ blockScores: Tensor?, target: Tensor
  ) -> ValueMap<Tensor> {
    var inputs: ValueMap = [input: samples, self.target: target, gated.scores: scores]
    if let id = gated.blockScores, let blockScores { inputs[id] = blockScores }
    return inputs
  }
}
