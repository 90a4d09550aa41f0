import CatenaAutodiff
import CatenaTensors

/// The arguments of all methods, with Captum's defaults where Captum has the method.
public struct AttributionSettings: Sendable {
  /// What "nothing" looks like to the network, C x spatial; `nil` for zeros. Read by integrated gradients, gradient SHAP,
  /// DeepLIFT and all methods that hide parts of the input; input times gradient takes the distance from it, as on a
  /// network whose input is zero there. Methods that multiply by that distance say nothing of pixels of this colour.
  public var baseline: Tensor?
  /// Steps of integrated gradients (Gauss-Legendre quadrature).
  public var steps = 50
  /// Noisy copies of SmoothGrad, random points of gradient SHAP.
  public var noiseSamples = 5
  /// Standard deviation of SmoothGrad's noise, in units of the network's input.
  public var smoothGradDeviation = 1.0
  /// Standard deviation of the noise that gradient SHAP adds to the input.
  public var gradientSHAPDeviation = 0.0
  /// The value (a node's first output, by name) that Grad-CAM, guided Grad-CAM and Score-CAM read; `nil` for the last
  /// image-like value before the classifier.
  public var layer: String?
  /// How a layer's map is brought to the input's size; `nil` for each method's own: nearest for guided Grad-CAM
  /// (Captum's), linear for Grad-CAM and Score-CAM (the papers').
  public var interpolation: MapInterpolation?
  /// The lowest and highest value of every input channel, for z^B at the first layer of relevance propagation; `nil`
  /// uses alpha 1 beta 0 there too.
  public var inputBounds: InputBounds?
  /// Whether positive biases take a share of the relevance (and so leak), or only a unit's inputs do.
  public var biasesShareRelevance = true
  /// The stabiliser of the epsilon rule.
  public var epsilon = 1e-9
  /// Height and width of occlusion's window; `nil` for a fifteenth of the input, at least 3.
  public var window: [Int]?
  /// Steps of occlusion's window along height and width; `nil` for half the window.
  public var strides: [Int]?
  /// Superpixels of LIME, about.
  public var segments = 50
  /// Random perturbations of LIME.
  public var limeSamples = 50
  /// Width of LIME's exponential kernel over the cosine distance.
  public var limeKernelWidth = 1.0
  /// Weight of the absolute values in LIME's linear model (lasso).
  public var limeRegularization = 0.01
  /// Masks of RISE.
  public var masks = 1000
  /// Cells along each side of RISE's masks.
  public var maskCells = 7
  /// The part of RISE's cells that is left visible.
  public var maskProbability = 0.5
  /// Seed of everything random; equal seeds give a sample the same draws, alone or among others.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}
}

/// The lowest and the highest value of every channel that an input can have.
public struct InputBounds: Sendable, Hashable {
  /// Per channel, the lowest.
  public var lowest: [Double]
  /// Per channel, the highest.
  public var highest: [Double]

  /// Bounds of C channels.
  /// - Precondition: both have the same count, and no lowest value lies above its highest.
  public init(lowest: [Double], highest: [Double]) {
    precondition(
      lowest.count == highest.count && zip(lowest, highest).allSatisfy { $0 <= $1 }, "bounds come in pairs, in order")
    self.lowest = lowest
    self.highest = highest
  }
}

/// How a small map is brought to a larger size.
public enum MapInterpolation: String, Sendable, Hashable, Codable, CaseIterable {
  /// The pixel under the new pixel's corner: PyTorch's `nearest`.
  case nearest
  /// Between the four pixels around the new pixel's centre: PyTorch's `bilinear` without aligned corners.
  case bilinear
}
