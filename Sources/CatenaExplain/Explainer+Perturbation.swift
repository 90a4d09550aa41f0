import CatenaTensors

// Forward passes on inputs of which parts are hidden.
extension Explainer {
  /// At each pixel the mean, over the windows that cover it, of how far hiding the window lowers the target.
  func occlusion(_ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    let (samples, baseline) = (job.samples, job.baseline)
    let (height, width) = samples.mapSize
    let windows = OcclusionWindows(height: height, width: width, job.settings)
    let logits = try await knownLogits(job).elements(of: Float.self)
    let (count, plane) = (windows.count, height * width)
    var sums = [Float](repeating: 0, count: job.count * plane)
    try await stream(
      .forward, rows: job.count * count, for: job.method,
      input: { row, values in
        samples.copy(row / count, to: values)
        windows.forEachPixel(of: row % count) { pixel in
          for channel in 0..<samples.channels { values[channel * plane + pixel] = baseline[channel * plane + pixel] }
        }
      }
    ) { row, results in
      let sample = row / count
      let target = job.targets[sample]
      let fall = logits[sample * self.classCount + target] - results.logits[target]
      windows.forEachPixel(of: row % count) { sums[sample * plane + $0] += fall }
    }
    let covers = windows.coverage
    for index in sums.indices { sums[index] /= max(covers[index % plane], 1) }
    return spread(sums, job, Tensor(logits, shape: [job.count, classCount]))
  }

  /// Random masks, weighted by the probability of the target that they leave, over their expected sum.
  func rise(_ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    let (samples, baseline, settings) = (job.samples, job.baseline, job.settings)
    let (height, width) = samples.mapSize
    let plane = height * width
    let masks = RandomMasks(settings, height: height, width: width)
    let logits = try await knownLogits(job)
    var sums = [Float](repeating: 0, count: job.count * plane)
    let scale = 1 / Float(Double(settings.masks) * settings.maskProbability)
    let rows = settings.masks
    for sample in 0..<job.count {
      try await stream(
        .forward, rows: rows, for: job.method,
        input: { row, values in
          samples.copy(sample, to: values)
          hide(values, baseline, keeping: masks[row])
        }
      ) { row, results in
        let probability = softmax(Array(results.logits))[job.targets[sample]]
        let mask = masks[row]
        for pixel in 0..<plane { sums[sample * plane + pixel] += scale * probability * mask[pixel] }
      }
    }
    return Attribution(
      relevance: Tensor(sums, shape: mapShape(job, height, width)), logits: logits, targets: job.targets)
  }

  /// The weights of superpixels in a sparse linear model of the target, fitted to random sets of hidden superpixels.
  func lime(_ job: AttributionJob) async throws(ExplanationError) -> Attribution {
    let (samples, baseline, settings) = (job.samples, job.baseline, job.settings)
    let (height, width) = samples.mapSize
    let plane = height * width
    let logits = try await knownLogits(job)
    var sums: [Float] = []
    for sample in 0..<job.count {
      let original = samples[sample]
      let labels = Superpixels.labels(
        original, channels: samples.channels, height: height, width: width, count: settings.segments)
      let perturbations = LIMEPerturbations(settings, segments: (labels.max() ?? 0) + 1)
      var (scores, weights) = ([Double](), [Double]())
      func fill(_ row: Int, _ values: UnsafeMutableBufferPointer<Float>) {
        let kept = perturbations[row]
        for index in values.indices {
          values[index] = kept[labels[index % plane]] ? original[index] : baseline[index]
        }
      }
      var copy = [Float](repeating: 0, count: samples.size)
      try await stream(.forward, rows: settings.limeSamples, for: job.method, input: fill) { row, results in
        scores.append(Double(results.logits[job.targets[sample]]))
        copy.withUnsafeMutableBufferPointer { fill(row, $0) }
        weights.append(LIMEPerturbations.similarity(original, copy, width: settings.limeKernelWidth))
      }
      let coefficients = Lasso.coefficients(
        features: (0..<settings.limeSamples).map { row in perturbations[row].map { $0 ? 1 : 0 } }, targets: scores,
        weights: weights, regularization: settings.limeRegularization)
      sums += labels.map { Float(coefficients[$0]) }
    }
    return spread(sums, job, logits)
  }

  /// One map per sample, the same for all its channels.
  private func spread(_ maps: [Float], _ job: AttributionJob, _ logits: Tensor) -> Attribution {
    let plane = maps.count / job.count
    let shape = job.samples.tensor.shape
    let values = (0..<shape.elementCount).map { maps[$0 / job.samples.size * plane + $0 % plane] }
    return Attribution(relevance: Tensor(values, shape: shape), logits: logits, targets: job.targets)
  }
}

/// Where occlusion's window stands: every `strides` pixels until it reaches the end, cut off there.
struct OcclusionWindows: Sendable {
  private let rows: [Range<Int>]
  private let columns: [Range<Int>]
  private let width: Int
  private let height: Int

  var count: Int { rows.count * columns.count }

  init(height: Int, width: Int, _ settings: AttributionSettings) {
    (self.height, self.width) = (height, width)
    let extents = [height, width].suffix(settings.window?.count ?? settings.strides?.count ?? 2)
    let window = Self.window(settings, extents: Array(extents))
    let strides = settings.strides ?? window.map { max(1, $0 / 2) }
    rows = window.count == 2 ? Self.places(height, window[0], strides[0]) : [0..<height]
    columns = Self.places(width, window[window.count - 1], strides[strides.count - 1])
  }

  /// The window that the settings give or, where they give none, one that suits pictures of these extents; never larger.
  static func window(_ settings: AttributionSettings, extents: [Int]) -> [Int] {
    guard let window = settings.window else { return extents.map { min($0, max(3, $0 / 15)) } }
    return zip(window, extents).map { min($0, $1) }
  }

  private static func places(_ extent: Int, _ window: Int, _ stride: Int) -> [Range<Int>] {
    let window = min(window, extent)
    let count = (extent - window + stride - 1) / stride + 1
    return (0..<count).map { $0 * stride..<min($0 * stride + window, extent) }
  }

  func forEachPixel(of window: Int, _ body: (Int) -> Void) {
    for row in rows[window / columns.count] {
      for column in columns[window % columns.count] { body(row * width + column) }
    }
  }

  /// How many windows cover each pixel.
  var coverage: [Float] {
    var counts = [Float](repeating: 0, count: height * width)
    for window in 0..<count { forEachPixel(of: window) { counts[$0] += 1 } }
    return counts
  }
}

/// RISE's masks: a coarse random grid, enlarged linearly and shifted by less than a cell.
package struct RandomMasks: Sendable {
  /// What chance decides about one mask: the grid, row by row, and how far it is shifted.
  package struct Mask: Sendable {
    package var cells: [Float]
    package var top: Int
    package var left: Int
  }
  package let masks: [Mask]
  private let cells: Int
  private let height: Int
  private let width: Int

  package init(_ settings: AttributionSettings, height: Int, width: Int) {
    (self.height, self.width, cells) = (height, width, settings.maskCells)
    var generator = SeededGenerator(seed: settings.seed)
    var masks: [Mask] = []
    let (cellHeight, cellWidth) = Self.cellSize(height, width, settings.maskCells)
    for _ in 0..<settings.masks {
      let grid = (0..<settings.maskCells * settings.maskCells).map { _ in
        generator.uniform() < settings.maskProbability ? Float(1) : 0
      }
      masks.append(
        Mask(
          cells: grid, top: Int(generator.uniform() * Double(cellHeight)),
          left: Int(generator.uniform() * Double(cellWidth))))
    }
    self.masks = masks
  }

  private static func cellSize(_ height: Int, _ width: Int, _ cells: Int) -> (height: Int, width: Int) {
    ((height + cells - 1) / cells, (width + cells - 1) / cells)
  }

  /// The mask, row by row.
  subscript(index: Int) -> [Float] {
    let mask = masks[index]
    let cell = Self.cellSize(height, width, cells)
    let large = (height: (cells + 1) * cell.height, width: (cells + 1) * cell.width)
    let enlarged = resizedMap(
      mask.cells, height: cells, width: cells, toHeight: large.height, width: large.width, .bilinear)
    var result: [Float] = []
    result.reserveCapacity(height * width)
    for row in mask.top..<mask.top + height {
      let start = row * large.width + mask.left
      result.append(contentsOf: enlarged[start..<start + width])
    }
    return result
  }
}
