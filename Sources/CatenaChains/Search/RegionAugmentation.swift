import CatenaTensors

/// Fresh variants of a region's samples, which the chain is to preserve the network on besides the samples themselves.
///
/// Images (rank 4 with one to four channels first or last) are mirrored, shifted by up to an eighth of their extent with
/// the edge repeated, and blended with another sample of the region; other samples are only blended. None of this
/// depends on how the samples were preprocessed. Everything follows from the seed.
package struct RegionAugmentation {
  private let samples: [Float]
  private let count: Int
  private let width: Int
  private let image: (channels: Int, height: Int, width: Int, channelsLast: Bool)?
  private let blend: Double
  private var generator: SeededGenerator

  /// Variants of samples in f32; `nil` for other samples.
  package init?(of region: Region, blend: Double, seed: UInt64) {
    guard region.samples.elementType == .float32 else { return nil }
    samples = region.samples.floats
    count = region.count
    width = samples.count / count
    let shape = region.samples.shape
    if shape.rank == 4, shape[1] <= 4 {
      image = (shape[1], shape[2], shape[3], false)
    } else if shape.rank == 4, shape[3] <= 4 {
      image = (shape[3], shape[1], shape[2], true)
    } else {
      image = nil
    }
    self.blend = blend
    generator = SeededGenerator(seed: seed)
  }

  /// One variant of every sample, in order.
  package mutating func variants() -> [Float] {
    var result: [Float] = []
    result.reserveCapacity(samples.count)
    for index in 0..<count {
      var sample = variant(of: index)
      if generator.uniform() < blend, count > 1 {
        let other = variant(of: Int(generator.uniform() * Double(count)) % count)
        let part = Float(0.5 + 0.5 * generator.uniform())
        for position in sample.indices { sample[position] = part * sample[position] + (1 - part) * other[position] }
      }
      result += sample
    }
    return result
  }

  private mutating func variant(of index: Int) -> [Float] {
    let source = Array(samples[(index * width)..<((index + 1) * width)])
    guard let image else { return source }
    let columns = positions(image.width, isMirrored: generator.uniform() < 0.5)
    let rows = positions(image.height, isMirrored: false)
    let (channelStride, rowStride, columnStride) =
      image.channelsLast
      ? (1, image.width * image.channels, image.channels) : (image.height * image.width, image.width, 1)
    var result = source
    for channel in 0..<image.channels {
      for (row, sourceRow) in rows.enumerated() {
        let to = channel * channelStride + row * rowStride
        let from = channel * channelStride + sourceRow * rowStride
        for (column, sourceColumn) in columns.enumerated() {
          result[to + column * columnStride] = source[from + sourceColumn * columnStride]
        }
      }
    }
    return result
  }

  /// From where each position of an axis is read: shifted, the edge repeated.
  private mutating func positions(_ extent: Int, isMirrored: Bool) -> [Int] {
    let largest = extent / 8
    let shift = Int(generator.uniform() * Double(2 * largest + 1)) - largest
    return (0..<extent).map { index in
      min(max((isMirrored ? extent - 1 - index : index) - shift, 0), extent - 1)
    }
  }
}
