import CatenaExplain
import CatenaFormats
import CatenaTraces

extension TrojanEvaluation.Column {
  /// A column that explains every picture on a trace of its own, named after the solver.
  /// - Parameters:
  ///   - extractor: Makes the traces, from the triggered picture at the network's size.
  ///   - explainer: Prepares explanations of a traced network.
  /// - Throws: `TraceError`, `ComputeError`.
  public static func traced(
    by extractor: TraceExtractor, explainer: @escaping @Sendable (ONNXModel) throws -> Explainer
  ) async throws -> TrojanEvaluation.Column {
    let session = try await extractor.session()
    return TrojanEvaluation.Column(name: extractor.settings.solver.rawValue) { index, picture in
      let result = try await session.trace(of: TraceSample(name: "picture \(index)", image: picture))
      return try explainer(try extractor.network.model.sliced(to: result.graph, from: extractor.network.graph))
    }
  }
}
