import CatenaTensors

/// Axes of a value that are cut as one, in row-major order: what was one axis before a reshape split it, or will be one
/// when a reshape has merged them, as heads and their channels do.
///
/// Of the last, the inner axis, each index of the others keeps indices of its own, equally many everywhere. A bundle
/// counts as one more axis of its value, behind the real ones: axis `rank + i` is bundle i, with an index for each
/// combination.
struct AxisBundle: Sendable, Hashable {
  /// The axes, outermost first.
  var axes: [Int]
  /// The indices of the bundle.
  var combinations: Combinations

  init(_ axes: [Int], of shape: Shape) {
    self.axes = axes
    combinations = Combinations(axes.map { shape.dimensions[$0] })
  }

  var inner: Int { axes.last! }
  var outer: ArraySlice<Int> { axes.dropLast() }
}

/// The combinations of indices of several axes, numbered in row-major order.
struct Combinations: Sendable, Hashable {
  let extents: [Int]
  let count: Int
  private let strides: [Int]

  init(_ extents: [Int]) {
    self.extents = extents
    count = extents.reduce(1, *)
    strides = Shape(extents).strides
  }

  /// The index along one of the axes.
  func index(_ axis: Int, of combination: Int) -> Int { combination / strides[axis] % extents[axis] }
}

/// Finds the bundles of a graph: from reshapes along all that nodes do with the axes, as far as they keep them together.
/// Where a node does something else with the inner axis, or reads it against a constant, nothing that is tied to it is a
/// bundle.
struct AxisBundles {
  /// An operand or a result of a node.
  private struct Seat: Hashable {
    var node: Int
    var operand: Place.Operand
  }
  /// Two bundles at a node, and where each index of the second is in the first.
  private struct Tie {
    var node: Int
    var from: Place.Operand
    var to: Place.Operand
    var bundles: (from: Int, to: Int)
    var map: ChannelMap
  }

  private let graph: Graph
  private let rules: [AxisRules]
  private var bundles: [(value: ValueID, bundle: AxisBundle)] = []
  private var ofValue: ValueMap<[Int]> = [:]
  private var sets = ChannelClasses()
  private var broken: Set<Int> = []
  private var ties: [Tie] = []
  private var pending: [Int] = []

  private init(_ graph: Graph, _ rules: [AxisRules]) {
    self.graph = graph
    self.rules = rules
  }

  /// The rules with bundles in the place of their inner axes.
  static func applied(to rules: [AxisRules], of graph: Graph) -> [AxisRules] {
    if rules.allSatisfy({ $0.merges.isEmpty }) { return rules }
    var search = AxisBundles(graph, rules)
    for (node, rules) in rules.enumerated() {
      for merge in rules.merges {
        _ = search.add(
          AxisBundle(merge.factors.map(\.axis), of: rules.shape(merge.factors[0].operand)),
          of: search.value(Seat(node: node, operand: merge.factors[0].operand)))
      }
    }
    search.follow()
    return search.applied()
  }

  private func value(_ seat: Seat) -> ValueID {
    switch seat.operand {
    case .input(let index): graph.nodes[seat.node].inputs[index]
    case .output(let index): graph.nodes[seat.node].outputs[index]
    }
  }

  /// Notes a bundle; one that shares an axis with another of its value is none, and neither is the other.
  private mutating func add(_ bundle: AxisBundle, of value: ValueID) -> Int {
    if let known = ofValue[value]?.first(where: { bundles[$0].bundle == bundle }) { return known }
    let id = sets.add(1)
    bundles.append((value, bundle))
    for other in ofValue[value] ?? [] where !Set(bundles[other].bundle.axes).isDisjoint(with: bundle.axes) {
      broken.formUnion([other, id])
    }
    if graph.constants[value] != nil || graph.inputs.contains(value) || graph.outputs.contains(value) {
      broken.insert(id)
    }
    ofValue[value, default: []].append(id)
    pending.append(id)
    return id
  }

  // MARK: Following bundles

  private mutating func follow() {
    let producers = graph.producers()
    let readers = graph.readers()
    // Those of most axes come first: a node that picks from an axis leaves bundles of fewer, which do not tell of it.
    while let next = pending.indices.max(by: { axisCount(pending[$0]) < axisCount(pending[$1]) }) {
      let id = pending.remove(at: next)
      // What is broken takes all that it is tied to with it, so that more ties tell nothing.
      if broken.contains(id) { continue }
      let value = bundles[id].value
      if let producer = producers[value] {
        for (index, output) in graph.nodes[producer].outputs.enumerated() where output == value {
          follow(id, at: Seat(node: producer, operand: .output(index)))
        }
      }
      for reader in Set(readers[value]) {
        for (index, input) in graph.nodes[reader].inputs.enumerated() where input == value {
          follow(id, at: Seat(node: reader, operand: .input(index)))
        }
      }
    }
  }

  private func axisCount(_ id: Int) -> Int { bundles[id].bundle.axes.count }

  /// Ties a bundle to what a node makes of it, or finds that the node takes it apart.
  private mutating func follow(_ id: Int, at seat: Seat) {
    let rules = rules[seat.node]
    let bundle = bundles[id].bundle
    let places = bundle.axes.map { Place(operand: seat.operand, axis: $0) }
    let inner = places.last!
    let isMerge = rules.merges.contains { $0.factors == places }
    let partners = rules.identified(with: inner)
    let isElsewhere = rules.merges.contains {
      $0.merged == inner || ($0.factors != places && $0.factors.contains(inner))
    }
    guard !isElsewhere, !rules.isPinned(inner), !rules.isCropped(inner),
      isMerge || partners.count > 1 || rules.sums.contains(where: { $0.contains(inner) })
    else {
      broken.insert(id)
      return
    }
    // Where the node picks from an axis, what it picks is tied to that bundle, not to what else is picked.
    let hub = partners.max { axisCount(at: $0, of: seat.node) < axisCount(at: $1, of: seat.node) }!
    for partner in partners where partner != inner {
      if axisCount(at: hub, of: seat.node) > axisCount(id), partner != hub { continue }
      tie(id, at: inner, to: partner, node: seat.node)
    }
  }

  /// The number of axes of the bundle that a place is known to be the inner axis of.
  private func axisCount(at place: Place, of node: Int) -> Int {
    let known = ofValue[value(Seat(node: node, operand: place.operand))] ?? []
    return known.first { bundles[$0].bundle.inner == place.axis }.map(axisCount) ?? 0
  }

  private mutating func tie(_ id: Int, at inner: Place, to partner: Place, node: Int) {
    let image = rules[node].image(of: bundles[id].bundle, at: inner, to: partner)
    let value = value(Seat(node: node, operand: partner.operand))
    let known = ofValue[value]?.first { bundles[$0].bundle.inner == partner.axis }
    if let image, known == nil || bundles[known!].bundle == image.bundle {
      let other = known ?? add(image.bundle, of: value)
      sets.unite(id, other)
      ties.append(Tie(node: node, from: inner.operand, to: partner.operand, bundles: (id, other), map: image.map))
    } else if let known,
      rules[node].image(of: bundles[known].bundle, at: partner, to: inner)?.bundle == bundles[id].bundle
    {
      // The other has more axes, of which the node picks: it is tied from there.
      sets.unite(id, known)
    } else {
      broken.insert(id)
      if let known { broken.insert(known) }
    }
  }

  // MARK: Results

  private func applied() -> [AxisRules] {
    var sets = sets
    let brokenSets = Set(broken.map { sets.find($0) })
    let isWhole = bundles.indices.map { !brokenSets.contains(sets.find($0)) }
    if !isWhole.contains(true) { return rules }
    let left = ofValue.mapValues { ids in ids.filter { isWhole[$0] } }
    var result = rules
    for (node, description) in graph.nodes.enumerated() {
      func found(_ values: [ValueID]) -> [[AxisBundle]] {
        values.map { (left[$0] ?? []).map { bundles[$0].bundle } }
      }
      result[node].bundle(inputs: found(description.inputs), outputs: found(description.outputs))
    }
    for tie in ties where isWhole[tie.bundles.from] {
      result[tie.node].link(
        result[tie.node].place(of: bundles[tie.bundles.from].bundle, at: tie.from),
        result[tie.node].place(of: bundles[tie.bundles.to].bundle, at: tie.to), tie.map)
    }
    return result
  }
}

// MARK: Reading rules

extension AxisRules {
  /// The bundle of the operand at `partner` that corresponds to a bundle whose inner axis it shares, and where each of
  /// its indices is in that; `nil` when an outer axis has no counterpart.
  fileprivate func image(
    of bundle: AxisBundle, at inner: Place, to partner: Place
  ) -> (bundle: AxisBundle, map: ChannelMap)? {
    var axes: [Int] = []
    // Per axis of the bundle: the axis of the image and the index of the bundle for each of its own, or one index.
    var maps: [ChannelMap] = []
    for axis in bundle.outer {
      let place = Place(operand: inner.operand, axis: axis)
      let extent = extent(place)
      if let (axis, map) = counterpart(of: place, at: partner.operand), map.extent > 1 {
        axes.append(axis)
        maps.append(map)
      } else if let (_, map) = counterpart(of: place, at: partner.operand), let index = map.sources[0] {
        maps.append(.selection([index], of: extent))
      } else if let index = pickedIndex(place) {
        maps.append(.selection([index], of: extent))
      } else {
        return nil
      }
    }
    axes.append(partner.axis)
    maps.append(.identity(self.extent(partner)))
    return (AxisBundle(axes, of: shape(partner.operand)), .product(maps))
  }

  /// The places whose indices are those of `place`, one by one, and `place` itself.
  fileprivate func identified(with place: Place) -> Set<Place> {
    var result: Set = [place]
    var grows = true
    while grows {
      grows = false
      for link in links where result.contains(link.from) != result.contains(link.to) && link.map.isIdentity {
        result.formUnion([link.from, link.to])
        grows = true
      }
    }
    return result
  }

  fileprivate func isPinned(_ place: Place) -> Bool { pins.contains { $0.place == place } }

  /// Whether only a part of the axis, or more than it, is at a place that it is linked to.
  fileprivate func isCropped(_ place: Place) -> Bool {
    links.contains { ($0.from == place || $0.to == place) && !$0.map.isIdentity }
  }

  /// The only index of an axis that the node reads, when it is one.
  fileprivate func pickedIndex(_ place: Place) -> Int? { pins.first { $0.place == place }?.index }

  /// The axis of an operand that is tied to `place`, and where each of its indices is there.
  fileprivate func counterpart(of place: Place, at operand: Place.Operand) -> (axis: Int, map: ChannelMap)? {
    if let same = identified(with: place).first(where: { $0.operand == operand }) {
      return (same.axis, .identity(extent(place)))
    }
    for link in links {
      if link.from == place, link.to.operand == operand { return (link.to.axis, link.map) }
      if link.to == place, link.from.operand == operand, let map = link.map.inverse { return (link.from.axis, map) }
    }
    return nil
  }
}

extension ChannelMap {
  fileprivate var isIdentity: Bool { sourceExtent == extent && sources.enumerated().allSatisfy { $0 == $1 } }

  /// The map of all combinations of indices, in row-major order, of axes with these maps.
  fileprivate static func product(_ maps: [ChannelMap]) -> ChannelMap {
    var sources: [Int?] = [0]
    for map in maps {
      sources = sources.flatMap { outer in
        map.sources.map { index in outer.flatMap { outer in index.map { outer * map.sourceExtent + $0 } } }
      }
    }
    return ChannelMap(sources: sources, sourceExtent: maps.map(\.sourceExtent).reduce(1, *))
  }
}
