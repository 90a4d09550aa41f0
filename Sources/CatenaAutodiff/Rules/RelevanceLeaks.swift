import CatenaGraph
import CatenaTensors
import Synchronization

/// Collects, while a graph is differentiated, the relevance that does not reach the inputs of its nodes.
///
/// Rules record one value per node; `total` adds them up per sample. For one differentiation only: the values belong to
/// its graph.
public final class RelevanceLeaks: Sendable {
  private let recorded = Mutex<[ValueID]>([])

  /// Nothing recorded yet.
  public init() {}

  /// Notes that the elements of `value`, N first, were lost.
  package func record(_ value: ValueID) { recorded.withLock { $0.append(value) } }

  /// The sum of all that was recorded, one number per sample.
  public func total(batch: Int, in graph: inout Graph) throws(GraphError) -> ValueID {
    var total = graph.addFilled(0, TensorType(.float32, [batch]), name: "leak")
    for value in recorded.withLock({ $0 }) {
      let shape = graph.shape(value)
      guard shape.rank > 0, shape[0] == batch else {
        throw .invalid(
          "relevance is lost in '\(graph[value].name)', \(shape), whose first axis is not that of the \(batch) images: "
            + "what leaks of each cannot be told. Methods other than relevance propagation explain this network")
      }
      let axes = Array(1..<shape.rank)
      let sum =
        axes.isEmpty ? value : try graph.add(.reduce(Reduce(.sum, axes: axes, keepsDimensions: false)), value)
      total = try graph.sum(total, sum)
    }
    return total
  }
}
