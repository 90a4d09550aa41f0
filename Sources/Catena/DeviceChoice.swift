import CatenaCompute

/// Where to compute, as the command line names it.
public enum DeviceChoice: Sendable, Hashable, CustomStringConvertible {
  /// The best OpenCL GPU, else the CPU.
  case automatic
  /// The CPU back end.
  case cpu
  /// An OpenCL device of any type, by its index in the list of devices.
  case openCL(index: Int)
  /// The slow, literal reference.
  case reference

  /// Reads `auto`, `cpu`, `opencl`, `opencl:INDEX` or `reference`.
  public init?(_ text: String) {
    switch text {
    case "auto": self = .automatic
    case "cpu": self = .cpu
    case "opencl": self = .openCL(index: 0)
    case "reference": self = .reference
    default:
      guard text.hasPrefix("opencl:"), let index = Int(text.dropFirst("opencl:".count)), index >= 0 else { return nil }
      self = .openCL(index: index)
    }
  }

  /// The form that `init(_:)` reads.
  public var description: String {
    switch self {
    case .automatic: "auto"
    case .cpu: "cpu"
    case .openCL(let index): "opencl:\(index)"
    case .reference: "reference"
    }
  }
}
