import CatenaCompute
import Foundation

/// Which way to a layer's Hessian is cheaper, by arithmetic and by the rates of its parts on one thread of a processor with
/// vectors of 512 bits. Ratios of rates decide, so other processors decide much the same.
enum HessianCosts {
  /// Billions of multiplications a second in single precision: products of shifted images, products of spectra with what
  /// inverts them, operations of transforms.
  private static let (direct, spectral, transforms) = (52.0, 46.0, 25.0)
  /// Correlations must promise this part of the time or less.
  private static let worthwhile = 0.9
  /// Channels that a block of correlations has, of which a layer must be made up.
  private static let strip = 16
  /// Images whose spectra are multiplied at once where they take no more than so many bytes.
  private static let (manyImages, pendingBytes) = (32, 32 << 20)

  /// The cheapest plan.
  static func cheapest(_ layer: LayerGeometry, isDouble: Bool, images: Int) -> HessianPlan {
    let direct = HessianPlan(layer, withCorrelations: false)
    guard layer.taps > 1, layer.channels % strip == 0, HessianPlan.hasCorrelations(layer) else { return direct }
    let other = HessianPlan(layer, withCorrelations: true)
    let costs = [direct, other].map { cost(layer, $0, isDouble: isDouble, images: images) }
    return costs[1] < worthwhile * costs[0] ? other : direct
  }

  /// Images, rounded up to pairs, whose spectra are held: at least those that come at once.
  static func slots(_ layer: LayerGeometry, _ plan: CorrelationPlan, isDouble: Bool, images: Int) -> Int {
    let together = (images + 1) / 2 * 2
    let rows = plan.planes.map(\.rows.count).max() ?? 0
    let bytes = plan.size[1] * rows * plan.planes.count * layer.groups * layer.channels * (isDouble ? 8 : 4)
    return together * max(1, min(manyImages / together, pendingBytes / max(1, together * bytes)))
  }

  /// Nanoseconds of one image, in single precision; what double precision takes is twice as much of everything.
  private static func cost(_ layer: LayerGeometry, _ plan: HessianPlan, isDouble: Bool, images: Int) -> Double {
    let groups = Double(layer.groups)
    let strips = groups * Double(plan.cellProducts * layer.channels * layer.channels) / direct
    guard let correlations = plan.correlations else { return strips }
    let points = Double(correlations.size[0] * correlations.size[1])
    let channels = Double(layer.channels * correlations.planes.count)
    let pairs = groups * channels * (channels + Double(strip)) / 2
    let batch = Double(slots(layer, correlations, isDouble: isDouble, images: images))
    let (rowLags, columnLags) = (Double(correlations.lags[0].count), Double(correlations.lags[1].count))
    let products = pairs * points / 2 * 3
    let inversion =
      pairs * (points * (2 * rowLags - 1) + Double(correlations.size[1]) * 2 * rowLags * columnLags) / batch
    return strips + (products + inversion) / spectral + groups * channels * 2.5 * points * log2(points) / transforms
  }
}
