import CatenaGraph
import CatenaTensors

/// A value from which something is propagated back.
public struct DerivativeTarget: Sendable, Hashable {
  /// The value.
  public var value: ValueID
  /// What flows into it, of the same type: a gradient to be continued, or a selection of outputs. `nil`, for a value of
  /// one element only, means 1.
  public var cotangent: ValueID?

  /// A target.
  public init(_ value: ValueID, cotangent: ValueID? = nil) {
    self.value = value
    self.cotangent = cotangent
  }
}

/// A graph with its derivative.
public struct DifferentiatedGraph: Sendable {
  /// The graph, its own nodes unchanged, followed by the backward nodes.
  public var graph: Graph
  /// The gradient of the targets with respect to each wanted value, of that value's type.
  public var gradients: ValueMap<ValueID>
}

extension Graph {
  /// Appends the derivative of `targets` (of their sum, where there are several) with respect to some values.
  ///
  /// Vector-Jacobian products in reverse order of the nodes. Only nodes on a path from a wanted value to a target are
  /// visited; contributions to one value are added. A value that no target depends on gets a constant of zeros. A
  /// wanted value may be an input, a constant or an intermediate value. The graph's outputs stay as they are.
  /// - Parameters:
  ///   - targets: The values that are differentiated.
  ///   - sources: The values with respect to which they are.
  ///   - rules: What flows back through each node.
  ///   - pairedValues: Values of a reference run in the same graph, for rules that compare two runs.
  /// - Throws: `DifferentiationError`; `.noDerivative` lists every node on the way that has no rule.
  public func differentiating(
    _ targets: [DerivativeTarget], withRespectTo sources: [ValueID], rules: any DerivativeRules = GradientRules(),
    pairedValues: ValueMap<ValueID> = [:]
  ) throws(DifferentiationError) -> DifferentiatedGraph {
    for id in targets.map(\.value) + sources where !type(id).elementType.isFloatingPoint {
      throw .notFloatingPoint(self[id])
    }
    var pass = BackwardPass(graph: self, active: valuesDepending(on: sources), pairedValues: pairedValues)
    for target in targets { try pass.seed(target) }
    for node in nodes.reversed() { pass.visit(node, rules: rules) }
    if !pass.missing.isEmpty { throw .noDerivative(pass.missing.reversed()) }
    var gradients: ValueMap<ValueID> = [:]
    for source in sources { gradients[source] = pass.gradient(of: source) }
    return DifferentiatedGraph(graph: pass.graph, gradients: gradients)
  }

  /// The floating-point values through which a change of `sources` can be felt continuously.
  private func valuesDepending(on sources: [ValueID]) -> ValueSet {
    var active = ValueSet(sources)
    for node in nodes where node.inputs.contains(where: active.contains) {
      active.formUnion(node.outputs.filter { type($0).elementType.isFloatingPoint })
    }
    return active
  }

  /// Appends a second forward run: copies of the nodes that depend on replaced values.
  ///
  /// DeepLIFT's reference run is the copy in which the input is replaced by the baseline.
  /// - Parameter replacements: The values to be replaced, and by what, of the same type.
  /// - Returns: the graph, and the copy's value for every value that differs between the two runs.
  public func appendingCopy(
    replacing replacements: ValueMap<ValueID>
  ) throws(GraphError) -> (graph: Graph, pairedValues: ValueMap<ValueID>) {
    var graph = self
    var paired = replacements
    for (old, new) in replacements {
      precondition(type(old) == type(new), "\(type(old)) cannot be replaced by \(type(new))")
    }
    for node in nodes where node.inputs.contains(where: { paired[$0] != nil }) {
      let copies = try graph.add(
        node.operation, inputs: node.inputs.map { paired[$0] ?? $0 },
        names: node.outputs.map { "\(self[$0].name)/reference" }, source: node.source)
      for (output, copy) in zip(node.outputs, copies) where replacements[output] == nil { paired[output] = copy }
    }
    return (graph, paired)
  }
}

/// The state of one walk from the targets back to the wanted values.
private struct BackwardPass {
  private(set) var graph: Graph
  private(set) var missing: [DifferentiationError.MissingRule] = []
  private let active: ValueSet
  private let pairedValues: ValueMap<ValueID>
  private var flows: ValueMap<ValueID> = [:]

  init(graph: Graph, active: ValueSet, pairedValues: ValueMap<ValueID>) {
    self.graph = graph
    self.active = active
    self.pairedValues = pairedValues
  }

  mutating func seed(_ target: DerivativeTarget) throws(DifferentiationError) {
    let type = graph.type(target.value)
    let cotangent: ValueID
    if let given = target.cotangent {
      guard graph.type(given) == type else {
        throw .cotangent(target: graph[target.value], cotangent: graph[given])
      }
      cotangent = given
    } else {
      guard type.shape.elementCount == 1 else { throw .cotangent(target: graph[target.value], cotangent: nil) }
      cotangent = graph.addFilled(1, type, name: "\(graph[target.value].name)/seed")
    }
    accumulate(cotangent, into: target.value)
  }

  mutating func visit(_ node: Node, rules: any DerivativeRules) {
    let incoming = node.outputs.map { flows[$0] }
    guard incoming.contains(where: { $0 != nil }), node.inputs.contains(where: active.contains) else { return }
    let site = DerivativeSite(
      node: node, incoming: incoming, wanted: node.inputs.map(active.contains), pairedValues: pairedValues)
    do throws(GraphError) {
      let contributions = try rules.contributions(at: site, in: &graph)
      precondition(contributions.count == node.inputs.count, "a rule answers for every input of \(node.operation.name)")
      for case (let input, let contribution?) in zip(node.inputs, contributions) where active.contains(input) {
        accumulate(contribution, into: input)
      }
    } catch {
      missing.append(
        .init(output: graph[node.outputs[0]].name, operation: node.operation.name, reason: error.description))
      // The graph is lost, but the walk goes on behind the node, so that all missing rules are named at once.
      for input in node.inputs where active.contains(input) && flows[input] == nil { flows[input] = input }
    }
  }

  mutating func gradient(of source: ValueID) -> ValueID {
    flows[source] ?? graph.addFilled(0, graph.type(source), name: "\(graph[source].name)/gradient")
  }

  private mutating func accumulate(_ contribution: ValueID, into value: ValueID) {
    guard active.contains(value) else { return }
    precondition(
      graph.type(contribution) == graph.type(value),
      "\(graph.type(contribution)) flows into '\(graph[value].name)' (\(graph.type(value)))")
    guard let flow = flows[value] else {
      flows[value] = contribution
      return
    }
    do throws(GraphError) {
      flows[value] = try graph.add(.binary(.add), flow, contribution, name: "\(graph[value].name)/gradient")
    } catch {
      preconditionFailure("equal types can be added: \(error)")
    }
  }
}
