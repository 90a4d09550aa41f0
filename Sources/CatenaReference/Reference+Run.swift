import CatenaGraph
import CatenaTensors

extension Reference {
  /// How values are kept between nodes.
  public enum Precision: Sendable, Hashable {
    /// Floating-point values stay in double, inputs and constants included; a cast to f16 or bf16 still rounds. For
    /// central differences.
    case double
    /// Every value is rounded to its declared type.
    case declared
  }

  /// Runs a graph.
  /// - Parameters:
  ///   - inputs: A tensor for every input of the graph, of its type; in `.double` also float64 tensors of its shape.
  ///   - values: The values wanted, the graph's outputs unless given.
  /// - Returns: The wanted values: of their declared types, or float64 for floating-point ones in `.double`.
  /// - Throws: `GraphError` that names the node which cannot be evaluated, or the input that is missing or does not fit.
  public static func run(
    _ graph: Graph, inputs: ValueMap<Tensor>, precision: Precision, values wanted: [ValueID]? = nil
  ) throws(GraphError) -> ValueMap<Tensor> {
    let wanted = ValueSet(wanted ?? graph.outputs)
    var known = graph.constants.mapValues(precision.kept)
    for input in graph.inputs {
      guard let tensor = inputs[input] else {
        throw .invalid("the input \(graph[input].name) (\(input)) is not given")
      }
      let kept = precision.kept(tensor)
      let expected = graph.type(input)
      guard kept.type == TensorType(precision.kept(expected.elementType), expected.shape) else {
        throw .invalid("the input \(graph[input].name) is \(expected), not \(tensor.type)")
      }
      known[input] = kept
    }
    return try run(graph, known: known, precision: precision, values: wanted)
  }

  /// Runs a graph whose inputs and constants are `known`, in the types in which `precision` keeps them.
  package static func run(
    _ graph: Graph, known: ValueMap<Tensor>, precision: Precision, values wanted: ValueSet
  ) throws(GraphError) -> ValueMap<Tensor> {
    var known = known
    let readers = graph.readers()
    for (index, node) in graph.nodes.enumerated() {
      for (output, result) in zip(node.outputs, try evaluate(node, of: graph, known, precision)) {
        known[output] = result
      }
      // What nobody reads any more is freed.
      for value in ValueSet(node.inputs) where readers[value].last == index && !wanted.contains(value) {
        known[value] = nil
      }
    }
    var results: ValueMap<Tensor> = [:]
    for value in wanted {
      guard let result = known[value] else { throw .invalid("the value \(value) is never made") }
      results[value] = result
    }
    return results
  }

  /// The outputs of one node of a graph, kept as `precision` says, from its inputs among `known`.
  package static func evaluate(
    _ node: Node, of graph: Graph, _ known: ValueMap<Tensor>, _ precision: Precision
  ) throws(GraphError) -> [Tensor] {
    var operands: [Tensor] = []
    for input in node.inputs {
      guard let tensor = known[input] else {
        throw .invalid("\(node.operation.name) reads \(graph[input].name) (\(input)) before it is made")
      }
      operands.append(tensor)
    }
    do throws(GraphError) { return try evaluate(precision.kept(node.operation), operands).map(precision.kept) } catch {
      let output = node.outputs.first.map { graph[$0].name } ?? ""
      switch error {
      case .shape(let operation, _, _, let reason):
        throw .shape(operation: operation, output: output, inputs: node.inputs.map { graph[$0] }, reason: reason)
      case .invalid(let reason): throw .invalid("'\(output)': \(reason)")
      }
    }
  }
}

extension Reference.Precision {
  /// The type in which values of `elementType` are kept.
  package func kept(_ elementType: ElementType) -> ElementType {
    self == .double && elementType.isFloatingPoint ? .float64 : elementType
  }

  /// The operator with which values stay in their type: a cast to f32 does not round what is kept in double.
  fileprivate func kept(_ operation: Operator) -> Operator {
    if case .cast(.float32) = operation { .cast(kept(.float32)) } else { operation }
  }

  /// The tensor in the type in which it is kept.
  package func kept(_ tensor: Tensor) -> Tensor { Reference.cast(tensor, to: kept(tensor.elementType)) }
}
