import CatenaFormats
import CatenaTensors

/// Pictures of relevance.
public enum RelevancePicture {
  /// A map in colours over the grey picture that it explains, enlarged by a whole factor to at least `side` pixels.
  ///
  /// The strongest hundredth of the pixels is shown at full strength. Weak pixels let the picture through.
  /// - Parameters:
  ///   - scores: One number per pixel of `image`, row by row.
  ///   - isSigned: Whether negative numbers mean "against".
  public static func overlay(scores: [Float], isSigned: Bool, on image: Image, side: Int = 256) -> Image {
    precondition(scores.count == image.width * image.height, "a map has as many pixels as its picture")
    let strengths = normalized(scores, isSigned: isSigned)
    let map: ColourMap = isSigned ? .diverging : .sequential
    var pixels: [UInt8] = []
    pixels.reserveCapacity(image.pixels.count)
    for (index, strength) in strengths.enumerated() {
      let grey =
        0.299 * Float(image.pixels[3 * index]) + 0.587 * Float(image.pixels[3 * index + 1])
        + 0.114 * Float(image.pixels[3 * index + 2])
      let colour = map.colour(strength)
      // The picture in the middle greys, so that colours stand out on dark and on light ground.
      let ground = isSigned ? 96 + 0.6 * grey : 0.45 * grey
      let cover = min(1, 0.25 + 0.75 * abs(strength).squareRoot())
      for level in [colour.red, colour.green, colour.blue] {
        pixels.append(UInt8(clamping: Int((ground + cover * (Float(level) - ground)).rounded())))
      }
    }
    return Image(width: image.width, height: image.height, pixels: pixels).enlarged(toSide: side)
  }

  /// Scores over the 99th percentile of their size, clamped to -1...1; negative ones count as 0 unless signed.
  static func normalized(_ scores: [Float], isSigned: Bool) -> [Float] {
    let known = scores.map { $0.isFinite ? (isSigned ? $0 : max($0, 0)) : 0 }
    let sizes = known.map(abs).sorted()
    // A map with few pixels that matter at all is scaled by the largest.
    let high = sizes[min(sizes.count - 1, sizes.count * 99 / 100)]
    let scale = high > 0 ? high : sizes[sizes.count - 1]
    guard scale > 0 else { return known }
    return known.map { min(max($0 / scale, -1), 1) }
  }

  /// A picture of a network's input that was no picture: each channel group spread over all levels.
  public static func picture(ofInput values: [Float], channels: Int, height: Int, width: Int) -> Image {
    let plane = height * width
    let (low, high) = (values.min() ?? 0, values.max() ?? 0)
    let scale = high > low ? 255 / (high - low) : 0
    var pixels: [UInt8] = []
    for pixel in 0..<plane {
      for colour in 0..<3 {
        let channel = channels >= 3 ? colour : 0
        pixels.append(UInt8(clamping: Int(((values[channel * plane + pixel] - low) * scale).rounded())))
      }
    }
    return Image(width: width, height: height, pixels: pixels)
  }

  /// Rows of pictures under column titles, each row with its title at the left.
  public static func grid(columns: [String], rows: [(title: String, pictures: [Image])]) -> Image {
    let gap = 6
    let scale = 2
    let (width, height) = (
      rows.flatMap(\.pictures).map(\.width).max() ?? 1, rows.flatMap(\.pictures).map(\.height).max() ?? 1
    )
    let margin = (rows.map { PixelFont.width($0.title, scale: scale) }.max() ?? 0) + 2 * gap
    let top = PixelFont.height * scale + 2 * gap
    var canvas = Canvas(
      width: margin + columns.count * (width + gap), height: top + rows.count * (height + gap))
    for (column, title) in columns.enumerated() {
      let x = margin + column * (width + gap)
      canvas.write(title, x: x + (width - PixelFont.width(title, scale: scale)) / 2, y: gap, scale: scale)
    }
    for (row, entry) in rows.enumerated() {
      let y = top + row * (height + gap)
      canvas.write(entry.title, x: gap, y: y + (height - PixelFont.height * scale) / 2, scale: scale)
      for (column, picture) in entry.pictures.enumerated() {
        canvas.draw(picture, x: margin + column * (width + gap), y: y)
      }
    }
    return canvas.image
  }
}

extension Image {
  /// The picture with every pixel as a square, the smallest whole factor that makes the shorter side `side` pixels.
  public func enlarged(toSide side: Int) -> Image {
    let factor = max(1, (side + min(width, height) - 1) / min(width, height))
    return factor == 1 ? self : resized(width: width * factor, height: height * factor, resampling: .nearest)
  }
}

/// A white picture to draw on.
private struct Canvas {
  let width: Int
  let height: Int
  var pixels: [UInt8]

  init(width: Int, height: Int) {
    (self.width, self.height) = (width, height)
    pixels = [UInt8](repeating: 255, count: width * height * 3)
  }

  var image: Image { Image(width: width, height: height, pixels: pixels) }

  mutating func draw(_ picture: Image, x: Int, y: Int) {
    for row in 0..<picture.height {
      let start = ((y + row) * width + x) * 3
      let source = row * picture.width * 3
      pixels.replaceSubrange(
        start..<start + picture.width * 3, with: picture.pixels[source..<source + picture.width * 3])
    }
  }

  mutating func write(_ text: String, x: Int, y: Int, scale: Int) {
    for (index, character) in text.lowercased().enumerated() {
      let glyph = PixelFont.glyph(character)
      for row in 0..<PixelFont.height * scale {
        for column in 0..<PixelFont.glyphWidth * scale
        where glyph[row / scale] >> (PixelFont.glyphWidth - 1 - column / scale) & 1 == 1 {
          let place = x + index * PixelFont.advance * scale + column
          guard place >= 0, place < width, y + row < height else { continue }
          for level in 0..<3 { pixels[((y + row) * width + place) * 3 + level] = 40 }
        }
      }
    }
  }
}
