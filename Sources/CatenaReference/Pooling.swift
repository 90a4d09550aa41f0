import CatenaGraph
import CatenaTensors
import Foundation

extension Pool {
  fileprivate func windows(image: Shape, output: Shape) -> Windows {
    Windows(
      image: image.spatial, windows: output.spatial, kernel: kernel, strides: strides, padsBegin: padsBegin,
      padsEnd: padsEnd, dilations: dilations)
  }

  /// The divisor of an average: the taps in the image, or in the padded image.
  fileprivate func divisor(_ window: Int, _ windows: Windows, countsPadding: Bool) -> Double {
    if countsPadding { return Double(windows.tapsInPaddedImage[window]) }
    let sources = windows.sources[window * windows.taps..<(window + 1) * windows.taps]
    return Double(sources.count { $0 >= 0 })
  }
}

extension Reference {
  static func pool(_ parameters: Pool, _ data: Tensor, _ type: TensorType) throws(EvaluationError) -> Tensor {
    // Eight-bit integers may be pooled too: as doubles they are exact.
    let isSmall = data.elementType == .int8 || data.elementType == .uint8
    let values = isSmall && parameters.kind == .maximum ? data.doubles : try data.reals()
    let windows = parameters.windows(image: data.shape, output: type.shape)
    let size = data.shape.count(of: 2..<data.shape.rank)
    var result: [Double] = []
    result.reserveCapacity(type.shape.elementCount)
    for image in 0..<data.shape[0] * data.shape[1] {
      for window in 0..<windows.count {
        let sources = windows.sources[window * windows.taps..<(window + 1) * windows.taps]
        let read = sources.lazy.filter { $0 >= 0 }.map { values[image * size + $0] }
        switch parameters.kind {
        case .maximum: result.append(read.reduce(-.infinity, BinaryFunction.maximum.value))
        case .average(let countsPadding):
          result.append(read.reduce(0, +) / parameters.divisor(window, windows, countsPadding: countsPadding))
        case .norm(let p):
          result.append(pow(read.reduce(0) { $0 + pow(abs($1), Double(p)) }, 1 / Double(p)))
        }
      }
    }
    return Tensor(reals: result, type)
  }

  static func poolGradient(
    _ parameters: Pool, _ inputs: [Tensor], _ type: TensorType
  ) throws(EvaluationError) -> Tensor {
    let gradient = try inputs[0].reals("the gradient")
    let values = try inputs[1].reals()
    let output = try inputs[2].reals("the output")
    let windows = parameters.windows(image: type.shape, output: inputs[0].shape)
    let size = type.shape.count(of: 2..<type.shape.rank)
    var sums = [Double](repeating: 0, count: type.shape.elementCount)
    for image in 0..<type.shape[0] * type.shape[1] {
      for window in 0..<windows.count {
        let flow = gradient[image * windows.count + window]
        let result = output[image * windows.count + window]
        let read = windows.sources[window * windows.taps..<(window + 1) * windows.taps].lazy
          .filter { $0 >= 0 }.map { image * size + $0 }
        switch parameters.kind {
        case .maximum:
          if let first = read.first(where: { values[$0] == result }) { sums[first] += flow }
        case .average(let countsPadding):
          let share = flow / parameters.divisor(window, windows, countsPadding: countsPadding)
          for source in read { sums[source] += share }
        case .norm(let p):
          // d/dx (sum |x|^p)^(1/p) = sign(x) |x|^(p-1) / y^(p-1), and 0 where all of the window is 0.
          for source in read where result != 0 {
            let value = values[source]
            let slope = pow(abs(value), Double(p - 1)) / pow(result, Double(p - 1))
            sums[source] += flow * (value > 0 ? slope : value < 0 ? -slope : 0)
          }
        }
      }
    }
    return Tensor(reals: sums, type)
  }
}
