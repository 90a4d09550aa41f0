import CatenaTensors

/// One axis of an operand or a result of a node.
struct Place: Hashable, Sendable {
  enum Operand: Hashable, Sendable { case input(Int), output(Int) }
  var operand: Operand
  var axis: Int

  static func input(_ index: Int, _ axis: Int) -> Place { Place(operand: .input(index), axis: axis) }
  static func output(_ axis: Int, of index: Int = 0) -> Place { Place(operand: .output(index), axis: axis) }
}

/// What a node demands of cuts through the axes of its operands and results. `Node.axisRules` makes them; they are all
/// that planning knows of operators.
struct AxisRules: Sendable {
  /// Index i of `to` and index `map.sources[i]` of `from` are cut together.
  struct Link: Sendable {
    var from: Place
    var to: Place
    var map: ChannelMap
  }
  /// The axis, or one index of it, is never cut.
  struct Pin: Sendable {
    var place: Place
    var index: Int?
    var reason: KeepReason
  }

  /// An axis that a reshape splits into others, or merges from them: its indices are their combinations, outermost first.
  struct Merge: Sendable {
    var merged: Place
    var factors: [Place]
  }

  let inputs: [Shape]
  let outputs: [Shape]
  /// The bundles of the operands and the results, which count as axes behind the real ones.
  private(set) var inputBundles: [[AxisBundle]] = []
  private(set) var outputBundles: [[AxisBundle]] = []
  private(set) var merges: [Merge] = []
  private(set) var links: [Link] = []
  private(set) var pins: [Pin] = []
  /// Axes whose products are summed: an index may be cut where one of the factors is zero.
  private(set) var sums: [[Place]] = []
  /// Number of groups of a convolution, when more than one.
  var groups: Int?

  init(inputs: [Shape], outputs: [Shape]) {
    self.inputs = inputs
    self.outputs = outputs
  }

  func shape(_ operand: Place.Operand) -> Shape {
    switch operand {
    case .input(let index): inputs[index]
    case .output(let index): outputs[index]
    }
  }

  func bundles(_ operand: Place.Operand) -> [AxisBundle] {
    switch operand {
    case .input(let index): inputBundles.isEmpty ? [] : inputBundles[index]
    case .output(let index): outputBundles.isEmpty ? [] : outputBundles[index]
    }
  }

  func extent(_ place: Place) -> Int {
    let shape = shape(place.operand)
    if place.axis < shape.rank { return shape.dimensions[place.axis] }
    return bundles(place.operand)[place.axis - shape.rank].combinations.count
  }

  /// The number of indices of each axis and, behind these, of each bundle.
  func extents(_ operand: Place.Operand) -> [Int] {
    shape(operand).dimensions + bundles(operand).map(\.combinations.count)
  }

  /// Where an operand or a result has a bundle of its own.
  func place(of bundle: AxisBundle, at operand: Place.Operand) -> Place {
    Place(operand: operand, axis: shape(operand).rank + bundles(operand).firstIndex(of: bundle)!)
  }

  /// The bundle that a place is the inner axis of, as a place.
  func bundle(around place: Place) -> Place? {
    bundles(place.operand).first { $0.inner == place.axis }.map { self.place(of: $0, at: place.operand) }
  }

  /// Puts bundles in the place of their inner axes, which nothing is said of any more, and of the merges that make them.
  mutating func bundle(inputs: [[AxisBundle]], outputs: [[AxisBundle]]) {
    inputBundles = inputs
    outputBundles = outputs
    links = links.filter { bundle(around: $0.from) == nil && bundle(around: $0.to) == nil }
    sums = sums.map { factors in factors.map { bundle(around: $0) ?? $0 } }
    let bundled = merges.compactMap { merge in bundle(around: merge.factors.last!).map { (merge.merged, $0) } }
    merges = merges.filter { bundle(around: $0.factors.last!) == nil }
    for (merged, bundle) in bundled { link(merged, bundle) }
  }

  mutating func merge(_ merged: Place, from factors: [Place]) {
    merges.append(Merge(merged: merged, factors: factors))
  }

  mutating func link(_ from: Place, _ to: Place, _ map: ChannelMap? = nil) {
    links.append(Link(from: from, to: to, map: map ?? .identity(extent(to))))
  }

  mutating func pin(_ place: Place, index: Int? = nil, _ reason: KeepReason) {
    pins.append(Pin(place: place, index: index, reason: reason))
  }

  /// The axes of `input` and `output`, aligned at the last axis, belong together where the extents agree.
  mutating func linkBroadcast(input: Int, output: Int = 0, axes: Range<Int>? = nil) {
    let offset = outputs[output].rank - inputs[input].rank
    for axis in axes ?? 0..<inputs[input].rank {
      if inputs[input].dimensions[axis] == outputs[output].dimensions[axis + offset] {
        link(.input(input, axis), .output(axis + offset, of: output))
      } else {
        pin(.input(input, axis), .broadcast)
      }
    }
  }

  mutating func sum(_ factors: Place...) {
    for factor in factors.dropFirst() { link(factors[0], factor) }
    sums.append(factors)
  }

  /// Nothing of this node is cut.
  mutating func pinEverything(_ reason: KeepReason) {
    for (index, shape) in inputs.enumerated() {
      for axis in 0..<shape.rank { pin(.input(index, axis), reason) }
    }
    for (index, shape) in outputs.enumerated() {
      for axis in 0..<shape.rank { pin(.output(axis, of: index), reason) }
    }
  }

  /// Input 0 and output 0 agree on the batch axis and, unless it is mixed, the channel axis; windows run along the rest.
  mutating func windowed(mixesChannels: Bool) {
    link(.input(0, 0), .output(0))
    if !mixesChannels { link(.input(0, 1), .output(1)) }
    for axis in 2..<inputs[0].rank { pin(.input(0, axis), .spatial) }
    for axis in 2..<outputs[0].rank { pin(.output(axis), .spatial) }
  }
}

extension Node {
  /// What this node, of `graph`, demands of cuts.
  func axisRules(in graph: Graph) -> AxisRules {
    var rules = AxisRules(inputs: inputs.map { graph.shape($0) }, outputs: outputs.map { graph.shape($0) })
    switch operation {
    case .convolution(let convolution) where convolution.groups > 1 && graph.constants[inputs[1]] == nil:
      rules.pinEverything(.groups)
    case .convolution(let convolution): rules.convolution(groups: convolution.groups)
    case .convolutionTranspose(let transpose): rules.convolutionTranspose(groups: transpose.convolution.groups)
    case .gemm(let gemm): rules.gemm(gemm)
    case .matmul: rules.matmul()
    case .batchNormalization:
      rules.linkBroadcast(input: 0)
      for parameter in 1..<5 { rules.link(.input(parameter, 0), .output(1)) }
    case .instanceNormalization:
      rules.windowed(mixesChannels: false)
      for parameter in 1..<3 { rules.link(.input(parameter, 0), .output(1)) }
    case .localResponseNormalization:
      rules.linkBroadcast(input: 0)
      rules.pin(.output(1), .window)
    case .pool: rules.windowed(mixesChannels: false)
    case .unary, .cast, .identity: rules.linkBroadcast(input: 0)
    case .binary, .select:
      for input in inputs.indices { rules.linkBroadcast(input: input) }
    case .softmax(let axes), .logSoftmax(let axes):
      rules.linkBroadcast(input: 0)
      for axis in axes { rules.pin(.output(axis), .window) }
    case .reduce(let reduce): rules.reduce(reduce)
    case .argReduce(let reduce):
      rules.linkUnreduced([reduce.axis], keepsDimensions: reduce.keepsDimensions)
      rules.pin(.input(0, reduce.axis), .reduction)
    case .gate(let axis):
      rules.linkBroadcast(input: 0)
      rules.link(.input(1, 1), .output(axis))
      rules.pin(.input(1, 0), .unsupported)
    case .concatenate, .split, .slice, .pad, .reshape, .transpose, .expand, .gather, .resize:
      rules.movement(operation, indices: inputs.count > 1 ? graph.constants[inputs[1]] : nil)
    case .localResponseNormalizationGradient, .poolGradient, .unaryGradient, .sliceGradient, .padGradient,
      .gatherGradient, .resizeGradient, .gateGradient, .gateGradientFromOutput, .adam:
      rules.pinEverything(.unsupported)
    }
    return rules
  }
}

// MARK: Mixing channels

extension AxisRules {
  fileprivate mutating func convolution(groups: Int) {
    windowed(mixesChannels: true)
    for axis in 2..<inputs[1].rank { pin(.input(1, axis), .spatial) }
    link(.input(1, 0), .output(1))
    if inputs.count == 3 { link(.input(2, 0), .output(1)) }
    if groups == 1 {
      sum(.input(0, 1), .input(1, 1))
    } else {
      // Channels of a group share the weight's axis: it follows from the group's kept channels when the graph is built.
      self.groups = groups
      pin(.input(1, 1), .groups)
    }
  }

  fileprivate mutating func convolutionTranspose(groups: Int) {
    guard groups == 1 else { return pinEverything(.groups) }
    windowed(mixesChannels: true)
    for axis in 2..<inputs[1].rank { pin(.input(1, axis), .spatial) }
    link(.input(1, 1), .output(1))
    if inputs.count == 3 { link(.input(2, 0), .output(1)) }
    sum(.input(0, 1), .input(1, 0))
  }

  fileprivate mutating func gemm(_ gemm: Gemm) {
    let (row, inner) = gemm.transposeA ? (1, 0) : (0, 1)
    let (innerB, column) = gemm.transposeB ? (1, 0) : (0, 1)
    link(.input(0, row), .output(0))
    link(.input(1, column), .output(1))
    sum(.input(0, inner), .input(1, innerB))
    if inputs.count == 3 { linkBroadcast(input: 2) }
  }

  fileprivate mutating func matmul() {
    let (left, right, rank) = (inputs[0].rank, inputs[1].rank, outputs[0].rank)
    let matrixAxes = (left > 1 ? 1 : 0) + (right > 1 ? 1 : 0)
    if left > 1 { link(.input(0, left - 2), .output(rank - matrixAxes)) }
    if right > 1 { link(.input(1, right - 1), .output(rank - 1)) }
    sum(.input(0, left - 1), .input(1, max(right - 2, 0)))
    for (input, operandRank) in [left, right].enumerated() where operandRank > 2 {
      for axis in 0..<operandRank - 2 {
        let place = Place.output(rank - matrixAxes - (operandRank - 2) + axis)
        if inputs[input].dimensions[axis] == extent(place) {
          link(.input(input, axis), place)
        } else {
          pin(.input(input, axis), .broadcast)
        }
      }
    }
  }
}

// MARK: Reductions

extension AxisRules {
  fileprivate mutating func reduce(_ reduce: Reduce) {
    linkUnreduced(reduce.axes, keepsDimensions: reduce.keepsDimensions)
    for axis in reduce.axes {
      if reduce.kind == .sum { sum(.input(0, axis)) } else { pin(.input(0, axis), .reduction) }
    }
  }

  fileprivate mutating func linkUnreduced(_ axes: [Int], keepsDimensions: Bool) {
    var output = 0
    for axis in 0..<inputs[0].rank {
      if axes.contains(axis) {
        if keepsDimensions {
          pin(.output(output), .broadcast)
          output += 1
        }
      } else {
        link(.input(0, axis), .output(output))
        output += 1
      }
    }
  }
}
