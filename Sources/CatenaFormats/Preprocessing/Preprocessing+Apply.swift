import CatenaTensors

extension Preprocessing {
  /// The network's input for `images`: a float32 tensor [N, 3, H, W], one sample per image in their order.
  ///
  /// `name(index)` is how errors call an image: its file. Images that are too small for a crop, or that end up with
  /// different sizes, are errors.
  /// - Precondition: there is at least one image.
  public func tensor(of images: [Image], name: (Int) -> String) throws(FileError) -> Tensor {
    precondition(!images.isEmpty, "there are no images")
    var sized: [Image] = []
    for (index, image) in images.enumerated() {
      sized.append(try resized(image, name: name(index)))
      guard sized[index].width == sized[0].width, sized[index].height == sized[0].height else {
        throw FileError(
          .unsuitable, name(index),
          "is \(sized[index].width) x \(sized[index].height) pixels after preprocessing, but \(name(0)) is "
            + "\(sized[0].width) x \(sized[0].height); choose a preprocessing that resizes")
      }
    }
    let (width, height) = (sized[0].width, sized[0].height)
    let tables = (0..<3).map(values(ofChannel:))
    return Tensor(elementType: .float32, shape: [sized.count, 3, height, width]) { bytes in
      let target = bytes.bindMemory(to: Float.self)
      let plane = width * height
      for (index, image) in sized.enumerated() {
        image.pixels.withUnsafeBufferPointer { pixels in
          for channel in 0..<3 {
            let source = channels == .rgb ? channel : 2 - channel
            let start = (index * 3 + channel) * plane
            tables[channel].withUnsafeBufferPointer { table in
              for pixel in 0..<plane { target[start &+ pixel] = table[Int(pixels[pixel &* 3 &+ source])] }
            }
          }
        }
      }
    }
  }

  /// The value of each of the 256 levels in the input's channel `channel`.
  private func values(ofChannel channel: Int) -> [Float] {
    (0..<256).map { (Float($0) / Float(divisor) - Float(mean[channel])) / Float(std[channel]) }
  }

  /// The image after all steps; `name` is its file, for errors.
  public func resized(_ image: Image, name: String) throws(FileError) -> Image {
    var image = image
    for step in steps {
      switch step {
      case .resizeShortSide(let size, let resampling):
        let (short, long) = (min(image.width, image.height), max(image.width, image.height))
        // Never below `size`, as the quotient is at least 1; beyond the limit only for absurd proportions.
        let newLong = Int(Double(size * long) / Double(short))
        let isTall = image.width <= image.height
        image = try image.resized(
          width: isTall ? size : newLong, height: isTall ? newLong : size, resampling, name: name)
      case .resize(let width, let height, let resampling):
        image = try image.resized(width: width, height: height, resampling, name: name)
      case .centreCrop(let size):
        guard image.width >= size, image.height >= size else {
          throw FileError(
            .unsuitable, name,
            "is \(image.width) x \(image.height) pixels where a centre of \(size) x \(size) is to be cut out")
        }
        image = image.centre(width: size, height: size)
      case .centreCropFraction(let fraction):
        image = image.centre(width: share(image.width, fraction), height: share(image.height, fraction))
      }
    }
    return image
  }

  /// `fraction` of `size` pixels, at least one.
  private func share(_ size: Int, _ fraction: Double) -> Int {
    max(1, Int((Double(size) * fraction).rounded(.toNearestOrEven)))
  }
}

extension Image {
  fileprivate func resized(
    width: Int, height: Int, _ resampling: Resampling, name: String
  ) throws(FileError) -> Image {
    try Image.checkSize(width: width, height: height, path: name)
    return resized(width: width, height: height, resampling: resampling)
  }

  /// The centre of `width` x `height` pixels.
  fileprivate func centre(width: Int, height: Int) -> Image {
    let left = (Double(self.width - width) / 2).rounded(.toNearestOrEven)
    let top = (Double(self.height - height) / 2).rounded(.toNearestOrEven)
    return cropped(left: Int(left), top: Int(top), width: width, height: height)
  }

  /// The part of `width` x `height` pixels whose top left pixel is (`left`, `top`).
  fileprivate func cropped(left: Int, top: Int, width newWidth: Int, height newHeight: Int) -> Image {
    var result: [UInt8] = []
    result.reserveCapacity(newWidth * newHeight * 3)
    for row in top..<top + newHeight {
      let start = (row * width + left) * 3
      result.append(contentsOf: pixels[start..<start + newWidth * 3])
    }
    return Image(width: newWidth, height: newHeight, pixels: result, appliedOrientation: appliedOrientation)
  }
}
