/// How a picture becomes the input of a network: part of the description of every model.
///
/// The steps run in their order on 8-bit pixels; then each value is `(pixel / divisor - mean) / std` of its channel, in
/// single precision and in this order, as torchvision's `ToTensor` and `Normalize` compute it.
public struct Preprocessing: Sendable, Hashable {
  /// One change of the picture's size.
  public enum Step: Sendable, Hashable {
    /// The shorter side gets `size` pixels, the longer side `Int(size * longer / shorter)`, as in torchvision.
    case resizeShortSide(size: Int, Resampling)
    /// Exactly this size, whatever that does to the proportions.
    case resize(width: Int, height: Int, Resampling)
    /// The centre, `size` pixels square; the offset is rounded to even at one half, as in torchvision.
    case centreCrop(size: Int)
    /// The centre, the given share of both sides; size and offset are rounded, to even at one half.
    case centreCropFraction(Double)
  }

  /// The order of the channels in the network's input.
  public enum ChannelOrder: String, Sendable, Hashable, Codable, CaseIterable {
    /// Red first.
    case rgb = "RGB"
    /// Blue first, as in networks that come from Caffe.
    case bgr = "BGR"
  }

  /// What happens to the picture, in this order.
  public let steps: [Step]
  /// The order of the channels in the input; `mean` and `std` follow it.
  public let channels: ChannelOrder
  /// What every pixel value is divided by first: 255 for values from 0 to 1, 1 for 0 to 255.
  public let divisor: Double
  /// What is subtracted next, per channel.
  public let mean: [Double]
  /// What is divided by last, per channel.
  public let std: [Double]

  /// The preprocessing of these steps and numbers.
  /// - Precondition: sizes are positive, `mean` and `std` have three finite numbers, no divisor is zero.
  public init(
    steps: [Step] = [], channels: ChannelOrder = .rgb, divisor: Double = 255, mean: [Double] = [0, 0, 0],
    std: [Double] = [1, 1, 1]
  ) {
    let problem = Self.problem(steps: steps, divisor: divisor, mean: mean, std: std)
    precondition(problem == nil, problem ?? "")
    (self.steps, self.channels, self.divisor, self.mean, self.std) = (steps, channels, divisor, mean, std)
  }

  /// The largest side that a step may ask for.
  static let maximumSide = 16384

  /// What is wrong with these numbers, or `nil`.
  static func problem(steps: [Step], divisor: Double, mean: [Double], std: [Double]) -> String? {
    for step in steps {
      switch step {
      case .resizeShortSide(let size, _), .centreCrop(let size):
        guard (1...maximumSide).contains(size) else { return "a size must be from 1 to \(maximumSide), not \(size)" }
      case .resize(let width, let height, _):
        guard (1...maximumSide).contains(width), (1...maximumSide).contains(height) else {
          return "a size must be from 1 to \(maximumSide), not \(width) x \(height)"
        }
      case .centreCropFraction(let fraction):
        guard fraction > 0, fraction <= 1 else { return "a fraction must be above 0 and at most 1, not \(fraction)" }
      }
    }
    guard Float(divisor).isFinite, Float(divisor) != 0 else { return "divisor must be a number other than 0" }
    guard mean.count == 3, mean.allSatisfy({ Float($0).isFinite }) else { return "mean needs three numbers" }
    guard std.count == 3, std.allSatisfy({ Float($0).isFinite && Float($0) != 0 }) else {
      return "std needs three numbers other than 0"
    }
    return nil
  }
}
