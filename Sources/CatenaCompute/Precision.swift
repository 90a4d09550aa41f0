/// The arithmetic that matrix products and convolutions may use. Everything else is computed in f32, and all products
/// are accumulated in f32.
///
/// A permission, not an order: a back end uses the faster of what it has and what is allowed, and says which.
public enum Precision: String, Sendable, Hashable, Codable, CaseIterable {
  /// Factors of 32 bits: 24 bits of significand.
  case f32
  /// Factors rounded to 11 bits of significand with the range of f32, as the tensor cores of NVIDIA GPUs multiply them.
  case tf32
  /// Factors rounded to bfloat16: 8 bits of significand with the range of f32.
  case bf16
}
