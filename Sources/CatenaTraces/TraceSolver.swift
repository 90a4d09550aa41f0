/// Which solver chooses the connections of a trace and updates those that stay (ALGORITHMS, sections 2.1 and 2.2).
public enum TraceSolver: String, Sendable, Hashable, Codable, CaseIterable {
  /// Column by column with a damped Hessian, a SparseGPT variant (SPADE, FastSPADE).
  case fast
  /// Greedy optimal brain surgeon in every row with a layer-wide budget (SPADE, Optimal Brain Compression).
  case exact
}
