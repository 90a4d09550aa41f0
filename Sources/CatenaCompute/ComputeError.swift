import CatenaGraph

/// What can go wrong when a graph is compiled or run.
public enum ComputeError: Error, CustomStringConvertible {
  /// Nodes that the back end has no kernel for, each with the reason.
  case unsupported(backend: String, nodes: [String])
  /// More memory is needed than may be had.
  case outOfMemory(requested: Int, available: Int, device: String)
  /// A library or driver call failed.
  case callFailed(call: String, code: String, device: String, detail: String)
  /// The device was lost.
  case deviceLost(device: String, detail: String)
  /// No device of the wanted kind can be used.
  case noDevice(reason: String)
  /// The task was cancelled.
  case cancelled
  /// The graph breaks an invariant.
  case invalidGraph(GraphError)
  /// A tensor was written or a value read that the program does not have, or of another type.
  case mismatch(String)

  /// What was wrong, where, and what to do.
  public var description: String {
    switch self {
    case .unsupported(let backend, let nodes):
      "the \(backend) back end cannot run \(nodes.count) node(s):\n  " + nodes.joined(separator: "\n  ")
    case .outOfMemory(let requested, let available, let device):
      "\(device): \(requested) bytes are needed and \(available) may be used; use a smaller batch (--batch) or allow "
        + "more (--memory)"
    case .callFailed(let call, let code, let device, let detail):
      "\(device): \(call) failed with \(code)\(detail.isEmpty ? "" : ": \(detail)")"
    case .deviceLost(let device, let detail): "\(device) was lost: \(detail)"
    case .noDevice(let reason): "no device can be used: \(reason)"
    case .cancelled: "cancelled"
    case .invalidGraph(let error): error.description
    case .mismatch(let reason): reason
    }
  }
}
