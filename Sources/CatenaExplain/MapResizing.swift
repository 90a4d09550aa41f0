/// Brings a map of `height` rows to another size.
func resizedMap(
  _ map: [Float], height: Int, width: Int, toHeight newHeight: Int, width newWidth: Int,
  _ interpolation: MapInterpolation
) -> [Float] {
  precondition(map.count == height * width, "\(map.count) values are not \(height) x \(width)")
  if height == newHeight, width == newWidth { return map }
  let rows = AxisSamples(height, newHeight, interpolation)
  let columns = AxisSamples(width, newWidth, interpolation)
  var result = [Float](repeating: 0, count: newHeight * newWidth)
  for y in 0..<newHeight {
    let (top, bottom, down) = (rows.lower[y] * width, rows.upper[y] * width, rows.fraction[y])
    for x in 0..<newWidth {
      let (left, right, along) = (columns.lower[x], columns.upper[x], columns.fraction[x])
      let upper = map[top + left] + along * (map[top + right] - map[top + left])
      let lower = map[bottom + left] + along * (map[bottom + right] - map[bottom + left])
      result[y * newWidth + x] = upper + down * (lower - upper)
    }
  }
  return result
}

/// For every new index along one axis: two old indices, and how far it lies from the first to the second.
private struct AxisSamples {
  private(set) var lower: [Int] = []
  private(set) var upper: [Int] = []
  private(set) var fraction: [Float] = []

  init(_ size: Int, _ newSize: Int, _ interpolation: MapInterpolation) {
    let scale = Double(size) / Double(newSize)
    for index in 0..<newSize {
      switch interpolation {
      case .nearest:
        let source = min(Int(Double(index) * scale), size - 1)
        lower.append(source)
        upper.append(source)
        fraction.append(0)
      case .bilinear:
        let position = max((Double(index) + 0.5) * scale - 0.5, 0)
        let source = min(Int(position), size - 1)
        lower.append(source)
        upper.append(min(source + 1, size - 1))
        fraction.append(Float(position - Double(source)))
      }
    }
  }
}
