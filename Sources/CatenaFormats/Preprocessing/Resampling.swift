import Glibc

/// How the pixels of a resized image are computed from those of the original.
///
/// All but `nearest` are convolutions whose width grows with the reduction, as in Pillow (and not as in most networks'
/// own resizing operators), so that nothing of the original is skipped.
public enum Resampling: String, Sendable, Hashable, Codable, CaseIterable {
  /// The one original pixel at the new pixel's centre.
  case nearest
  /// The mean of the original pixels under the new one.
  case box
  /// Triangle weights.
  case bilinear
  /// The cubic with a = -0.5.
  case bicubic
  /// The sinc function within a window of three of its lobes.
  case lanczos

  /// How far the weights reach from the centre, in original pixels when nothing is reduced.
  fileprivate var support: Double {
    switch self {
    case .nearest: 0
    case .box: 0.5
    case .bilinear: 1
    case .bicubic: 2
    case .lanczos: 3
    }
  }

  /// The weight at distance `x` from the centre.
  fileprivate func weight(_ x: Double) -> Double {
    let distance = abs(x)
    switch self {
    case .nearest, .box: return x > -0.5 && x <= 0.5 ? 1 : 0
    case .bilinear: return distance < 1 ? 1 - distance : 0
    case .bicubic:
      let a = -0.5
      if distance < 1 { return ((a + 2) * distance - (a + 3)) * distance * distance + 1 }
      return distance < 2 ? (((distance - 5) * distance + 8) * distance - 4) * a : 0
    case .lanczos: return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0
    }
  }
}

private func sinc(_ x: Double) -> Double { x == 0 ? 1 : sin(x * Double.pi) / (x * Double.pi) }

extension Image {
  /// The image at another size, as Pillow's `resize` computes it.
  ///
  /// The two passes, one along the rows and one along the columns, round to 8 bits each and use weights with 22 bits
  /// after the point, as in Pillow; so does their order, which decides what is rounded and clamped between them.
  /// - Precondition: both extents are positive.
  public func resized(width newWidth: Int, height newHeight: Int, resampling: Resampling) -> Image {
    precondition(newWidth > 0 && newHeight > 0, "an image of \(newWidth) x \(newHeight) pixels does not exist")
    if newWidth == width, newHeight == height { return self }
    var result = pixels
    if resampling == .nearest {
      result = nearest(newWidth, newHeight)
    } else {
      var size = (width: width, height: height)
      func resizeRows() {
        guard newWidth != size.width else { return }
        let rows = Lines(count: size.height, stride: size.width * 3, step: 3)
        let newRows = Lines(count: size.height, stride: newWidth * 3, step: 3)
        result = convolved(result, from: rows, to: newRows, weights: Weights(size.width, newWidth, resampling))
        size.width = newWidth
      }
      func resizeColumns() {
        guard newHeight != size.height else { return }
        let columns = Lines(count: size.width, stride: 3, step: size.width * 3)
        result = convolved(result, from: columns, to: columns, weights: Weights(size.height, newHeight, resampling))
        size.height = newHeight
      }
      if takesColumnsFirst(newWidth, newHeight) {
        resizeColumns()
        resizeRows()
      } else {
        resizeRows()
        resizeColumns()
      }
    }
    return Image(width: newWidth, height: newHeight, pixels: result, appliedOrientation: appliedOrientation)
  }

  /// Whether the columns are resized before the rows: where more than twice as many rows as columns go. Found by
  /// comparing Pillow 13 with both orders over thousands of sizes.
  private func takesColumnsFirst(_ newWidth: Int, _ newHeight: Int) -> Bool {
    newHeight < height && height - newHeight > 2 * (width - newWidth)
  }

  private func nearest(_ newWidth: Int, _ newHeight: Int) -> [UInt8] {
    let columns = nearestIndices(width, newWidth)
    var result: [UInt8] = []
    result.reserveCapacity(newWidth * newHeight * 3)
    for row in nearestIndices(height, newHeight) {
      for column in columns {
        let start = (row * width + column) * 3
        result.append(contentsOf: pixels[start..<start + 3])
      }
    }
    return result
  }
}

/// The original index for each new one. The position is summed up step by step, because Pillow does so and rounds with it.
private func nearestIndices(_ size: Int, _ newSize: Int) -> [Int] {
  let scale = Double(size) / Double(newSize)
  var position = scale * 0.5
  return (0..<newSize).map { _ in
    defer { position += scale }
    return min(Int(position), size - 1)
  }
}

/// For each new pixel along one axis: the original pixels that contribute, and with what fixed-point weights.
private struct Weights {
  static let fractionBits = 32 - 8 - 2

  private(set) var starts: [Int] = []
  private(set) var counts: [Int] = []
  /// `width` weights for each new pixel; the first of its `counts` matter.
  private(set) var values: [Int32]
  let width: Int
  let size: Int

  init(_ oldSize: Int, _ newSize: Int, _ resampling: Resampling) {
    let scale = Double(oldSize) / Double(newSize)
    let filterScale = max(scale, 1)
    let support = resampling.support * filterScale
    width = Int(support.rounded(.up)) * 2 + 1
    size = newSize
    values = [Int32](repeating: 0, count: newSize * width)
    for index in 0..<newSize {
      let center = (Double(index) + 0.5) * scale
      let start = max(0, Int(center - support + 0.5))
      let count = min(oldSize, Int(center + support + 0.5)) - start
      let weights = (0..<count).map { resampling.weight((Double($0 + start) - center + 0.5) * (1 / filterScale)) }
      let sum = weights.reduce(0, +)
      for (offset, weight) in weights.enumerated() {
        let share = (sum == 0 ? weight : weight / sum) * Double(1 << Self.fractionBits)
        values[index * width + offset] = Int32(share < 0 ? share - 0.5 : share + 0.5)
      }
      starts.append(start)
      counts.append(count)
    }
  }
}

/// The lines of an RGB image along one axis: `count` lines, `stride` bytes apart, with `step` bytes between the pixels of
/// one line.
private struct Lines {
  let count: Int
  let stride: Int
  let step: Int
}

private func convolved(_ source: [UInt8], from old: Lines, to new: Lines, weights: Weights) -> [UInt8] {
  let byteCount = new.count * weights.size * 3
  let half = 1 << (Weights.fractionBits - 1)
  return [UInt8](unsafeUninitializedCapacity: byteCount) { target, count in
    source.withUnsafeBufferPointer { source in
      weights.values.withUnsafeBufferPointer { values in
        for index in 0..<weights.size {
          let (start, taps) = (weights.starts[index], weights.counts[index])
          let row = index &* weights.width
          for line in 0..<new.count {
            var from = line &* old.stride &+ start &* old.step
            var (red, green, blue) = (half, half, half)
            for tap in 0..<taps {
              let weight = Int(values[row &+ tap])
              red &+= Int(source[from]) &* weight
              green &+= Int(source[from &+ 1]) &* weight
              blue &+= Int(source[from &+ 2]) &* weight
              from &+= old.step
            }
            let to = line &* new.stride &+ index &* new.step
            target[to] = level(red)
            target[to &+ 1] = level(green)
            target[to &+ 2] = level(blue)
          }
        }
      }
    }
    count = byteCount
  }
}

private func level(_ sum: Int) -> UInt8 { UInt8(clamping: sum >> Weights.fractionBits) }
