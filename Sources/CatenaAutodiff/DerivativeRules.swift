import CatenaGraph

/// Says, node by node, what flows back from a node's outputs to its inputs.
///
/// The plain derivative is one such set of rules (`GradientRules`); guided backpropagation, layer-wise relevance
/// propagation and DeepLIFT are others, which usually treat a few operators themselves and leave the rest to
/// `GradientRules`.
public protocol DerivativeRules: Sendable {
  /// Adds the nodes that compute what flows back through one node.
  ///
  /// A rule may add forward nodes and derived constants to `graph` as it needs them; it reads the node's constants from
  /// `graph.constants`.
  /// - Returns: one entry per input of the node: the value to be added to what flows into that input, of the input's
  ///   type, or `nil` for nothing. Entries of inputs that are not wanted are ignored.
  /// - Throws: `GraphError` when the rules have nothing for this node; its description becomes the reason in
  ///   `DifferentiationError.noDerivative`.
  func contributions(at site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?]
}

/// What a derivative rule sees of the node it is asked about.
public struct DerivativeSite: Sendable {
  /// The node; its inputs and outputs are the forward values.
  public let node: Node
  /// What flows into each output of the node; `nil` where nothing does. At least one is not `nil`.
  public let incoming: [ValueID?]
  /// Whether the flow into each input is asked for.
  public let wanted: [Bool]
  /// The value of a paired reference run that corresponds to each forward value (see `Graph.appendingCopy`); values
  /// that are missing are the same in both runs.
  public let pairedValues: ValueMap<ValueID>

  /// The node's operator.
  public var operation: Operator { node.operation }

  /// The value of the reference run that corresponds to `value`, or `value` itself where both runs share it.
  public func paired(_ value: ValueID) -> ValueID { pairedValues[value] ?? value }

  /// What flows into the node's only output.
  /// - Precondition: the node has one output.
  public var cotangent: ValueID {
    precondition(incoming.count == 1, "\(node.operation.name) has \(incoming.count) outputs")
    guard let only = incoming[0] else { preconditionFailure("a node into which nothing flows was asked about") }
    return only
  }
}

/// Why a graph could not be differentiated.
public enum DifferentiationError: Error, CustomStringConvertible, Hashable {
  /// A node on the way for which the rules have nothing.
  public struct MissingRule: Sendable, Hashable {
    /// The name of the node's first output.
    public var output: String
    /// The operator's name.
    public var operation: String
    /// Why there is no rule.
    public var reason: String
  }
  /// All nodes between the targets and the wanted values that the rules cannot treat.
  case noDerivative([MissingRule])
  /// A target with more than one element needs a cotangent of its own type.
  case cotangent(target: Value, cotangent: Value?)
  /// A target or a wanted value does not hold floating-point numbers.
  case notFloatingPoint(Value)

  /// What was wrong and where.
  public var description: String {
    switch self {
    case .noDerivative(let missing):
      "no derivative rule for \(missing.count) node(s):\n  "
        + missing.map { "'\($0.output)' (\($0.operation)): \($0.reason)" }.joined(separator: "\n  ")
    case .cotangent(let target, nil):
      "the target '\(target.name)' (\(target.type)) is no scalar: give the quantity to propagate back from it"
    case .cotangent(let target, let cotangent?):
      "what is to be propagated back from '\(target.name)' (\(target.type)) has the type \(cotangent.type)"
    case .notFloatingPoint(let value): "'\(value.name)' (\(value.type)) has no derivative: it holds no real numbers"
    }
  }
}
