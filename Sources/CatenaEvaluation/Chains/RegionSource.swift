import CatenaChains
import CatenaFormats
import CatenaTensors

/// Samples with what is known of their classes.
public struct LabelledSamples: Sendable {
  /// The samples and their names.
  public let region: Region
  /// The index of each sample's class in the network's output, where all are known.
  public let labels: [Int]?

  /// Samples; a label for each, or none.
  public init(region: Region, labels: [Int]?) {
    self.region = region
    self.labels = labels
  }
}

/// A region, and the samples on which its chain is tried besides.
public struct EvaluationRegion: Sendable {
  /// The samples that the chain is to serve.
  public let samples: LabelledSamples
  /// The classes, for people.
  public let classes: [String]
  /// The indices of the classes in the network's output, where they are known.
  public let classLabels: [Int]?
  /// Other images of the same classes.
  public let unseen: LabelledSamples?
  /// Images of other classes.
  public let control: LabelledSamples?
  /// Regions of other samples of the same classes, as many of each, disjoint from this and from each other.
  public let others: [Region]
}

/// Where regions are taken from, and how many images of each kind.
public struct RegionSource: Sendable {
  /// The images that regions are made of.
  public var images: LabelledImages
  /// Images of which none is in a region; unseen ones are taken from these, or from `images` without the region.
  public var unseen: LabelledImages?
  /// How images become samples.
  public var preprocessing: Preprocessing
  /// The extents of one sample, where the network's file fixes them.
  public var inputShape: Shape?
  /// The most unseen images of a region's classes.
  public var unseenLimit = 400
  /// The most images of other classes.
  public var controlLimit = 200
  /// How many regions of other samples of the same classes are wanted.
  public var otherCount = 0
  /// Seed of what is drawn.
  public var seed: UInt64 = 0

  /// A source.
  public init(
    images: LabelledImages, unseen: LabelledImages?, preprocessing: Preprocessing, inputShape: Shape?
  ) {
    self.images = images
    self.unseen = unseen
    self.preprocessing = preprocessing
    self.inputShape = inputShape
  }

  /// Regions drawn at random: `classes` classes with `perClass` samples each.
  /// - Throws: `FileError` when there are too few classes or images.
  public func drawn(_ count: Int, classes: Int, perClass: Int) throws(FileError) -> [NamedRegion] {
    let groups = Dictionary(grouping: images.entries.indices) { images.entries[$0].group }
    let able = groups.filter { $0.value.count >= perClass }.keys.sorted()
    guard able.count >= classes else {
      throw FileError(
        .unsuitable, images.path,
        "\(able.count) of its \(groups.count) classes have at least \(perClass) images; a region needs \(classes)")
    }
    return (0..<count).map { number in
      var generator = SeededGenerator(seed: seed &+ UInt64(number))
      let chosen = able.shuffled(using: &generator).prefix(classes).sorted()
      let samples = chosen.flatMap { group in
        (groups[group] ?? []).shuffled(using: &generator).prefix(perClass).sorted()
      }
      return NamedRegion(name: chosen.joined(separator: ", "), seed: Int(seed) + number, indices: samples)
    }
  }

  /// Reads a region's samples and those that it is tried on.
  public func region(_ named: NamedRegion, at position: Int) throws -> EvaluationRegion {
    let title = named.title(at: position)
    return try region(title: title, indices: images.indices(of: named, title: title))
  }

  /// A region whose chain exists already: its samples are found among the images by their names.
  /// - Throws: `ChainError.mismatch` for a sample that is not among the images.
  public func region(of chain: StoredChain) throws -> EvaluationRegion {
    var indices: [Int] = []
    for name in chain.region.sampleNames {
      guard let index = images.position(ofSampleNamed: name) else {
        throw ChainError.mismatch(
          "the chain's sample '\(name)' is not among the images of '\(images.path)': give the images it was made of")
      }
      indices.append(index)
    }
    return try region(title: chain.region.name, indices: indices)
  }

  private func region(title: String, indices: [Int]) throws -> EvaluationRegion {
    let groups = indices.map { images.entries[$0].group }
    let classes = Set(groups)
    var generator = SeededGenerator(seed: seed)
    let own = Set(indices)
    let pool = unseen ?? images
    let rest = pool.entries.indices.filter { unseen != nil || !own.contains($0) }.shuffled(using: &generator)
    let inside = rest.filter { classes.contains(pool.entries[$0].group) }.prefix(unseenLimit).sorted()
    let outside = rest.filter { !classes.contains(pool.entries[$0].group) }.prefix(controlLimit).sorted()
    let labels = images.labels(of: indices)
    return EvaluationRegion(
      samples: LabelledSamples(region: try read(images, indices, title), labels: labels),
      classes: unique(groups), classLabels: labels.map { Set($0).sorted() },
      unseen: try labelled(pool, inside, title), control: try labelled(pool, outside, title),
      others: try otherRegions(groups: groups, own: own, title: title, &generator))
  }

  private func otherRegions(
    groups: [String], own: Set<Int>, title: String, _ generator: inout SeededGenerator
  ) throws -> [Region] {
    var free = images.entries.indices.filter { !own.contains($0) }.shuffled(using: &generator)
    var regions: [Region] = []
    for number in 0..<otherCount {
      var taken: [Int] = []
      for group in groups {
        guard let place = free.firstIndex(where: { images.entries[$0].group == group }) else { return regions }
        taken.append(free.remove(at: place))
      }
      regions.append(try read(images, taken, "\(title), samples \(number + 2)"))
    }
    return regions
  }

  private func labelled(_ pool: LabelledImages, _ indices: [Int], _ title: String) throws -> LabelledSamples? {
    guard !indices.isEmpty else { return nil }
    return LabelledSamples(region: try read(pool, indices, title), labels: pool.labels(of: indices))
  }

  private func read(_ pool: LabelledImages, _ indices: [Int], _ title: String) throws -> Region {
    let samples = try pool.samples(indices, preprocessing, inputShape: inputShape)
    return try Region(name: title, samples: samples.tensor, sampleNames: samples.names)
  }

  private func unique(_ groups: [String]) -> [String] {
    var seen: Set<String> = []
    return groups.filter { seen.insert($0).inserted }
  }
}

extension LabelledImages {
  /// The labels of some images, `nil` when one of them is not known.
  fileprivate func labels(of indices: [Int]) -> [Int]? {
    let labels = indices.compactMap { entries[$0].label }
    return labels.count == indices.count ? labels : nil
  }
}
