import Foundation

/// Colours for numbers: equal steps of the number look like equal steps of lightness (interpolated in OKLab; Ottosson,
/// 2020).
public enum ColourMap: Sendable, Hashable {
  /// From 0 to 1: near black over violet and orange to pale yellow.
  case sequential
  /// From -1 to 1: blue against, near white in the middle, red for.
  case diverging

  /// The colour of a value, clamped to the map's range, as red, green and blue.
  public func colour(_ value: Float) -> (red: UInt8, green: UInt8, blue: UInt8) {
    let table = self == .sequential ? Self.sequentialTable : Self.divergingTable
    let position = self == .sequential ? value : (value + 1) / 2
    let index = Int((min(max(position.isNaN ? 0 : position, 0), 1) * 255).rounded())
    return (table[3 * index], table[3 * index + 1], table[3 * index + 2])
  }

  /// Lightness, chroma and hue (degrees) at evenly spread places.
  private static let sequentialTable = table([
    (0.12, 0.02, 290), (0.30, 0.13, 300), (0.47, 0.17, 350), (0.64, 0.17, 35), (0.80, 0.14, 70), (0.96, 0.08, 105),
  ])
  private static let divergingTable = table([
    (0.34, 0.14, 262), (0.58, 0.14, 250), (0.80, 0.07, 240), (0.97, 0.005, 240), (0.80, 0.09, 45), (0.60, 0.18, 32),
    (0.38, 0.15, 25),
  ])

  private static func table(_ places: [(lightness: Double, chroma: Double, hue: Double)]) -> [UInt8] {
    let points = places.map { place in
      let angle = place.hue * .pi / 180
      return (place.lightness, place.chroma * cos(angle), place.chroma * sin(angle))
    }
    return (0..<256).flatMap { index in
      let position = Double(index) / 255 * Double(points.count - 1)
      let lower = min(Int(position), points.count - 2)
      let part = position - Double(lower)
      let (from, to) = (points[lower], points[lower + 1])
      return rgb(
        lightness: from.0 + part * (to.0 - from.0), a: from.1 + part * (to.1 - from.1),
        b: from.2 + part * (to.2 - from.2))
    }
  }

  /// OKLab to sRGB.
  private static func rgb(lightness: Double, a: Double, b: Double) -> [UInt8] {
    let long = pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3)
    let medium = pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3)
    let short = pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3)
    let linear = [
      4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
      -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
      -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    ]
    return linear.map { value in
      let clamped = min(max(value, 0), 1)
      let encoded = clamped <= 0.0031308 ? 12.92 * clamped : 1.055 * pow(clamped, 1 / 2.4) - 0.055
      return UInt8((encoded * 255).rounded())
    }
  }
}
