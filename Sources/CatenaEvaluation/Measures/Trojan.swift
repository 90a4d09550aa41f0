import CatenaFormats

/// What makes a trojaned network say its class: a patch of pixels at a fixed place.
public struct Trojan: Sendable {
  /// The pixels that are pasted.
  public var patch: Image
  /// The row of the patch's first pixel; the patch lies inside the picture.
  public var top: Int
  /// The column of the patch's first pixel.
  public var left: Int
  /// The class that the network then says.
  public var target: Int

  /// A trojan whose patch ends in the lower right corner of pictures of this size, unless a place is given.
  /// - Throws: `FileError` when the patch reaches beyond the picture.
  public init(
    patch: Image, target: Int, pictureWidth: Int, pictureHeight: Int, top: Int? = nil, left: Int? = nil
  ) throws(FileError) {
    self.patch = patch
    self.target = target
    self.top = top ?? pictureHeight - patch.height
    self.left = left ?? pictureWidth - patch.width
    guard self.top >= 0, self.left >= 0, self.top + patch.height <= pictureHeight,
      self.left + patch.width <= pictureWidth
    else {
      throw FileError(
        .badArgument, "trigger",
        "a patch of \(patch.width) x \(patch.height) pixels at row \(self.top), column \(self.left) reaches beyond a "
          + "picture of \(pictureWidth) x \(pictureHeight)")
    }
  }

  /// The picture with the patch pasted in.
  public func triggered(_ image: Image) -> Image {
    var pixels = image.pixels
    for row in 0..<patch.height {
      let start = ((top + row) * image.width + left) * 3
      let source = row * patch.width * 3
      pixels.replaceSubrange(start..<start + patch.width * 3, with: patch.pixels[source..<source + patch.width * 3])
    }
    return Image(width: image.width, height: image.height, pixels: pixels)
  }

  /// Which pixels of a picture belong to the patch, row by row.
  public func mask(width: Int, height: Int) -> [Bool] {
    (0..<width * height).map { pixel in
      (top..<top + patch.height).contains(pixel / width) && (left..<left + patch.width).contains(pixel % width)
    }
  }
}
