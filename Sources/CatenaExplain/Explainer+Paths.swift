import CatenaTensors

// Gradients at several points per sample, added up.
extension Explainer {
  /// The sum over Gauss-Legendre points of weight * gradient, times the distance from the baseline.
  func integratedGradients(_ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    let rule = GaussLegendre(points: job.settings.steps)
    let samples = job.samples
    let baseline = job.baseline
    let gradients = try await summedGradients(
      job, points: job.settings.steps, weight: { Float(rule.weights[$0]) }
    ) { sample, point, values in
      samples.copy(sample, to: values)
      let position = Float(rule.positions[point])
      for index in values.indices { values[index] = baseline[index] + position * (values[index] - baseline[index]) }
    }
    return try await timesDistance(gradients, job)
  }

  /// The mean of gradients at random points between baseline and (noisy) input, times the distance.
  func gradientSHAP(_ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    let (points, settings, samples) = (job.settings.noiseSamples, job.settings, job.samples)
    let baseline = job.baseline
    let draws = NoiseDraws(settings, size: samples.size, deviation: settings.gradientSHAPDeviation)
    let share = 1 / Float(points)
    // With noise the distance differs from point to point, so it is multiplied in before the sum.
    var relevance = [Float](repeating: 0, count: samples.tensor.elementCount)
    let size = samples.size
    func fill(_ row: Int, _ values: UnsafeMutableBufferPointer<Float>) {
      samples.copy(row / points, to: values)
      draws.addNoise(row % points, to: values)
    }
    var start = [Float](repeating: 0, count: size)
    try await stream(
      .gradient, rows: job.count * points, for: job.method,
      input: { row, values in
        fill(row, values)
        let position = draws.positions[row % points]
        for index in values.indices { values[index] = baseline[index] + position * (values[index] - baseline[index]) }
      }, target: { job.targets[$0 / points] }
    ) { row, results in
      start.withUnsafeMutableBufferPointer { fill(row, $0) }
      let offset = row / points * size
      for index in 0..<size {
        relevance[offset + index] += share * results.results[0][index] * (start[index] - baseline[index])
      }
    }
    return try await completed(relevance, job)
  }

  /// The mean saliency of noisy copies.
  func smoothGrad(_ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    let (points, samples) = (job.settings.noiseSamples, job.samples)
    let draws = NoiseDraws(job.settings, size: samples.size, deviation: job.settings.smoothGradDeviation)
    let relevance = try await summedGradients(
      job, points: points, absolute: true, weight: { _ in 1 / Float(points) }
    ) { sample, point, values in
      samples.copy(sample, to: values)
      draws.addNoise(point, to: values)
    }
    let logits = try await knownLogits(job)
    return Attribution(
      relevance: Tensor(relevance, shape: samples.tensor.shape), logits: logits, targets: job.targets)
  }

  private func summedGradients(
    _ job: AttributionJob, points: Int, absolute: Bool = false, weight: (Int) -> Float,
    fill: (Int, Int, UnsafeMutableBufferPointer<Float>) -> Void
  ) async throws(ExplanationError) -> [Float] {
    var sum = [Float](repeating: 0, count: job.samples.tensor.elementCount)
    let size = job.samples.size
    try await stream(
      .gradient, rows: job.count * points, for: job.method,
      input: { row, values in fill(row / points, row % points, values) }, target: { job.targets[$0 / points] }
    ) { row, results in
      let (factor, offset, gradient) = (weight(row % points), row / points * size, results.results[0])
      sum.withUnsafeMutableBufferPointer { sum in
        if absolute {
          for index in 0..<size { sum[offset &+ index] += factor * abs(gradient[index]) }
        } else {
          for index in 0..<size { sum[offset &+ index] += factor * gradient[index] }
        }
      }
    }
    return sum
  }

  private func timesDistance(
    _ gradients: [Float], _ job: AttributionJob
  ) async throws(ExplanationError) -> Attribution {
    let baseline = job.baseline
    let size = job.samples.size
    var relevance = gradients
    job.samples.tensor.withElements(of: Float.self) { values in
      for index in relevance.indices { relevance[index] *= values[index] - baseline[index % size] }
    }
    return try await completed(relevance, job)
  }

  /// The attribution with what its sum differs from the target's change by.
  private func completed(_ relevance: [Float], _ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    let logits = try await knownLogits(job)
    let start = try await forward(Samples(Tensor(job.baseline, shape: Shape([1] + sampleShape.dimensions))))
    let size = job.samples.size
    let deltas = logits.withElements(of: Float.self) { values in
      job.targets.enumerated().map { sample, target in
        let total = relevance[sample * size..<(sample + 1) * size].reduce(0.0) { $0 + Double($1) }
        return total - Double(values[sample * classCount + target] - start[target])
      }
    }
    return Attribution(
      relevance: Tensor(relevance, shape: job.samples.tensor.shape), logits: logits, targets: job.targets,
      completenessDelta: deltas)
  }

  func knownLogits(_ job: AttributionJob) async throws(ExplanationError) -> Tensor {
    let values: [Float]
    if let known = job.logits { values = known } else { values = try await forward(job.samples) }
    return Tensor(values, shape: [job.count, classCount])
  }
}

/// The random numbers of one request: the same for every sample, so that a sample's result does not depend on others.
package struct NoiseDraws: Sendable {
  /// Per point, a place between baseline and input.
  package let positions: [Float]
  /// Per point, what is added to every value of an input; none for a deviation of 0.
  package let noise: [Float]
  private let size: Int

  package init(_ settings: AttributionSettings, size: Int, deviation: Double) {
    var generator = SeededGenerator(seed: settings.seed)
    positions = (0..<settings.noiseSamples).map { _ in Float(generator.uniform()) }
    self.size = size
    noise =
      deviation == 0
      ? [] : (0..<settings.noiseSamples * size).map { _ in Float(deviation * generator.gaussian()) }
  }

  func addNoise(_ point: Int, to values: UnsafeMutableBufferPointer<Float>) {
    guard !noise.isEmpty else { return }
    for index in 0..<size { values[index] += noise[point * size + index] }
  }
}
