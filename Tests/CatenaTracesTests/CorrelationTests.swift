import CatenaCPU
import CatenaCompute
import CatenaTensors
import TestSupport
import Testing

/// A layer whose Hessian is made from correlations of whole images, however small it is.
struct CorrelationCase: CustomTestStringConvertible {
  var test: LayerCase
  var testDescription: String { test.testDescription }

  private init(_ test: LayerCase) { self.test = test }

  private static func convolution(
    _ name: String, channels: Int = 16, kernel: [Int] = [3, 3], source: [Int], strides: [Int] = [1, 1],
    dilations: [Int] = [1, 1], pads: [Int] = [1, 1], groups: Int = 1, images: Int = 3
  ) -> CorrelationCase {
    var test = LayerCase.convolution(
      name, channels: channels, rows: 1, kernel: kernel, source: source, strides: strides, dilations: dilations,
      pads: pads, groups: groups)
    test.images = images
    return CorrelationCase(test)
  }

  /// A layer that pads or crops behind the image other than before.
  private static var uneven: CorrelationCase {
    var result = convolution("3x4, uneven padding", kernel: [3, 4], source: [8, 9], pads: [0, 2])
    result.test.layer.destination = [8, 7]
    return result
  }

  private static var cropped: CorrelationCase {
    var result = convolution("3x3, cropped", source: [9, 10], pads: [-1, -2])
    result.test.layer.destination = [5, 5]
    return result
  }

  static let all: [CorrelationCase] = [
    convolution("3x3", source: [12, 11]),
    convolution("3x3, one image", source: [7, 7], images: 1),
    convolution("3x3, no padding", source: [8, 13], pads: [0, 0]),
    convolution("3x3, dilation 2", source: [11, 9], dilations: [2, 2], pads: [2, 2]),
    convolution("5x5", kernel: [5, 5], source: [10, 9], pads: [2, 2]),
    convolution("2x2", kernel: [2, 2], source: [6, 5], pads: [0, 0]),
    convolution("1x5 of a signal", kernel: [1, 5], source: [1, 30], pads: [0, 2]),
    convolution("7x1", kernel: [7, 1], source: [9, 4], pads: [3, 0], images: 4),
    uneven, cropped,
    convolution("groups", source: [6, 7], groups: 3),
    convolution("3x2 of 48 channels", channels: 48, kernel: [3, 2], source: [6, 5], pads: [1, 0], images: 2),
    convolution("1x3 of 96 channels", channels: 96, kernel: [1, 3], source: [4, 9], pads: [0, 1], images: 2),
    convolution("3x3, stride 2", source: [12, 13], strides: [2, 2]),
    convolution("3x3, stride 2, groups", source: [11, 12], strides: [2, 2], groups: 2),
    convolution("5x3, stride 2 and 3", kernel: [5, 3], source: [13, 14], strides: [2, 3], pads: [2, 1]),
    convolution("3x3, stride 3, dilation 2", source: [14, 13], strides: [3, 3], dilations: [2, 2]),
    convolution("2x2, stride 2", kernel: [2, 2], source: [8, 6], strides: [2, 2], pads: [0, 0]),
  ]

  /// The Hessians of all groups, row after row, when the inputs come `rounds` times.
  func hessians(isDouble: Bool, inputs: Tensor, rounds: Int = 1, threads: Int = 2) async throws -> [Double] {
    let solver = CPUSolverBackend(threads: threads).makeSolver(
      for: test.layer, method: PruningMethod(isDouble ? .exact(.kernel) : .fast), images: test.images,
      withCorrelations: true)
    for _ in 0..<rounds { try await solver.add(inputs) }
    var result: [Double] = []
    for group in 0..<test.layer.groups { result += await solver.hessian(group: group) }
    return result
  }

  /// The largest difference from the literal Hessian of `inputs`, relative to the columns' norms.
  func error(_ hessians: [Double], _ inputs: Tensor) -> Double {
    let columns = test.layer.columns
    var worst = 0.0
    for (group, literal) in LiteralSolver(test.layer, inputs).hessians.enumerated() {
      for row in 0..<columns {
        for column in 0..<columns {
          let found = hessians[(group * columns + row) * columns + column]
          let scale = (literal[row][row] * literal[column][column]).squareRoot()
          let difference = abs(found - literal[row][column])
          worst = max(worst, scale == 0 ? (difference == 0 ? 0 : .infinity) : difference / scale)
        }
      }
    }
    return worst
  }
}

@Suite("Hessians from correlations")
struct CorrelationTests {
  /// Rounding of the sums' type: transforms of n points, of two axes, with sums over frequencies and images, each in a few
  /// steps of pairs and blocks, stay within some units of the last place of the columns' norms, not n of them.
  /// In double precision the literal sums, one product after the other, round as much again.
  private static func bound(isDouble: Bool) -> Double { isDouble ? 32 * 0x1p-53 : 16 * 0x1p-24 }

  @Test("are those of the formula", arguments: CorrelationCase.all, [false, true])
  func literal(test: CorrelationCase, isDouble: Bool) async throws {
    let inputs = test.test.inputs
    let error = test.error(try await test.hessians(isDouble: isDouble, inputs: inputs), inputs)
    Measured.report("\(test.testDescription), \(isDouble ? "double" : "single"): \(error)")
    #expect(error <= Self.bound(isDouble: isDouble))
  }

  @Test("do not depend on how many images come at once or on the threads", arguments: CorrelationCase.all.prefix(5))
  func batches(test: CorrelationCase) async throws {
    let inputs = test.test.inputs
    // More rounds than images are kept for.
    let many = try await test.hessians(isDouble: false, inputs: inputs, rounds: 23)
    #expect(test.error(many, inputs) <= Self.bound(isDouble: false))
    let alone = try await test.hessians(isDouble: false, inputs: inputs, rounds: 23, threads: 1)
    #expect(many == alone)
  }

  @Test(
    "have columns of zeros where a tap reads nothing but zeros, and small numbers beside large ones",
    arguments: [false, true])
  func borders(isDouble: Bool) async throws {
    let test = CorrelationCase.all[0]
    let (height, width, channels) = (12, 11, 16)
    var values = test.test.inputs.floats
    for index in values.indices {
      let (x, y) = (index / channels % width, index / channels / width % height)
      switch index % channels {
      case 0: values[index] = 0
      // One border only, which the taps of the opposite one do not read, far above what the others hold.
      case 1: values[index] = y == height - 1 ? 1000 + Float(x) : 0
      case 2: values[index] = x == 0 ? values[index] : 0
      // A corner.
      case 3: values[index] = x == width - 1 && y == 0 ? 3 : 0
      default: break
      }
    }
    let inputs = Tensor(values, shape: test.test.inputs.shape)
    let hessians = try await test.hessians(isDouble: isDouble, inputs: inputs)
    let columns = test.test.layer.columns
    let literal = LiteralSolver(test.test.layer, inputs).hessians[0]
    for column in 0..<columns {
      #expect((hessians[column * columns + column] == 0) == (literal[column][column] == 0), "column \(column)")
    }
    #expect(test.error(hessians, inputs) <= Self.bound(isDouble: isDouble))
  }

  @Test("are used where they are cheaper, and only there")
  func choice() {
    let backend = CPUSolverBackend(threads: 1)
    func chosen(
      _ channels: Int, _ extent: Int, kernel: Int = 3, stride: Int = 1, groups: Int = 1, isDouble: Bool = false
    ) -> Bool {
      let layer = LayerCase.convolution(
        "", channels: channels, rows: 1, kernel: [kernel, kernel], source: [extent, extent], strides: [stride, stride],
        pads: [kernel / 2, kernel / 2], groups: groups
      ).layer
      let method = PruningMethod(isDouble ? .exact(.kernel) : .fast)
      return backend.makeSolver(for: layer, method: method, images: 8, withCorrelations: nil).hasCorrelations
    }
    for isDouble in [false, true] {
      #expect(
        chosen(64, 56, isDouble: isDouble) && chosen(128, 28, isDouble: isDouble) && chosen(16, 32, isDouble: isDouble))
    }
    #expect(chosen(256, 14) && chosen(512, 7))
    #expect(!chosen(64, 56, kernel: 1) && !chosen(24, 32) && !chosen(1, 32, groups: 16) && !chosen(16, 3))
  }
}
