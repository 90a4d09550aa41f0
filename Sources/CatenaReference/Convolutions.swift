import CatenaGraph
import CatenaTensors

extension Reference {
  /// y[n, m, w] = bias[m] + sum over the group's channels c and taps t of x[n, c, source(w, t)] * weight[m, c, t]
  static func convolution(
    _ geometry: Convolution, _ inputs: [Tensor], _ type: TensorType
  ) throws(EvaluationError) -> Tensor {
    let (data, weight) = (inputs[0].shape, inputs[1].shape)
    let windows = Windows(geometry, image: data.spatial, windows: type.shape.spatial, kernel: weight.spatial)
    let extents = ConvolutionExtents(
      samples: data[0], inputChannels: data[1], filters: weight[0], groups: geometry.groups,
      imageSize: data.count(of: 2..<data.rank), windows: windows.count, taps: windows.taps)
    let bias = inputs.count == 3 ? try inputs[2].reals("the bias") : [Double](repeating: 0, count: weight[0])
    var result = [Double](repeating: 0, count: type.shape.elementCount)
    try convolve(inputs[0].reals(), inputs[1].reals("the weight"), bias, windows.sources, &result, extents)
    return Tensor(reals: result, type)
  }

  /// The input gradient of the convolution whose filters are this data's channels: each of its outputs gives to all
  /// elements that its window read. y[n, c, source(w, t)] += x[n, m, w] * weight[m, c, t]
  static func convolutionTranspose(
    _ transpose: ConvolutionTranspose, _ inputs: [Tensor], _ type: TensorType
  ) throws(EvaluationError) -> Tensor {
    let (data, weight) = (inputs[0].shape, inputs[1].shape)
    let windows = Windows(
      transpose.convolution, image: type.shape.spatial, windows: data.spatial, kernel: weight.spatial)
    let extents = ConvolutionExtents(
      samples: data[0], inputChannels: type.shape[1], filters: data[1], groups: transpose.convolution.groups,
      imageSize: type.shape.count(of: 2..<data.rank), windows: windows.count, taps: windows.taps)
    let bias = inputs.count == 3 ? try inputs[2].reals("the bias") : nil
    var result = makeReals(type.shape.elementCount) { index in
      bias.map { $0[index / extents.imageSize % extents.inputChannels] } ?? 0
    }
    try scatter(inputs[0].reals(), inputs[1].reals("the weight"), windows.sources, &result, extents)
    return Tensor(reals: result, type)
  }
}

/// The extents of a convolution's loops.
private struct ConvolutionExtents {
  var samples: Int
  var inputChannels: Int
  var filters: Int
  var groups: Int
  var imageSize: Int
  var windows: Int
  var taps: Int
  var channelsPerGroup: Int { inputChannels / groups }
  var filtersPerGroup: Int { filters / groups }
}

private func convolve(
  _ data: UnsafePointer<Double>, _ weight: UnsafePointer<Double>, _ bias: UnsafePointer<Double>,
  _ sources: UnsafePointer<Int>, _ result: UnsafeMutablePointer<Double>, _ extents: ConvolutionExtents
) {
  let channels = extents.channelsPerGroup
  let taps = extents.taps
  var output = result
  for sample in 0..<extents.samples {
    for filter in 0..<extents.filters {
      let firstChannel = filter / extents.filtersPerGroup * channels
      for window in 0..<extents.windows {
        var sum = bias[filter]
        var channel = 0
        while channel < channels {
          let image = data + (sample * extents.inputChannels + firstChannel + channel) * extents.imageSize
          let kernel = weight + (filter * channels + channel) * taps
          let source = sources + window * taps
          var tap = 0
          while tap < taps {
            if source[tap] >= 0 { sum += image[source[tap]] * kernel[tap] }
            tap += 1
          }
          channel += 1
        }
        output.pointee = sum
        output += 1
      }
    }
  }
}

private func scatter(
  _ data: UnsafePointer<Double>, _ weight: UnsafePointer<Double>, _ sources: UnsafePointer<Int>,
  _ result: UnsafeMutablePointer<Double>, _ extents: ConvolutionExtents
) {
  let channels = extents.channelsPerGroup
  let taps = extents.taps
  for sample in 0..<extents.samples {
    for filter in 0..<extents.filters {
      let firstChannel = filter / extents.filtersPerGroup * channels
      for window in 0..<extents.windows {
        let value = data[(sample * extents.filters + filter) * extents.windows + window]
        var channel = 0
        while channel < channels {
          let image = result + (sample * extents.inputChannels + firstChannel + channel) * extents.imageSize
          let kernel = weight + (filter * channels + channel) * taps
          let source = sources + window * taps
          var tap = 0
          while tap < taps {
            if source[tap] >= 0 { image[source[tap]] += value * kernel[tap] }
            tap += 1
          }
          channel += 1
        }
      }
    }
  }
}
