import CatenaTensors

// One forward and backward pass per sample.
extension Explainer {
  /// A gradient under some rules.
  func gradient(_ job: AttributionJob, _ kind: ProgramKind) async throws(ExplanationError) -> Attribution {
    try await mapped(job, kind) { _, gradient, relevance in _ = relevance.update(fromContentsOf: gradient) }
  }

  func saliency(_ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    try await mapped(job, .gradient) { _, gradient, relevance in
      for index in gradient.indices { relevance[index] = abs(gradient[index]) }
    }
  }

  /// The gradient times the distance from the baseline, which is the input itself where nothing is zero.
  func inputTimesGradient(_ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    let baseline = job.baseline
    return try await mapped(job, .gradient) { sample, gradient, relevance in
      job.samples.copy(sample, to: relevance)
      for index in gradient.indices { relevance[index] = (relevance[index] - baseline[index]) * gradient[index] }
    }
  }

  /// Multipliers against the baseline's run, times the distance.
  func deepLIFT(_ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    let baseline = job.baseline
    var relevance = [Float](repeating: 0, count: job.samples.tensor.elementCount)
    var logits: [Float] = []
    var deltas: [Double] = []
    let (size, samples) = (job.samples.size, job.samples)
    try await stream(
      .deepLIFT, rows: job.count, for: job.method, input: { samples.copy($0, to: $1) },
      target: { job.targets[$0] }, reference: baseline
    ) { sample, row in
      let (target, start) = (job.targets[sample], sample * size)
      let values = samples[sample]
      var total = 0.0
      for index in 0..<size {
        let share = row.results[1][index] * (values[index] - baseline[index])
        relevance[start + index] = share
        total += Double(share)
      }
      logits.append(contentsOf: row.logits)
      deltas.append(total - Double(row.logits[target] - row.results[0][target]))
    }
    return Attribution(
      relevance: Tensor(relevance, shape: samples.tensor.shape),
      logits: Tensor(logits, shape: [job.count, classCount]),
      targets: job.targets, completenessDelta: deltas)
  }

  func relevance(_ job: AttributionJob, _ kind: RelevanceKind) async throws(ExplanationError) -> Attribution {
    var relevance: [Float] = []
    relevance.reserveCapacity(job.samples.tensor.elementCount)
    var logits: [Float] = []
    var leaks: [Double] = []
    let samples = job.samples
    try await stream(
      .relevance(kind), rows: job.count, for: job.method, input: { samples.copy($0, to: $1) },
      target: { job.targets[$0] }
    ) { _, row in
      relevance.append(contentsOf: row.results[0])
      leaks.append(Double(row.results[1][0]))
      logits.append(contentsOf: row.logits)
    }
    return Attribution(
      relevance: Tensor(relevance, shape: samples.tensor.shape),
      logits: Tensor(logits, shape: [job.count, classCount]),
      targets: job.targets, leak: leaks)
  }

  /// A map of each sample's gradient.
  private func mapped(
    _ job: AttributionJob, _ kind: ProgramKind,
    _ transform: (Int, UnsafeBufferPointer<Float>, UnsafeMutableBufferPointer<Float>) -> Void
  ) async throws(ExplanationError) -> Attribution {
    var relevance = [Float](repeating: 0, count: job.samples.tensor.elementCount)
    var logits: [Float] = []
    let (size, samples) = (job.samples.size, job.samples)
    try await stream(
      kind, rows: job.count, for: job.method, input: { samples.copy($0, to: $1) }, target: { job.targets[$0] }
    ) { sample, row in
      relevance.withUnsafeMutableBufferPointer { target in
        transform(
          sample, row.results[0], UnsafeMutableBufferPointer(rebasing: target[sample * size..<(sample + 1) * size]))
      }
      logits.append(contentsOf: row.logits)
    }
    return Attribution(
      relevance: Tensor(relevance, shape: samples.tensor.shape),
      logits: Tensor(logits, shape: [job.count, classCount]),
      targets: job.targets)
  }
}
