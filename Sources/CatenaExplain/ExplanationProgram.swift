import CatenaAutodiff
import CatenaCompute
import CatenaGraph
import CatenaReference
import CatenaTensors

/// What a compiled program computes.
enum ProgramKind: Sendable, Hashable {
  /// The logits.
  case forward
  /// The logits and one layer's value.
  case layer(String?)
  /// The logits and the gradient of the seeded logits.
  case gradient
  case guidedBackpropagation
  case deconvolution
  /// The logits, a layer's value and the gradient with respect to it.
  case layerGradient(String?)
  /// The logits, and multipliers against a reference run.
  case deepLIFT
  /// The logits, the relevance of the input and the leak.
  case relevance(RelevanceKind)
}

/// The variant of relevance propagation.
struct RelevanceKind: Sendable, Hashable {
  /// `nil` for alpha 1 beta 0.
  var epsilon: Double?
  var biasesShare: Bool
  var bounds: InputBounds?
}

/// A graph for one kind of program, with the values that go in and come out.
struct ExplanationGraph {
  var graph: Graph
  let input: ValueID
  let logits: ValueID
  /// What flows into the logits, of their type.
  private(set) var seed: ValueID?
  /// DeepLIFT's baseline, of the input's type.
  private(set) var reference: ValueID?
  /// The kind's own outputs, in the order in which its case names them.
  private(set) var results: [ValueID] = []

  init(_ kind: ProgramKind, of network: ExplainedNetwork, for method: AttributionMethod) throws(ExplanationError) {
    graph = network.graph
    input = network.input
    logits = network.logits
    switch kind {
    case .forward: break
    case .layer(let name): results = [try network.layer(named: name)]
    case .gradient: try differentiate(GradientRules(), method)
    case .guidedBackpropagation: try differentiate(GuidedBackpropagationRules(), method)
    case .deconvolution: try differentiate(DeconvolutionRules(), method)
    case .layerGradient(let name):
      let layer = try network.layer(named: name)
      results = [layer]
      try differentiate(GradientRules(), method, withRespectTo: layer)
    case .deepLIFT: try addDeepLIFT(method)
    case .relevance(let kind): try addRelevance(kind, method)
    }
    graph.outputs = [logits] + results
    graph = graph.pruned()
  }

  private mutating func differentiate(
    _ rules: any DerivativeRules, _ method: AttributionMethod, withRespectTo source: ValueID? = nil,
    cotangent: ValueID? = nil, pairs: ValueMap<ValueID> = [:]
  ) throws(ExplanationError) {
    let flow: ValueID
    if let cotangent { flow = cotangent } else { flow = addSeed() }
    let source = source ?? input
    do throws(DifferentiationError) {
      let result = try graph.differentiating(
        [.init(logits, cotangent: flow)], withRespectTo: [source], rules: rules, pairedValues: pairs)
      graph = result.graph
      guard let gradient = result.gradients[source] else { preconditionFailure("a wanted gradient is returned") }
      results.append(gradient)
    } catch { throw .unsupportedMethod(method, error) }
  }

  private mutating func addSeed() -> ValueID {
    let value = graph.addInput("seed", graph.type(logits))
    seed = value
    return value
  }

  private mutating func addDeepLIFT(_ method: AttributionMethod) throws(ExplanationError) {
    let baseline = graph.addInput("reference", graph.type(input))
    reference = baseline
    let pairs: ValueMap<ValueID>
    do throws(GraphError) { (graph, pairs) = try graph.appendingCopy(replacing: [input: baseline]) } catch {
      throw .graph(error)
    }
    guard let pairedLogits = pairs[logits] else { throw .unsuitableNetwork("the logits do not depend on the input") }
    results = [pairedLogits]
    try differentiate(DeepLIFTRules(), method, pairs: pairs)
  }

  private mutating func addRelevance(_ kind: RelevanceKind, _ method: AttributionMethod) throws(ExplanationError) {
    let leaks = RelevanceLeaks()
    let start: ValueID
    var bounds: RelevanceRules.Bounds?
    let seed = addSeed()
    do throws(GraphError) {
      graph = try graph.foldingConstants().foldingBatchNormalizations()
      start = try graph.add(.binary(.multiply), seed, logits)
    } catch { throw .graph(error) }
    if let given = kind.bounds { bounds = try addBounds(given) }
    let rules: any DerivativeRules =
      if let epsilon = kind.epsilon {
        EpsilonRelevanceRules(epsilon: epsilon, leaks: leaks)
      } else {
        RelevanceRules(biasesShare: kind.biasesShare, bounds: bounds, leaks: leaks)
      }
    try differentiate(rules, method, cotangent: start)
    do throws(GraphError) { results.append(try leaks.total(batch: graph.shape(input)[0], in: &graph)) } catch {
      throw .graph(error)
    }
  }

  private mutating func addBounds(_ bounds: InputBounds) throws(ExplanationError) -> RelevanceRules.Bounds {
    let shape = graph.shape(input)
    guard bounds.lowest.count == shape[1] else {
      throw .badArgument("there are bounds of \(bounds.lowest.count) channels; the network reads \(shape[1])")
    }
    var single = shape
    single[0] = 1
    let plane = shape.dimensions.dropFirst(2).reduce(1, *)
    func constant(_ name: String, _ values: [Double]) -> ValueID {
      let elements = values.flatMap { [Float](repeating: Float($0), count: plane) }
      return graph.addConstant(name, Tensor(elements, shape: single))
    }
    return RelevanceRules.Bounds(
      input: input, lowest: constant("lowest", bounds.lowest), highest: constant("highest", bounds.highest))
  }
}
