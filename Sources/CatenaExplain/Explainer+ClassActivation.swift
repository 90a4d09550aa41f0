import CatenaTensors

// Maps of a layer's channels.
extension Explainer {
  /// The channels' values weighted by their mean gradients, brought to the input's size. As in Captum negative values
  /// stay.
  func gradCAM(_ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    let maps = try await classActivation(job, job.settings.interpolation ?? .bilinear, positivePart: false)
    let (height, width) = job.samples.mapSize
    return Attribution(
      relevance: Tensor(maps.values, shape: mapShape(job, height, width)), logits: maps.logits, targets: job.targets)
  }

  /// Guided backpropagation times the positive part of Grad-CAM.
  func guidedGradCAM(_ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    let maps = try await classActivation(job, job.settings.interpolation ?? .nearest, positivePart: true)
    var result = try await gradient(job, .guidedBackpropagation)
    var relevance = result.relevance.elements(of: Float.self)
    let plane = maps.values.count / job.count
    for index in relevance.indices {
      relevance[index] *= maps.values[index / job.samples.size * plane + index % plane]
    }
    result.relevance = Tensor(relevance, shape: result.relevance.shape)
    return result
  }

  private func classActivation(
    _ job: AttributionJob, _ interpolation: MapInterpolation, positivePart: Bool
  ) async throws(ExplanationError) -> (values: [Float], logits: Tensor) {
    let shape = try layer(named: job.settings.layer).shape
    let (small, large) = (spatial(shape), job.samples.mapSize)
    let (channels, plane) = (shape[1], small.height * small.width)
    let samples = job.samples
    var (maps, logits) = ([Float](), [Float]())
    try await stream(
      .layerGradient(job.settings.layer), rows: job.count, for: job.method, input: { samples.copy($0, to: $1) },
      target: { job.targets[$0] }
    ) { _, row in
      var map = [Float](repeating: 0, count: plane)
      for channel in 0..<channels {
        var weight: Float = 0
        for pixel in 0..<plane { weight += row.results[1][channel * plane + pixel] }
        weight /= Float(plane)
        for pixel in 0..<plane { map[pixel] += weight * row.results[0][channel * plane + pixel] }
      }
      if positivePart { for pixel in 0..<plane { map[pixel] = max(map[pixel], 0) } }
      maps += resizedMap(
        map, height: small.height, width: small.width, toHeight: large.height, width: large.width, interpolation)
      logits.append(contentsOf: row.logits)
    }
    return (maps, Tensor(logits, shape: [job.count, classCount]))
  }

  /// ReLU of the channels weighted by softmax of the target's logits on the input masked by each channel's map, which is
  /// brought to the input's size and to [0, 1]. What a mask hides is the baseline.
  func scoreCAM(_ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    let shape = try layer(named: job.settings.layer).shape
    let (small, large) = (spatial(shape), job.samples.mapSize)
    let interpolation = job.settings.interpolation ?? .bilinear
    let (channels, plane, pixels) = (shape[1], small.height * small.width, large.height * large.width)
    let (samples, baseline) = (job.samples, job.baseline)
    var (relevance, logits) = ([Float](), [Float]())
    for sample in 0..<job.count {
      var layer: [Float] = []
      try await stream(
        .layer(job.settings.layer), rows: 1, for: job.method, input: { samples.copy(sample, to: $1) }
      ) { _, row in
        layer = Array(row.results[0])
        logits.append(contentsOf: row.logits)
      }
      func map(_ channel: Int) -> [Float] {
        resizedMap(
          Array(layer[channel * plane..<(channel + 1) * plane]), height: small.height, width: small.width,
          toHeight: large.height, width: large.width, interpolation)
      }
      var scores: [Float] = []
      try await stream(
        .forward, rows: channels, for: job.method,
        input: { channel, values in
          samples.copy(sample, to: values)
          hide(values, baseline, keeping: normalized(map(channel)))
        }
      ) { _, row in scores.append(row.logits[job.targets[sample]]) }
      let weights = softmax(scores)
      var sum = [Float](repeating: 0, count: pixels)
      for channel in 0..<channels {
        let values = map(channel)
        for pixel in 0..<pixels { sum[pixel] += weights[channel] * values[pixel] }
      }
      relevance += sum.map { max($0, 0) }
    }
    return Attribution(
      relevance: Tensor(relevance, shape: mapShape(job, large.height, large.width)),
      logits: Tensor(logits, shape: [job.count, classCount]), targets: job.targets)
  }

  private func spatial(_ shape: Shape) -> (height: Int, width: Int) {
    let extents = shape.dimensions.dropFirst(2)
    return (extents.dropLast().reduce(1, *), extents.last ?? 1)
  }

  /// One channel, spatial extents as the input.
  func mapShape(_ job: AttributionJob, _ height: Int, _ width: Int) -> Shape {
    Shape([job.count, 1] + job.samples.tensor.shape.dimensions.dropFirst(2))
  }
}

/// Mixes towards the baseline where the mask (one plane for all channels) is below 1.
func hide(_ values: UnsafeMutableBufferPointer<Float>, _ baseline: [Float], keeping mask: [Float]) {
  let plane = mask.count
  for index in values.indices {
    values[index] = baseline[index] + mask[index % plane] * (values[index] - baseline[index])
  }
}

/// Shifted and scaled to [0, 1]; a constant map becomes zeros.
private func normalized(_ map: [Float]) -> [Float] {
  let (low, high) = (map.min() ?? 0, map.max() ?? 0)
  guard high > low else { return map.map { _ in 0 } }
  return map.map { ($0 - low) / (high - low) }
}
