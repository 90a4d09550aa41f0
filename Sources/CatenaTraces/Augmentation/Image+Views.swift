import CatenaFormats
import Foundation

/// Pillow's operations on 8-bit pictures, bit for bit.
extension Image {
  /// The part of `width` x `height` pixels whose top left pixel is (`left`, `top`).
  func cropped(left: Int, top: Int, width newWidth: Int, height newHeight: Int) -> Image {
    var result: [UInt8] = []
    result.reserveCapacity(newWidth * newHeight * 3)
    for row in top..<top + newHeight {
      let start = (row * width + left) * 3
      result.append(contentsOf: pixels[start..<start + newWidth * 3])
    }
    return Image(width: newWidth, height: newHeight, pixels: result, appliedOrientation: appliedOrientation)
  }

  /// Left and right exchanged.
  var flippedHorizontally: Image {
    mapped { source, target in
      for row in 0..<height {
        for column in 0..<width {
          let from = (row &* width &+ column) &* 3
          let to = (row &* width &+ width &- 1 &- column) &* 3
          for channel in 0..<3 { target[to &+ channel] = source[from &+ channel] }
        }
      }
    }
  }

  /// A blend of black and the picture, as Pillow's `ImageEnhance.Brightness` computes it: cut off, not rounded.
  func scalingBrightness(by factor: Double) -> Image {
    let levels = (0..<256).map { level in UInt8(max(0, min(255, Float(factor) * Float(level)))) }
    return mapped { source, target in
      for index in source.indices { target[index] = levels[Int(source[index])] }
    }
  }

  /// The hue turned by `turn` circles, as torchvision computes it on Pillow's 8-bit HSV pictures.
  func turningHue(by turn: Double) -> Image {
    let steps = UInt8(truncatingIfNeeded: Int(turn * 255))
    return mapped { source, target in
      for pixel in 0..<width * height {
        let place = pixel &* 3
        let colour = HSV(red: source[place], green: source[place &+ 1], blue: source[place &+ 2])
        let turned = HSV(hue: colour.hue &+ steps, saturation: colour.saturation, value: colour.value).rgb
        target[place] = turned.red
        target[place &+ 1] = turned.green
        target[place &+ 2] = turned.blue
      }
    }
  }

  private func mapped(
    _ body: (UnsafeBufferPointer<UInt8>, UnsafeMutableBufferPointer<UInt8>) -> Void
  ) -> Image {
    let result = [UInt8](unsafeUninitializedCapacity: pixels.count) { target, count in
      pixels.withUnsafeBufferPointer { body($0, target) }
      count = pixels.count
    }
    return Image(width: width, height: height, pixels: result, appliedOrientation: appliedOrientation)
  }
}

/// Pillow's 8-bit hue, saturation and value.
private struct HSV {
  var hue, saturation, value: UInt8
}

extension HSV {
  init(red: UInt8, green: UInt8, blue: UInt8) {
    let largest = max(red, green, blue)
    let smallest = min(red, green, blue)
    value = largest
    guard largest != smallest else {
      (hue, saturation) = (0, 0)
      return
    }
    let range = Float(largest - smallest)
    let (fromRed, fromGreen, fromBlue) = (
      Float(largest - red) / range, Float(largest - green) / range, Float(largest - blue) / range
    )
    let sector: Float =
      if red == largest {
        fromBlue - fromGreen
      } else if green == largest {
        Float(2.0 + Double(fromRed) - Double(fromBlue))
      } else {
        Float(4.0 + Double(fromGreen) - Double(fromRed))
      }
    // Pillow computes the remainder in double and keeps it in single precision.
    let turn = Double(sector) / 6 + 1
    let angle = Float(turn - turn.rounded(.down))
    hue = UInt8(max(0, min(255, Int(Double(angle) * 255))))
    saturation = UInt8(max(0, min(255, Int(Double(range / Float(largest)) * 255))))
  }

  var rgb: (red: UInt8, green: UInt8, blue: UInt8) {
    if saturation == 0 { return (value, value, value) }
    let position = Double(Float(hue)) * 6 / 255
    let sector = Int(position)
    let rest = Float(position - Double(Float(sector)))
    let strength = Float(Double(Float(saturation)) / 255)
    func level(_ factor: Double) -> UInt8 {
      UInt8(max(0, min(255, (Double(Float(value)) * factor).rounded(.toNearestOrAwayFromZero))))
    }
    let low = level(1 - Double(strength))
    let falling = level(1 - Double(strength * rest))
    let rising = level(1 - Double(strength) * (1 - Double(rest)))
    return switch sector % 6 {
    case 0: (value, rising, low)
    case 1: (falling, value, low)
    case 2: (low, value, rising)
    case 3: (low, falling, value)
    case 4: (rising, low, value)
    default: (value, low, falling)
    }
  }
}
