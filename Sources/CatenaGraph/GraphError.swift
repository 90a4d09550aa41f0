import CatenaTensors

/// What is wrong with the operands of one operator.
public struct ShapeError: Error, Hashable {
  /// The violated rule, with the numbers.
  public let reason: String

  /// A violated rule.
  public init(_ reason: String) { self.reason = reason }
}

/// A graph that cannot be.
public enum GraphError: Error, Hashable, CustomStringConvertible {
  /// A node's operands do not fit its operator.
  case shape(operation: String, output: String, inputs: [Value], reason: String)
  /// A value that should exist does not, or a graph breaks an invariant.
  case invalid(String)

  /// What was wrong and where.
  public var description: String {
    switch self {
    case .shape(let operation, let output, let inputs, let reason):
      let operands = inputs.map { "\($0.name): \($0.type)" }.joined(separator: ", ")
      return "\(operation)\(output.isEmpty ? "" : " '\(output)'") (\(operands)): \(reason)"
    case .invalid(let reason): return reason
    }
  }
}
