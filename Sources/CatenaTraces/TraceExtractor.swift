import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors

/// How far an extraction is.
public struct TraceProgress: Sendable {
  /// The stages of one trace, in their order.
  public enum Stage: String, Sendable {
    /// Augmentations run through the dense network.
    case observing = "observing the dense network"
    /// Layers are pruned.
    case pruning = "pruning"
    /// The trace runs on the augmentations.
    case checking = "checking the trace"
  }
  /// What is done.
  public var stage: Stage
  /// Images or layers that are done.
  public var completed: Int
  /// Images or layers in all.
  public var total: Int
}

/// A picture to trace.
public struct TraceSample: Sendable {
  /// The name in messages and files.
  public var name: String
  /// The picture at its original size: augmentations are cut from it.
  public var image: Image

  /// A picture.
  public init(name: String, image: Image) { (self.name, self.image) = (name, image) }
}

/// Extracts traces: the connections of a network that serve one picture (SPADE; Moakhar et al., 2024).
public struct TraceExtractor: Sendable {
  /// The network.
  public let network: TraceNetwork
  /// What runs the network.
  public let backend: any Backend
  /// What runs the solvers.
  public let solvers: any LayerSolverBackend
  /// How pictures become inputs.
  public let preprocessing: Preprocessing
  /// The settings.
  public let settings: TraceSettings
  /// Ratios by layer of the network.
  public let ratios: [Double]
  /// How programs are compiled.
  public let options: CompileOptions

  /// Prepares the extraction.
  /// - Throws: `TraceError.ratios` when they do not fit the network.
  public init(
    network: TraceNetwork, backend: any Backend, solvers: any LayerSolverBackend, preprocessing: Preprocessing,
    ratios: SparsityRatios, settings: TraceSettings = TraceSettings(), options: CompileOptions = CompileOptions()
  ) throws(TraceError) {
    precondition(settings.augmentations > 0, "a trace needs an augmentation")
    self.network = network
    self.backend = backend
    self.solvers = solvers
    self.preprocessing = preprocessing
    self.settings = settings
    self.ratios = try ratios.ratios(of: network)
    self.options = options
    for layer in network.layers {
      guard let weights = network.graph.constants[layer.weights], weights.floats.allSatisfy(\.isFinite) else {
        throw .notFinite("the weights of the layer '\(layer.name)' hold NaN or infinite numbers")
      }
    }
  }

  /// The layers that a solver works on: those with a ratio, or, as in the published code, all.
  var prunedLayers: [Int] {
    network.layers.indices.filter { settings.isCompatible || ratios[$0] > 0 }
  }

  /// How the programs are compiled by which a trace is checked: always in f32, so that a difference is the trace's.
  var checkOptions: CompileOptions {
    var options = options
    options.precision = .f32
    return options
  }

  /// The network for as many images as traces are checked on, so that no run is partly empty.
  func checkedNetwork() throws -> TraceNetwork {
    let images = min(settings.checkedAugmentations, settings.augmentations) + 1
    return try network.rebatched(LogitsRunner.batch(for: images, largest: network.batch))
  }

  /// The trace of one picture.
  /// - Throws: `CancellationError` or `ComputeError.cancelled` when the task is cancelled; `TraceError`, `ComputeError`,
  ///   `FileError` for what does not fit or fails.
  public func trace(
    of sample: TraceSample, progress: @Sendable (TraceProgress) -> Void = { _ in }
  ) async throws -> TraceResult {
    try await session().trace(of: sample, progress: progress)
  }

  /// The traces of several pictures, one after the other; the compiled network is shared.
  public func traces(
    of samples: [TraceSample], progress: @Sendable (Int, TraceProgress) -> Void = { _, _ in },
    each body: (Int, TraceResult) async throws -> Void
  ) async throws {
    guard !samples.isEmpty else { return }
    try check(samples)
    let session = try await session()
    for (index, sample) in samples.enumerated() {
      try await body(index, try await session.trace(of: sample) { progress(index, $0) })
    }
  }

  /// Compiles the dense network, for as many pictures as come.
  /// - Throws: `TraceError`, `ComputeError`.
  public func session() async throws -> TraceSession { try TraceSession(self, await TraceObservation(self)) }

  /// Throws when a picture does not fit the network, before any work is done.
  /// - Throws: `FileError` for what cannot be preprocessed, `TraceError.unsuitable`.
  public func check(_ samples: [TraceSample]) throws {
    for sample in samples { _ = try input(of: sample) }
  }

  /// A picture as the network reads it.
  func input(of sample: TraceSample) throws -> Tensor {
    let input = try preprocessing.tensor(of: [sample.image]) { _ in sample.name }
    let found = Array(input.shape.dimensions.dropFirst())
    let expected = Array(network.graph.shape(network.graph.inputs[0]).dimensions.dropFirst())
    guard found == expected else {
      throw TraceError.unsuitable(
        "\(sample.name): the preprocessed picture is \(Shape(found)), the network reads \(Shape(expected)): choose "
          + "another --preprocess")
    }
    return input
  }
}
