import CatenaGraph
import CatenaTensors

/// A convolution or linear layer as the least-squares problem of a trace: every group of channels has a matrix of weights,
/// rows x columns with column (channel, tap), and reads the columns of its im2col matrix.
///
/// Images have two spatial axes, channels last: a signal is an image of one row, and a linear layer a 1 x 1 convolution on
/// an image of one row whose pixels are the tokens.
public struct LayerGeometry: Sendable, Hashable {
  /// Output channels of one group.
  public var rows: Int
  /// Input channels of one group.
  public var channels: Int
  /// Groups of channels that are not mixed.
  public var groups: Int
  /// Height and width of the input.
  public var source: [Int]
  /// Height and width of the output.
  public var destination: [Int]
  /// Height and width of the window.
  public var kernel: [Int]
  /// Steps between windows.
  public var strides: [Int]
  /// Steps between the taps of a window.
  public var dilations: [Int]
  /// Zeros before the input, negative to crop.
  public var pads: [Int]

  /// The taps of a window.
  public var taps: Int { kernel[0] * kernel[1] }
  /// Columns of a group's weights.
  public var columns: Int { channels * taps }
  /// The shape of all weights: groups and rows together, then columns.
  public var weightShape: Shape { [groups * rows, columns] }

  /// A linear layer of `features` inputs and `rows` outputs on `tokens` tokens per image.
  public init(linear rows: Int, features: Int, tokens: Int) {
    self.rows = rows
    channels = features
    groups = 1
    source = [1, tokens]
    destination = [1, tokens]
    (kernel, strides, dilations, pads) = ([1, 1], [1, 1], [1, 1], [0, 0])
  }

  /// A convolution with one or two spatial axes, of weights M x C/groups x kernel on images C x spatial.
  /// - Parameters:
  ///   - weights: The weights' shape.
  ///   - source: The extents of the input's spatial axes.
  ///   - destination: The extents of the output's spatial axes.
  public init(_ convolution: Convolution, weights: Shape, source: [Int], destination: [Int]) {
    precondition(source.count == 1 || source.count == 2, "\(source.count) spatial axes")
    func two(_ extents: [Int], _ missing: Int) -> [Int] { extents.count == 1 ? [missing] + extents : extents }
    rows = weights[0] / convolution.groups
    channels = weights[1]
    groups = convolution.groups
    self.source = two(source, 1)
    self.destination = two(destination, 1)
    kernel = two(Array(weights.dimensions[2...]), 1)
    strides = two(convolution.strides, 1)
    dilations = two(convolution.dilations, 1)
    pads = two(convolution.padsBegin, 0)
  }

  /// The outputs along `axis` for which `tap` reads inside the input.
  public func outputs(axis: Int, tap: Int) -> Range<Int> {
    let shift = tap * dilations[axis] - pads[axis]
    let stride = strides[axis]
    let begin = shift >= 0 ? 0 : (-shift + stride - 1) / stride
    let last = source[axis] - 1 - shift
    let end = last < 0 ? 0 : min(destination[axis], last / stride + 1)
    return begin..<max(begin, end)
  }
}
