import CatenaFormats
import CatenaTensors
import Foundation

/// Random views of a picture: a resized crop, a flip and a jitter of brightness and hue, as torchvision's
/// `RandomResizedCrop`, `RandomHorizontalFlip` and `ColorJitter` compute them on 8-bit pictures (SPADE, section 3).
public struct Augmentation: Sendable, Hashable, Codable {
  /// The smallest and largest part of the picture's area that a crop has.
  public var scale = [0.2, 1]
  /// The smallest and largest width over height of a crop.
  public var ratio = [3.0 / 4, 4.0 / 3]
  /// The probability of a horizontal flip.
  public var flip = 0.5
  /// Brightness is multiplied by a factor from 1 less to 1 plus this.
  public var brightness = 0.5
  /// The hue is turned by up to this part of the circle, in both directions.
  public var hue = 0.3

  /// SPADE's augmentation.
  public init() {}

  /// What chance decides about one view.
  public struct Draw: Sendable, Hashable {
    /// The crop's first column, first row, width and height.
    public var left, top, width, height: Int
    /// Whether it is flipped.
    public var isFlipped: Bool
    /// The factor of the brightness.
    public var brightness: Double
    /// The turn of the hue, in circles.
    public var hue: Double
    /// Whether the hue is turned before the brightness changes.
    public var turnsHueFirst: Bool
  }

  /// The draw of view `index` of a picture: it depends on the seed, the index and the picture's size only.
  public func draw(_ index: Int, seed: UInt64, width: Int, height: Int) -> Draw {
    // Odd, so that different views never share a seed.
    var generator = SeededGenerator(seed: seed &+ UInt64(index + 1) &* 0xd134_2543_de82_ef95)
    let crop = crop(width: width, height: height, &generator)
    let isFlipped = generator.uniform() < flip
    let turnsHueFirst = generator.uniform() < 0.5
    let factor = generator.uniform(max(0, 1 - brightness), 1 + brightness)
    let turn = generator.uniform(-hue, hue)
    return Draw(
      left: crop.left, top: crop.top, width: crop.width, height: crop.height, isFlipped: isFlipped, brightness: factor,
      hue: turn, turnsHueFirst: turnsHueFirst)
  }

  /// torchvision's `RandomResizedCrop.get_params`.
  private func crop(
    width: Int, height: Int, _ generator: inout SeededGenerator
  ) -> (left: Int, top: Int, width: Int, height: Int) {
    let area = Double(width * height)
    for _ in 0..<10 {
      let target = area * generator.uniform(scale[0], scale[1])
      let aspect = exp(generator.uniform(log(ratio[0]), log(ratio[1])))
      let newWidth = Int((target * aspect).squareRoot().rounded(.toNearestOrEven))
      let newHeight = Int((target / aspect).squareRoot().rounded(.toNearestOrEven))
      guard newWidth > 0, newWidth <= width, newHeight > 0, newHeight <= height else { continue }
      let top = generator.integer(below: height - newHeight + 1)
      let left = generator.integer(below: width - newWidth + 1)
      return (left, top, newWidth, newHeight)
    }
    let proportion = Double(width) / Double(height)
    var (newWidth, newHeight) = (width, height)
    if proportion < ratio[0] {
      newHeight = Int((Double(width) / ratio[0]).rounded(.toNearestOrEven))
    } else if proportion > ratio[1] {
      newWidth = Int((Double(height) * ratio[1]).rounded(.toNearestOrEven))
    }
    return ((width - newWidth) / 2, (height - newHeight) / 2, newWidth, newHeight)
  }

  /// The view that `draw` describes, `width` x `height` pixels.
  public func view(of image: Image, _ draw: Draw, width: Int, height: Int) -> Image {
    var view = image.cropped(left: draw.left, top: draw.top, width: draw.width, height: draw.height)
      .resized(width: width, height: height, resampling: .bilinear)
    if draw.isFlipped { view = view.flippedHorizontally }
    if draw.turnsHueFirst { view = view.turningHue(by: draw.hue) }
    view = view.scalingBrightness(by: draw.brightness)
    return draw.turnsHueFirst ? view : view.turningHue(by: draw.hue)
  }

  /// The network's input for the views `indices`: float32 [views, 3, height, width], normalised as `preprocessing` says.
  /// Views are shared out among `threads` tasks; the result does not depend on how many there are.
  public func inputs(
    of image: Image, _ indices: Range<Int>, seed: UInt64, width: Int, height: Int, preprocessing: Preprocessing,
    threads: Int
  ) async throws -> Tensor {
    let normalisation = Preprocessing(
      steps: [], channels: preprocessing.channels, divisor: preprocessing.divisor, mean: preprocessing.mean,
      std: preprocessing.std)
    let views = await withTaskGroup(of: [(Int, Image)].self) { group in
      for task in 0..<max(1, min(threads, indices.count)) {
        group.addTask {
          stride(from: indices.lowerBound + task, to: indices.upperBound, by: max(1, threads)).map { index in
            let draw = draw(index, seed: seed, width: image.width, height: image.height)
            return (index, view(of: image, draw, width: width, height: height))
          }
        }
      }
      return await group.reduce(into: []) { $0 += $1 }.sorted { $0.0 < $1.0 }.map(\.1)
    }
    return try normalisation.tensor(of: views) { "view \(indices.lowerBound + $0)" }
  }
}

extension SeededGenerator {
  fileprivate mutating func uniform(_ low: Double, _ high: Double) -> Double { low + (high - low) * uniform() }

  fileprivate mutating func integer(below count: Int) -> Int { min(Int(uniform() * Double(count)), count - 1) }
}
