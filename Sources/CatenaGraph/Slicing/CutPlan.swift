import CatenaTensors

/// Which indices of which axes stay.
///
/// Indices that operators tie together form classes. At first every class counts as cut; then classes are kept until
/// every demand is met: axes that are pinned, sums over channels that are not zero, groups that must be equal, values
/// that must not be empty. What no kept operator demands is read by nobody and stays cut.
struct CutPlan: Sendable {
  /// Why a class was kept, and where that was demanded.
  struct Cause: Sendable {
    var reason: KeepReason
    var node: Int?
    /// The live channel that a sum reads.
    var live: (value: ValueID, axis: Int, index: Int)?
  }

  let graph: Graph
  let rules: [AxisRules]
  let states: ChannelStates
  /// The bundles of each value that has any.
  let bundles: ValueMap<[AxisBundle]>
  /// First element of each axis, and behind these of each bundle, per value; constants have one set per use, so that uses
  /// may differ.
  private(set) var valueBases: ValueMap<[Int]> = [:]
  private var inputBases: [[[Int]]] = []
  private var classes: [Int] = []
  private var causes: [Cause?] = []
  private var changed = false
  /// Values that something kept reads.
  private(set) var needed: ValueSet = []

  init(_ graph: Graph, rules: [AxisRules], states: ChannelStates) {
    self.graph = graph
    self.rules = rules
    self.states = states
    bundles = ValueMap(
      zip(graph.nodes, rules).flatMap { node, rules in
        zip(node.outputs, rules.outputBundles).filter { !$1.isEmpty }.map { ($0, $1) }
      }
    ) { first, _ in first }
    unite()
    pin()
    repeat {
      changed = false
      meetDemands()
      // Only when nothing else asks for a channel is one kept for its own sake.
      if !changed { keepFirstOfAnEmptyAxis() }
    } while changed
  }

  // MARK: Results

  /// The kept indices of an axis of a value that a node makes or that the caller gives.
  /// A bundle's inner axis keeps other indices for each index of the outer ones: for it they are numbered anew.
  func kept(_ value: ValueID, axis: Int) -> [Int] {
    if let inner = innerCount(value, axis: axis) { return Array(0..<inner) }
    return kept(base: valueBases[value]![axis], extent: graph.shape(value).dimensions[axis])
  }

  /// The kept indices of an axis of a node's operand or result.
  func kept(_ node: Int, _ place: Place) -> [Int] {
    let value = value(node, place.operand)
    if graph.constants[value] == nil { return kept(value, axis: place.axis) }
    return kept(base: base(node, place), extent: rules[node].extent(place))
  }

  /// Why an index stayed.
  func cause(_ value: ValueID, axis: Int, index: Int) -> Cause? { causes[classes[valueBases[value]![axis] + index]] }

  /// An identity of the class of an index: indices with one class are cut together.
  func classOf(_ value: ValueID, axis: Int, index: Int) -> Int { classes[valueBases[value]![axis] + index] }

  /// Kept input channels, relative to their group, of each group of a convolution that stays; and these groups.
  func keptGroups(_ node: Int) -> (groups: [Int], channels: [[Int]]) {
    var result: (groups: [Int], channels: [[Int]]) = ([], [])
    for group in 0..<rules[node].groups! {
      let (inputs, outputs) = group.members(of: rules[node])
      let channels = inputs.filter { isKept(node, .input(0, 1), $0) }.map { $0 - inputs.lowerBound }
      if channels.isEmpty && !outputs.contains(where: { isKept(node, .output(1), $0) }) { continue }
      result.groups.append(group)
      result.channels.append(channels)
    }
    return result
  }

  private func value(_ node: Int, _ operand: Place.Operand) -> ValueID {
    switch operand {
    case .input(let index): graph.nodes[node].inputs[index]
    case .output(let index): graph.nodes[node].outputs[index]
    }
  }

  private func kept(base: Int, extent: Int) -> [Int] {
    (0..<extent).filter { causes[classes[base + $0]] != nil }
  }

  private func isKept(_ node: Int, _ place: Place, _ index: Int) -> Bool { isKept(base(node, place) + index) }

  func isKept(_ element: Int) -> Bool { causes[classes[element]] != nil }

  func base(_ node: Int, _ place: Place) -> Int {
    switch place.operand {
    case .input(let index): inputBases[node][index][place.axis]
    case .output(let index): valueBases[graph.nodes[node].outputs[index]]![place.axis]
    }
  }

  // MARK: Classes

  private mutating func unite() {
    var sets = ChannelClasses()
    for value in graph.inputs { valueBases[value] = graph.shape(value).dimensions.map { sets.add($0) } }
    for (node, rules) in zip(graph.nodes, rules) {
      for (index, output) in node.outputs.enumerated() {
        valueBases[output] = rules.extents(.output(index)).map { sets.add($0) }
      }
    }
    for node in graph.nodes {
      inputBases.append(node.inputs.map { valueBases[$0] ?? graph.shape($0).dimensions.map { sets.add($0) } })
    }
    for node in graph.nodes.indices {
      for link in rules[node].links {
        let (from, to) = (base(node, link.from), base(node, link.to))
        for (index, source) in link.map.sources.enumerated() {
          if let source { sets.unite(from + source, to + index) }
        }
      }
    }
    classes = sets.representatives()
    causes = [Cause?](repeating: nil, count: classes.count)
  }

  private mutating func pin() {
    for value in graph.inputs + graph.outputs where graph.constants[value] == nil {
      for (axis, extent) in graph.shape(value).dimensions.enumerated() {
        for index in 0..<extent { keep(valueBases[value]![axis] + index, Cause(reason: .boundary)) }
      }
    }
    for node in graph.nodes.indices {
      for pin in rules[node].pins {
        let indices = pin.index.map { $0..<$0 + 1 } ?? 0..<rules[node].extent(pin.place)
        for index in indices { keep(base(node, pin.place) + index, Cause(reason: pin.reason, node: node)) }
      }
    }
  }

  mutating func keep(_ element: Int, _ cause: Cause) {
    guard causes[classes[element]] == nil else { return }
    causes[classes[element]] = cause
    changed = true
  }

  // MARK: Demands

  private mutating func meetDemands() {
    needed = ValueSet(graph.outputs)
    for node in graph.nodes.indices.reversed() where graph.nodes[node].outputs.contains(where: needed.contains) {
      for factors in rules[node].sums { meetSum(node, factors) }
      if let groups = rules[node].groups { meetGroups(node, count: groups) }
      for merge in rules[node].merges { meetMerge(node, merge) }
      for output in graph.nodes[node].outputs { for bundle in bundles[output] ?? [] { meetBundle(output, bundle) } }
      for (index, input) in graph.nodes[node].inputs.enumerated() where !isDropped(node, input: index) {
        needed.insert(input)
      }
    }
  }

  private mutating func keepFirstOfAnEmptyAxis() {
    for node in graph.nodes.indices.reversed() where graph.nodes[node].outputs.contains(where: needed.contains) {
      let outputs = graph.nodes[node].outputs.indices.flatMap { index in
        rules[node].extents(.output(index)).indices.map { Place.output($0, of: index) }
      }
      let inputs = graph.nodes[node].inputs.indices.filter { !isDropped(node, input: $0) }.flatMap { index in
        rules[node].extents(.input(index)).indices.map { Place.input(index, $0) }
      }
      for place in outputs + inputs
      where rules[node].extent(place) > 0 && rules[node].bundle(around: place) == nil {
        if (0..<rules[node].extent(place)).contains(where: { isKept(node, place, $0) }) { continue }
        return keep(base(node, place), Cause(reason: .lastChannel, node: node))
      }
    }
  }

  /// Whether an operand of a concatenation has lost all its channels, and need not be there.
  func isDropped(_ node: Int, input: Int) -> Bool {
    guard case .concatenate(let axis) = graph.nodes[node].operation else { return false }
    let extent = rules[node].inputs[input].dimensions[axis]
    return extent > 0 && !(0..<extent).contains { isKept(node, .input(input, axis), $0) }
  }

  private mutating func meetSum(_ node: Int, _ factors: [Place]) {
    for index in 0..<rules[node].extent(factors[0])
    where !isKept(node, factors[0], index) && isRead(node, factors[0], index) {
      demand(node, factors, index)
    }
  }

  /// Keeps an index that is summed over, unless it is zero in one of the factors.
  private mutating func demand(_ node: Int, _ factors: [Place], _ index: Int) {
    var live: (value: ValueID, axis: Int, index: Int)?
    for place in factors {
      guard case .input(let input) = place.operand else { continue }
      let value = graph.nodes[node].inputs[input]
      if states.isZero(value, axis: place.axis, index: index) { return }
      if live == nil, graph.constants[value] == nil { live = (value, place.axis, index) }
    }
    keep(base(node, factors[0]) + index, Cause(reason: .otherReader, node: node, live: live))
  }

  /// A group goes as a whole, or keeps as many channels as the others.
  private mutating func meetGroups(_ node: Int, count: Int) {
    let members = (0..<count).map { $0.members(of: rules[node]) }
    for (inputs, outputs) in members where outputs.contains(where: { isKept(node, .output(1), $0) }) {
      for channel in inputs where !isKept(node, .input(0, 1), channel) { demand(node, [.input(0, 1)], channel) }
    }
    let staying = members.filter { inputs, outputs in
      inputs.contains { isKept(node, .input(0, 1), $0) } || outputs.contains { isKept(node, .output(1), $0) }
    }
    equalize(node, .input(0, 1), staying.map(\.inputs))
    equalize(node, .output(1), staying.map(\.outputs))
  }

  private mutating func equalize(_ node: Int, _ place: Place, _ groups: [Range<Int>]) {
    let counts = groups.map { group in group.count { isKept(node, place, $0) } }
    let target = max(counts.max() ?? 0, 1)
    for (group, count) in zip(groups, counts) {
      // A group whose inputs are all zero stays for the sake of its bias.
      let reason = count == 0 && place == .input(0, 1) ? KeepReason.convolutionBias : .groups
      for index in group where group.count(where: { isKept(node, place, $0) }) < target {
        keep(base(node, place) + index, Cause(reason: reason, node: node))
      }
    }
  }
}

extension Int {
  /// The input and output channels of this group of a convolution.
  fileprivate func members(of rules: AxisRules) -> (inputs: Range<Int>, outputs: Range<Int>) {
    let channels = rules.inputs[0].dimensions[1] / rules.groups!
    let filters = rules.outputs[0].dimensions[1] / rules.groups!
    return (self * channels..<(self + 1) * channels, self * filters..<(self + 1) * filters)
  }
}
