import CatenaCompute
import CatenaGraph
import CatenaTensors

/// One stage of a fused chain, as common/epilogue.cl runs it.
struct EpilogueStage {
  var kind: KernelFunctions.Stage
  var function: Int32
  var a: Float = 0
  var b: Float = 0
  var operand: SlotID?
  var rowsPerRegion = 1
  /// The value after this stage; `nil` inside a node that takes several.
  var value: ValueID?
}

/// How a chain sees its values: rows x columns. Stages that do not depend on it leave it open.
struct EpilogueGeometry {
  var rows: Int
  var columns: Int
  /// Channels that rows take turns in, for `row` operands.
  var channels: Int
}

/// A launch's result with the stages behind it.
struct EpilogueChain {
  static let maximumStageCount = 4

  let root: ValueID
  let layout: Layout
  var geometry: EpilogueGeometry?
  var stages: [EpilogueStage] = []

  init(root: ValueID, layout: Layout, geometry: EpilogueGeometry?) {
    self.root = root
    self.layout = layout
    self.geometry = geometry
  }
}

extension Lowering {
  /// Extends a chain by the nodes behind its value for as long as one of them can run in the same launch: it works
  /// element by element and everything else it reads has been made.
  mutating func extend(_ chain: inout EpilogueChain) {
    var value = chain.stages.last?.value ?? chain.root
    var isGrowing = true
    while isGrowing {
      isGrowing = false
      for index in readers[value] where !fused.contains(index) {
        let node = graph.nodes[index]
        // A value of another type is rounded behind its node: what follows must not read it unrounded.
        guard
          graph.type(value).elementType == .float32, graph.type(node.outputs[0]).elementType == .float32,
          let next = stages(of: node, behind: value, chain: chain),
          chain.stages.count + next.stages.count <= EpilogueChain.maximumStageCount
        else { continue }
        chain.geometry = next.geometry
        chain.stages += next.stages.map { resolved($0, chain.layout) }
        fused.insert(index)
        value = node.outputs[0]
        isGrowing = true
        break
      }
    }
  }

  /// The chain that begins with one element-wise node, or `nil` when that node cannot be a chain.
  mutating func chain(ofNodeAt index: Int) -> EpilogueChain? {
    let node = graph.nodes[index]
    for root in node.inputs where graph.shape(root) == graph.shape(node.outputs[0]) {
      let layout = elementwiseLayout(node)
      var chain = EpilogueChain(root: root, layout: layout, geometry: nil)
      guard let first = stages(of: node, behind: root, chain: chain) else { continue }
      chain.geometry = first.geometry
      chain.stages = first.stages.map { resolved($0, layout) }
      extend(&chain)
      return chain
    }
    return nil
  }

  /// The layout for an element-wise node: its operands' own, channels last when they differ.
  func elementwiseLayout(_ node: Node) -> Layout {
    let shape = graph.shape(node.outputs[0])
    let isImage = node.inputs.contains {
      graph.shape($0).rank == shape.rank && layout(of: $0) == .channelsLast
    }
    return isImage ? .channelsLast : .rowMajor
  }

  /// The arguments that every kernel with an epilogue takes last, and the slots of all values that the chain makes.
  mutating func epilogueArguments(_ chain: EpilogueChain, storesRoot: Bool) -> [Launch.Argument] {
    let stages = chain.stages
    func perStage<T>(_ filler: T, _ value: (EpilogueStage) -> T) -> [T] {
      stages.map(value) + Array(repeating: filler, count: EpilogueChain.maximumStageCount - stages.count)
    }
    var arguments: [Launch.Argument] = [
      .integers(perStage(0) { Int($0.kind.rawValue) }), .integers(perStage(0) { Int($0.function) }),
      .floats(perStage([0, 0]) { [$0.a, $0.b] }.flatMap(\.self)), .integers(perStage(1) { $0.rowsPerRegion }),
      .integers([chain.geometry?.channels ?? 1]),
    ]
    arguments += perStage(.null) { $0.operand.map { .read($0) } ?? .null }
    arguments.append(storesRoot ? store(chain.root, isLast: stages.isEmpty, chain.layout) : .null)
    let last = stages.count - 1
    let stores: [Launch.Argument] = stages.indices.map { index in
      stages[index].value.map { store($0, isLast: index == last, chain.layout) } ?? .null
    }
    return arguments + stores
      + Array(repeating: .null, count: EpilogueChain.maximumStageCount - stages.count)
  }

  /// A value is stored when it is the last or when others read it besides the next stage.
  private mutating func store(_ value: ValueID, isLast: Bool, _ layout: Layout) -> Launch.Argument {
    guard isLast || readerCounts[value, default: 0] > 1 else { return .null }
    return .write(makeSlot(for: value, layout))
  }

  // MARK: Nodes as stages

  private struct PlannedStage {
    var kind: KernelFunctions.Stage
    var function: Int32
    var a: Float = 0
    var b: Float = 0
    var operand: ValueID?
    /// A slot that is known already, instead of a value.
    var slot: SlotID?
    var rowsPerRegion = 1
    var value: ValueID?
  }

  private mutating func resolved(_ stage: PlannedStage, _ layout: Layout) -> EpilogueStage {
    let slot = stage.slot ?? stage.operand.map { self.slot(of: $0, stage.kind == .full ? layout : .rowMajor) }
    return EpilogueStage(
      kind: stage.kind, function: stage.function, a: stage.a, b: stage.b, operand: slot,
      rowsPerRegion: stage.rowsPerRegion, value: stage.value)
  }

  /// The stages that compute `node` from `value`, which is one of its inputs, with the geometry that they need.
  private mutating func stages(
    of node: Node, behind value: ValueID, chain: EpilogueChain
  ) -> (stages: [PlannedStage], geometry: EpilogueGeometry?)? {
    let output = node.outputs[0]
    let shape = graph.shape(value)
    guard graph.type(output) == graph.type(value), node.outputs.count == 1 else { return nil }
    switch node.operation {
    case .unary(let function):
      let (code, a, b) = function.kernelFunction
      return (
        [PlannedStage(kind: .unary, function: code.rawValue, a: a, b: b, value: output)], chain.geometry
      )
    case .unaryGradient(let function):
      guard node.inputs[0] == value, node.inputs[1] != value, isAvailable(node.inputs[1]) else { return nil }
      let (code, a, b) = function.kernelFunction
      let stage = PlannedStage(
        kind: .full, function: KernelFunctions.gradient + code.rawValue, a: a, b: b, operand: node.inputs[1],
        value: output)
      return ([stage], chain.geometry)
    case .binary(let function):
      let isReversed = node.inputs[0] != value
      let other = isReversed ? node.inputs[0] : node.inputs[1]
      let code = function.kernelFunction
      guard other != value, isAvailable(other) else { return nil }
      var stage = PlannedStage(
        kind: .full, function: code.rawValue + (isReversed && code != .add ? KernelFunctions.reversed : 0),
        a: 1, operand: other, value: output)
      guard let geometry = place(&stage, axis: broadcastAxis(of: other, over: shape), regions: 1, shape, chain)
      else { return nil }
      return ([stage], geometry)
    case .gate(let axis):
      guard node.inputs[0] == value, isAvailable(node.inputs[1]) else { return nil }
      var stage = PlannedStage(
        kind: .channel, function: KernelFunctions.Binary.multiply.rawValue, operand: node.inputs[1], value: output)
      let regions = graph.shape(node.inputs[1])[0]
      guard let geometry = place(&stage, axis: .one(axis), regions: regions, shape, chain) else { return nil }
      return ([stage], geometry)
    case .batchNormalization(let epsilon):
      let parameters = Array(node.inputs.dropFirst())
      guard node.inputs[0] == value, parameters.allSatisfy({ $0 != value && isAvailable($0) }) else { return nil }
      var factor = PlannedStage(kind: .channel, function: KernelFunctions.Binary.multiply.rawValue)
      var summand = PlannedStage(kind: .channel, function: KernelFunctions.Binary.add.rawValue, a: 1, value: output)
      guard
        chain.stages.count + 2 <= EpilogueChain.maximumStageCount,
        let geometry = place(&factor, axis: .one(1), regions: 1, shape, chain),
        place(&summand, axis: .one(1), regions: 1, shape, chain) != nil
      else { return nil }
      let slots = normalizationFactors(parameters, epsilon: epsilon)
      factor.slot = slots.factors
      summand.slot = slots.summands
      return ([factor, summand], geometry)
    default: return nil
    }
  }

  private enum BroadcastAxis {
    case none, one(Int), all
  }

  /// How `other` is broadcast over `shape`; `nil` when it is so along several axes, or is larger.
  private func broadcastAxis(of other: ValueID, over shape: Shape) -> BroadcastAxis? {
    let own = graph.shape(other)
    guard own.rank <= shape.rank else { return nil }
    if own == shape { return BroadcastAxis.none }
    let offset = shape.rank - own.rank
    let axes = (0..<own.rank).filter { own[$0] != 1 }
    if axes.isEmpty { return .all }
    guard axes.count == 1, own[axes[0]] == shape[axes[0] + offset] else { return nil }
    return .one(axes[0] + offset)
  }

  /// Decides how a stage's operand is found. The result is the chain's geometry from there on; the outer `nil` says that
  /// the stage does not fit it.
  private func place(
    _ stage: inout PlannedStage, axis: BroadcastAxis?, regions: Int, _ shape: Shape, _ chain: EpilogueChain
  ) -> EpilogueGeometry?? {
    switch axis {
    case nil: return nil
    case .some(.none): return .some(chain.geometry)
    case .all:
      stage.kind = .scalar
      return .some(chain.geometry)
    case .one(let axis):
      let wanted = Self.channelGeometry(of: axis, shape, chain.layout)
      stage.kind = wanted.kind
      stage.rowsPerRegion = wanted.geometry.rows / regions
      if let geometry = chain.geometry {
        guard
          geometry.rows == wanted.geometry.rows, geometry.columns == wanted.geometry.columns,
          wanted.kind == .channel || geometry.channels == wanted.geometry.channels
        else { return nil }
        return .some(geometry)
      }
      return .some(wanted.geometry)
    }
  }

  /// Rows and columns in which the channels of `axis` are columns (when it is innermost) or rows.
  static func channelGeometry(
    of axis: Int, _ shape: Shape, _ layout: Layout
  ) -> (kind: KernelFunctions.Stage, geometry: EpilogueGeometry) {
    let axes = layout.canonical(for: shape).axes(rank: shape.rank)
    let position = axes.firstIndex(of: axis)!
    let inner = axes[(position + 1)...].reduce(1) { $0 * shape[$1] }
    let outer = axes[..<position].reduce(1) { $0 * shape[$1] }
    let channels = shape[axis]
    return inner == 1
      ? (.channel, EpilogueGeometry(rows: outer, columns: channels, channels: 1))
      : (.row, EpilogueGeometry(rows: outer * channels, columns: inner, channels: channels))
  }

  /// Batch normalisation as a factor and a summand per channel.
  mutating func normalizationFactors(
    _ parameters: [ValueID], epsilon: Float
  ) -> (factors: SlotID, summands: SlotID) {
    let channels = graph.shape(parameters[0]).elementCount
    let slots = parameters.map { slot(of: $0, .rowMajor) }
    let factors = addSlot(channels)
    let summands = addSlot(channels)
    launch(
      .normalize, "batch_normalization_factors",
      slots.map { .read($0) } + [.write(factors), .write(summands), .integers([channels]), .floats([epsilon])],
      workItems: channels)
    return (factors, summands)
  }
}
