import CatenaCompute
import CatenaGraph
import CatenaTensors

/// A trace: the network with the connections that serve one picture.
public struct TraceResult: Sendable {
  /// A layer of a trace.
  public struct Layer: Sendable {
    /// The node's first output in the source file.
    public var name: String
    /// The part that was to be removed.
    public var ratio: Double
    /// The weights in the trace, in the constant's own shape.
    public var weights: Tensor
    /// What the solver says; `nil` for a layer that was left dense because its ratio is 0.
    public var solution: PrunedLayer?

    /// Whether each connection is left: its weight is not zero.
    public var connections: [Bool] { weights.floats.map { $0 != 0 } }
  }
  /// The sample's name.
  public var sampleName: String
  /// SHA-256 of its pixels.
  public var pixelDigest: String
  /// The traced network, for the batch that it was extracted with.
  public var graph: Graph
  /// Every layer that can be pruned.
  public var layers: [Layer]
  /// Whether the network's answers survive.
  public var fidelity: TraceFidelity
  /// Bytes that were planned before the run.
  public var plannedBytes: Int
}

/// What becomes of the dense network's answers in a trace.
public struct TraceFidelity: Sendable, Hashable, Codable {
  /// The dense network's class for the sample: the one to explain.
  public var denseClass: Int
  /// The trace's class for the sample.
  public var traceClass: Int
  /// Whether they agree.
  public var keepsPrediction: Bool
  /// The largest difference of the sample's logits, relative to the range of the dense ones.
  public var logitDifference: Double
  /// The cosine of the angle between both networks' logits of the sample.
  public var logitCosine: Double
  /// How many augmentations were run through the trace.
  public var augmentations: Int
  /// The part of these that keep the dense network's class; `nil` when there are none.
  public var agreement: Double?
  /// The mean of the relative differences of the logits on these; `nil` when there are none.
  public var meanLogitDifference: Double?

  /// Compares logits, the sample's first and then the augmentations'.
  init(dense: [[Float]], trace: [[Float]]) {
    denseClass = dense[0].largestIndex
    traceClass = trace[0].largestIndex
    keepsPrediction = denseClass == traceClass
    logitDifference = relativeDifference(dense[0], trace[0])
    logitCosine = cosine(dense[0], trace[0])
    augmentations = dense.count - 1
    guard augmentations > 0 else { return }
    let pairs = zip(dense, trace).dropFirst()
    agreement = Double(pairs.filter { $0.largestIndex == $1.largestIndex }.count) / Double(augmentations)
    meanLogitDifference = pairs.reduce(0) { $0 + relativeDifference($1.0, $1.1) } / Double(augmentations)
  }
}

extension [Float] {
  /// The first of the largest elements.
  fileprivate var largestIndex: Int { indices.max { self[$0] < self[$1] || (self[$0] == self[$1] && $0 > $1) } ?? 0 }
}

private func relativeDifference(_ dense: [Float], _ trace: [Float]) -> Double {
  let range = Double((dense.max() ?? 0) - (dense.min() ?? 0))
  let difference = zip(dense, trace).map { Double(abs($0 - $1)) }.max() ?? 0
  return range > 0 ? difference / range : difference
}

private func cosine(_ left: [Float], _ right: [Float]) -> Double {
  func product(_ a: [Float], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
  let length = (product(left, left) * product(right, right)).squareRoot()
  return length > 0 ? product(left, right) / length : 0
}
