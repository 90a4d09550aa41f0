import CatenaTensors

/// One kernel of a compiled program, as plans and profiles show it.
public struct KernelRecord: Sendable, Hashable, Codable {
  /// The name of the value that it makes.
  public var name: String
  /// What it computes: operators joined by `+` where several were fused.
  public var kind: String
  /// The shape of the value that it makes.
  public var shape: Shape
  /// Which code runs: a library's implementation name, or `catena`.
  public var implementation: String
  /// Floating-point operations of the mixing operators; 0 for kernels bound by memory.
  public var operations: Int
  /// Bytes read and written, each tensor counted once.
  public var bytes: Int
}
