/// The methods that explain a network's output by its input.
public enum AttributionMethod: String, Sendable, Hashable, Codable, CaseIterable {
  /// The absolute value of the gradient (Simonyan and others, 2013).
  case saliency
  /// The gradient times the input (Shrikumar and others, 2016).
  case inputTimesGradient = "input-x-gradient"
  /// The mean gradient along the line from the baseline, times the distance (Sundararajan and others, 2017).
  case integratedGradients = "integrated-gradients"
  /// The mean gradient at random points of that line, times the distance (Lundberg and Lee, 2017).
  case gradientSHAP = "gradient-shap"
  /// The mean saliency of noisy copies of the input (Smilkov and others, 2017).
  case smoothGrad = "smooth-grad"
  /// The gradient without its negative parts at every ReLU (Springenberg and others, 2015).
  case guidedBackpropagation = "guided-backprop"
  /// The gradient with ReLUs on the way back in place of their derivatives (Zeiler and Fergus, 2014).
  case deconvolution
  /// A layer's channels weighted by their mean gradients (Selvaraju and others, 2017).
  case gradCAM = "grad-cam"
  /// Guided backpropagation times the positive part of Grad-CAM.
  case guidedGradCAM = "guided-grad-cam"
  /// Differences from a baseline run, by the rescale rule (Shrikumar and others, 2017).
  case deepLIFT = "deep-lift"
  /// Layer-wise relevance propagation, alpha 1 beta 0, z^B at the input where its bounds are given (Bach and others,
  /// 2015; Montavon and others, 2017).
  case lrp
  /// Layer-wise relevance propagation with the epsilon rule everywhere.
  case lrpEpsilon = "lrp-epsilon"
  /// The fall of the target where a window hides the input (Zeiler and Fergus, 2014).
  case occlusion
  /// A sparse linear model of the target over superpixels (Ribeiro and others, 2016).
  case lime
  /// Random masks weighted by the target's probability (Petsiuk and others, 2018).
  case rise
  /// A layer's channels weighted by the target's rise on the input masked by each (Wang and others, 2020).
  case scoreCAM = "score-cam"

  /// The method of this name, which is as its raw value.
  public init?(named name: String) { self.init(rawValue: name.lowercased()) }

  /// One line for people.
  public var summary: String {
    switch self {
    case .saliency: "the absolute value of the gradient"
    case .inputTimesGradient: "the gradient times the input"
    case .integratedGradients: "the mean gradient on the way from the baseline, times the distance"
    case .gradientSHAP: "the mean gradient at random points of that way, times the distance"
    case .smoothGrad: "the mean saliency of noisy copies of the input"
    case .guidedBackpropagation: "the gradient without its negative parts at every ReLU"
    case .deconvolution: "the gradient with ReLUs on the way back"
    case .gradCAM: "a layer's channels weighted by their mean gradients"
    case .guidedGradCAM: "guided backpropagation times Grad-CAM"
    case .deepLIFT: "differences from a baseline run, by the rescale rule"
    case .lrp: "relevance propagation: alpha 1 beta 0, z^B at the input"
    case .lrpEpsilon: "relevance propagation: epsilon rule"
    case .occlusion: "the fall of the target under a sliding window"
    case .lime: "a sparse linear model over superpixels"
    case .rise: "random masks weighted by the target's probability"
    case .scoreCAM: "a layer's channels weighted by the target on the masked input"
    }
  }

  /// Whether the relevance says for and against by its sign, so that a picture needs a diverging colour map.
  public var isSigned: Bool {
    switch self {
    case .saliency, .smoothGrad, .rise, .scoreCAM: false
    case .inputTimesGradient, .integratedGradients, .gradientSHAP, .guidedBackpropagation, .deconvolution, .gradCAM,
      .guidedGradCAM, .deepLIFT, .lrp, .lrpEpsilon, .occlusion, .lime:
      true
    }
  }

  /// The ten methods whose figures on trojaned networks SPADE publishes (its table 1).
  public static let published: [AttributionMethod] = [
    .saliency, .inputTimesGradient, .deepLIFT, .lrp, .guidedBackpropagation, .guidedGradCAM, .lime, .occlusion,
    .integratedGradients, .gradientSHAP,
  ]
}
