/// Segments of similar, neighbouring pixels: k-means over colour and place from a regular grid (SLIC; Achanta and others,
/// 2012), then every segment made connected.
package enum Superpixels {
  /// The weight of place against colour, in units of the picture's own colour range.
  private static let compactness: Float = 0.5
  private static let iterations = 10

  /// A label from 0 for each pixel, row by row.
  /// - Parameter values: channels x height x width.
  package static func labels(_ values: [Float], channels: Int, height: Int, width: Int, count: Int) -> [Int] {
    let plane = height * width
    let step = max(1, Int((Double(plane) / Double(count)).squareRoot().rounded()))
    let (rows, columns) = (max(1, (height + step / 2) / step), max(1, (width + step / 2) / step))
    let range = (values.max() ?? 0) - (values.min() ?? 0)
    let colour = range > 0 ? 1 / range : 0
    let place = compactness / Float(step)
    // A pixel's features: scaled colours, then scaled row and column.
    func features(_ pixel: Int) -> [Float] {
      (0..<channels).map { values[$0 * plane + pixel] * colour } + [
        Float(pixel / width) * place, Float(pixel % width) * place,
      ]
    }
    let points = (0..<plane).map(features)
    var centres = (0..<rows * columns).map { cell in
      let row = min(height - 1, (2 * (cell / columns) + 1) * height / (2 * rows))
      let column = min(width - 1, (2 * (cell % columns) + 1) * width / (2 * columns))
      return points[row * width + column]
    }
    var labels = [Int](repeating: 0, count: plane)
    for _ in 0..<iterations {
      assign(points, centres, width: width, reach: Float(2 * step) * place, to: &labels)
      centres = means(points, labels, centres)
    }
    return connected(labels, height: height, width: width, smallest: max(1, plane / (4 * centres.count)))
  }

  private static func assign(
    _ points: [[Float]], _ centres: [[Float]], width: Int, reach: Float, to labels: inout [Int]
  ) {
    let last = centres.first.map { $0.count - 1 } ?? 0
    for (pixel, point) in points.enumerated() {
      var best = Float.infinity
      for (label, centre) in centres.enumerated() {
        guard abs(centre[last] - point[last]) <= reach, abs(centre[last - 1] - point[last - 1]) <= reach else {
          continue
        }
        var distance: Float = 0
        for index in 0...last {
          let difference = centre[index] - point[index]
          distance += difference * difference
        }
        if distance < best {
          best = distance
          labels[pixel] = label
        }
      }
    }
  }

  private static func means(_ points: [[Float]], _ labels: [Int], _ centres: [[Float]]) -> [[Float]] {
    var sums = centres.map { $0.map { _ in Float(0) } }
    var counts = [Float](repeating: 0, count: centres.count)
    for (point, label) in zip(points, labels) {
      counts[label] += 1
      for index in point.indices { sums[label][index] += point[index] }
    }
    return centres.indices.map { label in
      counts[label] == 0 ? centres[label] : sums[label].map { $0 / counts[label] }
    }
  }

  /// Numbers connected parts in row order; parts below `smallest` pixels join the part before them.
  private static func connected(_ labels: [Int], height: Int, width: Int, smallest: Int) -> [Int] {
    var result = [Int](repeating: -1, count: labels.count)
    var next = 0
    for start in labels.indices where result[start] < 0 {
      var (part, index) = ([start], 0)
      result[start] = next
      var neighbour = -1
      while index < part.count {
        let pixel = part[index]
        index += 1
        let (row, column) = (pixel / width, pixel % width)
        for (other, isInside) in [
          (pixel - width, row > 0), (pixel + width, row + 1 < height), (pixel - 1, column > 0),
          (pixel + 1, column + 1 < width),
        ] where isInside {
          if result[other] < 0, labels[other] == labels[start] {
            result[other] = next
            part.append(other)
          } else if result[other] >= 0, result[other] != next {
            neighbour = result[other]
          }
        }
      }
      if part.count < smallest, neighbour >= 0 {
        for pixel in part { result[pixel] = neighbour }
      } else {
        next += 1
      }
    }
    return result
  }
}
