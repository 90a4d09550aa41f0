import CatenaCompute
import CatenaExplain
import CatenaFormats
import CatenaTensors
import CatenaTraces

extension TuningScore {
  /// The mean pixel AUC of an evaluation's methods against the trigger's place, on pictures with the trigger in them.
  /// - Parameters:
  ///   - evaluation: The trigger, the methods and their arguments.
  ///   - network: The network whose traces are scored.
  ///   - device: What computes.
  ///   - explainer: Prepares explanations of a traced network.
  public static func triggerArea(
    _ evaluation: TrojanEvaluation, in network: TraceNetwork, on device: DeviceDescription,
    explainer: @escaping @Sendable (ONNXModel) throws -> Explainer
  ) throws -> TuningScore {
    let name = try evaluation.emptyRecord(for: [], of: network.model, control: nil, extractors: [], on: device).key
    return TuningScore(name: "trigger \(name)") { sample, graph, target in
      let traced = try explainer(try network.model.sliced(to: graph, from: network.graph))
      let input = try evaluation.preprocessing.tensor(of: [sample.image]) { _ in sample.name }
      let mask = evaluation.trojan.mask(width: sample.image.width, height: sample.image.height)
      return try await mean(of: evaluation.methods) { method in
        let scores = try await traced.attribution(
          of: input, method: method, targets: [target], settings: evaluation.settings
        ).pixelScores(of: 0, as: evaluation.pixelScore)
        guard let area = PixelMeasures.rocAUC(scores, mask: mask) else {
          preconditionFailure("the patch is a part of the picture")
        }
        return area
      }
    }
  }

  /// The mean insertion score of the maps of some methods, by the dense network, as where no ground truth is known.
  /// - Parameters:
  ///   - methods: The methods.
  ///   - settings: Their arguments.
  ///   - preprocessing: How pictures become inputs.
  ///   - network: The network whose traces are scored.
  ///   - dense: Explains the network itself: it scores.
  ///   - explainer: Prepares explanations of a traced network.
  public static func insertion(
    of methods: [AttributionMethod], _ settings: AttributionSettings, preprocessing: Preprocessing,
    in network: TraceNetwork, dense: Explainer, explainer: @escaping @Sendable (ONNXModel) throws -> Explainer
  ) -> TuningScore {
    var arguments = settings
    arguments.baseline = nil
    let baseline = settings.baseline.map { $0.withUnsafeBytes { SHA256.hexDigest(of: Array($0)) } } ?? ""
    let name = "insertion \(methods.map(\.rawValue)) \(arguments) \(baseline)"
    return TuningScore(name: name) { sample, graph, target in
      let traced = try explainer(try network.model.sliced(to: graph, from: network.graph))
      let input = try preprocessing.tensor(of: [sample.image]) { _ in sample.name }
      return try await mean(of: methods) { method in
        let scores = try await traced.attribution(of: input, method: method, targets: [target], settings: settings)
          .pixelScores(of: 0)
        return try await Faithfulness.measured(scores, of: input, target: target, by: dense).insertion
      }
    }
  }

  private static func mean(
    of methods: [AttributionMethod], _ value: (AttributionMethod) async throws -> Double
  ) async throws -> Double {
    var total = 0.0
    for method in methods {
      try Task.checkCancellation()
      total += try await value(method)
    }
    return total / Double(max(methods.count, 1))
  }
}
