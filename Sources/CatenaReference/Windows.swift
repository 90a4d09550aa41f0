import CatenaGraph
import CatenaTensors

/// Which elements of an image each tap of each window reads.
struct Windows {
  /// Windows: the product of the output's spatial extents.
  let count: Int
  /// Taps per window: the product of the kernel's extents.
  let taps: Int
  /// The offset in the image of tap t of window w at `[w * taps + t]`, -1 in the padding.
  let sources: [Int]
  /// How many taps of each window lie in the image or in its padding; less than `taps` only where a last, partial
  /// window of `ceilMode` reaches beyond the padding.
  let tapsInPaddedImage: [Int]

  init(
    image: [Int], windows: [Int], kernel: [Int], strides: [Int], padsBegin: [Int], padsEnd: [Int], dilations: [Int]
  ) {
    count = windows.reduce(1, *)
    taps = kernel.reduce(1, *)
    var sources: [Int] = []
    sources.reserveCapacity(count * taps)
    var tapsInPaddedImage: [Int] = []
    let imageStrides = Shape(image).strides
    var window = [Int](repeating: 0, count: windows.count)
    for _ in 0..<count {
      var axes: [[Int]] = []
      var inPaddedImage = 1
      for axis in image.indices {
        let positions = (0..<kernel[axis]).map {
          window[axis] * strides[axis] + $0 * dilations[axis] - padsBegin[axis]
        }
        inPaddedImage *= positions.count { $0 < image[axis] + padsEnd[axis] }
        axes.append(positions.map { $0 >= 0 && $0 < image[axis] ? $0 : -1 })
      }
      sources += offsets(positions: axes, strides: imageStrides)
      tapsInPaddedImage.append(inPaddedImage)
      advance(&window, in: windows)
    }
    self.sources = sources
    self.tapsInPaddedImage = tapsInPaddedImage
  }

  init(_ convolution: Convolution, image: [Int], windows: [Int], kernel: [Int]) {
    self.init(
      image: image, windows: windows, kernel: kernel, strides: convolution.strides, padsBegin: convolution.padsBegin,
      padsEnd: convolution.padsEnd, dilations: convolution.dilations)
  }
}

extension Shape {
  /// The extents behind batch and channels.
  var spatial: [Int] { Array(dimensions.dropFirst(2)) }
}
