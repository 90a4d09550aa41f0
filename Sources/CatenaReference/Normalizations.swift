import CatenaGraph
import CatenaTensors
import Foundation

extension Reference {
  /// scale * (x - mean) / sqrt(variance + epsilon) + bias
  static func batchNormalization(
    _ epsilon: Float, _ inputs: [Tensor], _ type: TensorType
  ) throws(EvaluationError) -> Tensor {
    let data = try inputs[0].reals()
    let scale = try inputs[1].reals("the scale")
    let bias = try inputs[2].reals("the bias")
    let mean = try inputs[3].reals("the mean")
    let variance = try inputs[4].reals("the variance")
    let size = type.shape.count(of: 2..<type.shape.rank)
    return Tensor(
      reals: makeReals(data.count) { index in
        let channel = index / size % scale.count
        let deviation = (variance[channel] + Double(epsilon)).squareRoot()
        return scale[channel] * (data[index] - mean[channel]) / deviation + bias[channel]
      }, type)
  }

  /// The same with mean and (biased) variance of each sample's channel.
  static func instanceNormalization(
    _ epsilon: Float, _ inputs: [Tensor], _ type: TensorType
  ) throws(EvaluationError) -> Tensor {
    let data = try inputs[0].reals()
    let scale = try inputs[1].reals("the scale")
    let bias = try inputs[2].reals("the bias")
    let size = type.shape.count(of: 2..<type.shape.rank)
    var result = data
    for image in 0..<type.shape[0] * type.shape[1] {
      let pixels = image * size..<(image + 1) * size
      let mean = data[pixels].reduce(0, +) / Double(size)
      let variance = data[pixels].reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(size)
      let deviation = (variance + Double(epsilon)).squareRoot()
      let channel = image % type.shape[1]
      for pixel in pixels { result[pixel] = scale[channel] * (data[pixel] - mean) / deviation + bias[channel] }
    }
    return Tensor(reals: result, type)
  }

  /// x / s^beta with s = bias + alpha / size * sum of squares over the channel's window.
  static func responseNormalization(
    _ parameters: LocalResponseNormalization, _ data: Tensor
  ) throws(EvaluationError) -> Tensor {
    let values = try data.reals()
    let bases = parameters.bases(values, data.shape)
    return Tensor(
      reals: makeReals(values.count) { values[$0] / pow(bases[$0], Double(parameters.beta)) }, data.type)
  }

  /// dx[i] = g[i] / s[i]^beta - 2 alpha beta / size * x[i] * sum of g[c] * y[c] / s[c] over the channels c whose window
  /// holds i.
  static func responseNormalizationGradient(
    _ parameters: LocalResponseNormalization, _ inputs: [Tensor], _ type: TensorType
  ) throws(EvaluationError) -> Tensor {
    let gradient = try inputs[0].reals("the gradient")
    let values = try inputs[1].reals()
    let output = try inputs[2].reals("the output")
    let bases = parameters.bases(values, type.shape)
    let beta = Double(parameters.beta)
    let factor = 2 * Double(parameters.alpha) * beta / Double(parameters.size)
    let size = type.shape.count(of: 2..<type.shape.rank)
    let channels = type.shape[1]
    return Tensor(
      reals: makeReals(values.count) { index in
        let channel = index / size % channels
        var sum = 0.0
        for reader in 0..<channels where parameters.window(of: reader, channels: channels).contains(channel) {
          let position = index + (reader - channel) * size
          sum += gradient[position] * output[position] / bases[position]
        }
        return gradient[index] / pow(bases[index], beta) - factor * values[index] * sum
      }, type)
  }
}

extension LocalResponseNormalization {
  /// The channels that normalise `channel`.
  fileprivate func window(of channel: Int, channels: Int) -> Range<Int> {
    let first = channel - (size - 1) / 2
    return max(0, first)..<min(channels, first + size)
  }

  /// What is raised to `beta` for each element.
  fileprivate func bases(_ values: [Double], _ shape: Shape) -> [Double] {
    let imageSize = shape.count(of: 2..<shape.rank)
    return makeReals(values.count) { index in
      let channel = index / imageSize % shape[1]
      var sum = 0.0
      for other in window(of: channel, channels: shape[1]) {
        let value = values[index + (other - channel) * imageSize]
        sum += value * value
      }
      return Double(bias) + Double(alpha) / Double(size) * sum
    }
  }
}
