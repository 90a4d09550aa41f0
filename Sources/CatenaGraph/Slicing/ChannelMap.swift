/// Where the indices of one axis come from: index i is index `sources[i]` of the source axis, or new where that is `nil`.
///
/// The index arithmetic of slicing is made of these, but for reshapes: concatenation and cropping are windows, gathers are
/// selections, and what is left of a map after a cut is the map restricted to the kept indices.
public struct ChannelMap: Sendable, Hashable, Codable {
  /// For each index, the index on the source axis.
  public let sources: [Int?]
  /// The number of indices of the source axis.
  public let sourceExtent: Int

  /// A map from its table.
  public init(sources: [Int?], sourceExtent: Int) {
    precondition(
      sources.allSatisfy { $0.map((0..<sourceExtent).contains) ?? true }, "a source index is beyond \(sourceExtent)")
    self.sources = sources
    self.sourceExtent = sourceExtent
  }

  /// The number of indices.
  public var extent: Int { sources.count }

  /// Every index is its own source.
  public static func identity(_ extent: Int) -> ChannelMap {
    ChannelMap(sources: Array(0..<extent), sourceExtent: extent)
  }

  /// The listed indices of an axis of `extent`, in the order of the list.
  public static func selection(_ indices: [Int], of extent: Int) -> ChannelMap {
    ChannelMap(sources: indices, sourceExtent: extent)
  }

  /// Index i is source i + offset, or new where the source axis has no such index.
  public static func window(_ extent: Int, offset: Int, of sourceExtent: Int) -> ChannelMap {
    ChannelMap(
      sources: (0..<extent).map { (0..<sourceExtent).contains($0 + offset) ? $0 + offset : nil },
      sourceExtent: sourceExtent)
  }

  /// The map of `next`'s indices to this map's source axis, where this map's indices are `next`'s source axis.
  public func followed(by next: ChannelMap) -> ChannelMap {
    precondition(next.sourceExtent == extent, "\(next.sourceExtent) indices do not follow \(extent)")
    return ChannelMap(sources: next.sources.map { $0.flatMap { sources[$0] } }, sourceExtent: sourceExtent)
  }

  /// The map from the source axis to this one; `nil` when two indices have one source.
  public var inverse: ChannelMap? {
    var result = [Int?](repeating: nil, count: sourceExtent)
    for (index, source) in sources.enumerated() {
      guard let source else { continue }
      if result[source] != nil { return nil }
      result[source] = index
    }
    return ChannelMap(sources: result, sourceExtent: extent)
  }

  /// For each index of the source axis, the indices that come from it, ascending.
  public var fibers: [[Int]] {
    var result = [[Int]](repeating: [], count: sourceExtent)
    for (index, source) in sources.enumerated() {
      if let source { result[source].append(index) }
    }
    return result
  }

  /// The same map between what is left of both axes when only the listed indices, ascending, are kept. An index whose
  /// source was cut becomes new.
  public func restricted(to kept: [Int], sources keptSources: [Int]) -> ChannelMap {
    let positions = ChannelMap.selection(keptSources, of: sourceExtent).positions
    return ChannelMap(
      sources: kept.map { sources[$0].flatMap { positions[$0] } }, sourceExtent: keptSources.count)
  }

  private var positions: [Int: Int] {
    Dictionary(uniqueKeysWithValues: sources.enumerated().compactMap { index, source in source.map { ($0, index) } })
  }
}
