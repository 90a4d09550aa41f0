import CatenaAutodiff
import CatenaCompute
import CatenaFormats
import CatenaGraph

/// Why something could not be explained.
public enum ExplanationError: Error, CustomStringConvertible {
  /// The network does not have the form that explanations need.
  case unsuitableNetwork(String)
  /// The method cannot go through some of the network's operators; each is named.
  case unsupportedMethod(AttributionMethod, DifferentiationError)
  /// An argument makes no sense for this network: a class that it lacks, a layer of no such name.
  case badArgument(String)
  /// The samples are not what the network reads.
  case unsuitableSamples(String)
  /// The model file.
  case model(ONNXError)
  /// A rewrite of the graph failed.
  case graph(GraphError)
  /// The device.
  case compute(ComputeError)

  /// Whether another method may do: the network has something that this one cannot go through, or lacks what it needs.
  var isOfMethodAlone: Bool {
    switch self {
    case .unsupportedMethod, .unsuitableNetwork: true
    default: false
    }
  }

  /// What was wrong, where, and what to do.
  public var description: String {
    switch self {
    case .unsuitableNetwork(let reason), .badArgument(let reason), .unsuitableSamples(let reason): reason
    case .unsupportedMethod(let method, let error): "\(method.rawValue) cannot explain this network: \(error)"
    case .model(let error): "\(error)"
    case .graph(let error): "\(error)"
    case .compute(let error): "\(error)"
    }
  }
}
