import CatenaCompute
import CatenaGraph
import CatenaTensors

/// Turns a program into launches: assigns layouts, fuses chains, and moves what depends on constants alone out of the
/// step.
///
/// Nodes are lowered in order. A value may lie in several layouts; it is converted when first wanted in another one, and
/// each conversion is made once.
struct Lowering {
  let graph: Graph
  let traits: KernelTraits
  /// How many readers each value has, the caller counted.
  let readerCounts: ValueMap<Int>
  /// The nodes that read each value.
  let readers: ValueReaders
  private(set) var program = LoweredProgram()
  /// Where values lie, the layout first that they were made in.
  private var locations: ValueMap<[LoweredProgram.Location]> = [:]
  /// Nodes that are part of an earlier node's launch.
  var fused: Set<Int> = []
  /// Results of the node at hand that are computed in another type than they have.
  private var unrounded: [(value: ValueID, location: LoweredProgram.Location)] = []
  private var packedWeights: [PackedWeight: SlotID] = [:]
  /// Which products run on tensor cores.
  let tensorPolicy: TensorPolicy

  /// The launches of `program`, whose nodes `KernelSupport` has approved.
  static func lower(
    _ program: Program, traits: KernelTraits, tensorPolicy: TensorPolicy = .none
  ) -> LoweredProgram {
    var lowering = Lowering(program, traits: traits, tensorPolicy: tensorPolicy)
    for index in lowering.graph.nodes.indices where !lowering.fused.contains(index) {
      lowering.lower(nodeAt: index)
      lowering.roundResults()
    }
    lowering.finish(program)
    return lowering.program
  }

  private init(_ program: Program, traits: KernelTraits, tensorPolicy: TensorPolicy) {
    graph = program.graph
    self.tensorPolicy = tensorPolicy
    self.traits = traits
    readers = graph.readers()
    var counts: ValueMap<Int> = [:]
    for value in graph.nodes.flatMap(\.inputs) + graph.outputs + program.carries.map(\.output) {
      counts[value, default: 0] += 1
    }
    readerCounts = counts
    for input in graph.inputs { place(input, .persistent) }
    for (value, tensor) in graph.constants.sorted(by: { $0.key < $1.key }) {
      let slot = addSlot(tensor.elementCount, tensor.elementType, .constant(tensor))
      locations[value] = [LoweredProgram.Location(slot: slot, layout: .rowMajor, type: tensor.elementType)]
    }
    for input in graph.inputs { self.program.inputs[input] = locations[input]?.first }
  }

  /// Inputs that image operators read come channels last.
  private mutating func place(_ input: ValueID, _ role: Slot.Role) {
    let isImage = readers[input].contains { graph.nodes[$0].operation.wantsChannelsLast }
    let layout = (isImage ? Layout.channelsLast : .rowMajor).canonical(for: graph.shape(input))
    let type = graph.type(input)
    locations[input] = [
      LoweredProgram.Location(
        slot: addSlot(type.shape.elementCount, type.elementType, role), layout: layout, type: type.elementType)
    ]
  }

  // MARK: Slots

  mutating func addSlot(
    _ elementCount: Int, _ type: ElementType = .float32, _ role: Slot.Role = .intermediate
  ) -> SlotID {
    program.slots.append(Slot(elementCount: elementCount, type: type, role: role))
    return SlotID(index: program.slots.count - 1)
  }

  /// A slot with numbers that the host computed.
  mutating func addConstant(_ tensor: Tensor) -> SlotID {
    addSlot(tensor.elementCount, tensor.elementType, .constant(tensor))
  }

  /// Where kernels note what they find wrong with the data.
  mutating func faultSlot() -> SlotID {
    if let slot = program.fault { return slot }
    let slot = addSlot(1, .int32, .persistent)
    program.fault = slot
    return slot
  }

  /// Whether the value can be read by the launch that comes next.
  func isAvailable(_ value: ValueID) -> Bool { locations[value] != nil }

  /// The layout in which the value was made.
  func layout(of value: ValueID) -> Layout { location(of: value).layout }

  func location(of value: ValueID) -> LoweredProgram.Location {
    guard let location = locations[value]?.first else { preconditionFailure("\(value) is read before it is made") }
    return location
  }

  /// The value in the layout in which it was made and in the type that kernels compute in.
  mutating func computed(_ value: ValueID) -> LoweredProgram.Location {
    let layout = layout(of: value)
    return LoweredProgram.Location(
      slot: slot(of: value, layout), layout: layout, type: graph.type(value).elementType.computed)
  }

  /// The value in that layout and in the type that kernels compute in, converted when it does not lie there yet.
  mutating func slot(of value: ValueID, _ wanted: Layout) -> SlotID {
    slot(of: value, wanted, as: graph.type(value).elementType.computed)
  }

  /// The value in that layout and type, converted when it does not lie there yet.
  mutating func slot(of value: ValueID, _ wanted: Layout, as type: ElementType) -> SlotID {
    let shape = graph.shape(value)
    let layout = wanted.canonical(for: shape)
    let made = location(of: value)
    if let existing = locations[value]?.first(where: { $0.layout == layout && $0.type == type }) {
      return existing.slot
    }
    let target = addSlot(shape.elementCount, type)
    if made.type == type {
      copy(
        from: made.slot, made.layout.strides(of: shape), to: target, layout.strides(of: shape), shape.dimensions)
      if !program.slots[target.index].isConstant { program.layoutConversions += 1 }
    } else {
      convert(made, to: LoweredProgram.Location(slot: target, layout: layout, type: type), shape)
    }
    locations[value]?.append(LoweredProgram.Location(slot: target, layout: layout, type: type))
    return target
  }

  /// A new slot for a node's output, in the type that kernels compute in. Where the value has another type, it is
  /// rounded to it behind the node.
  mutating func makeSlot(for value: ValueID, _ layout: Layout) -> SlotID {
    makeSlot(for: value, layout, as: graph.type(value).elementType.computed)
  }

  /// A new slot for a node's output, computed as `type`.
  mutating func makeSlot(for value: ValueID, _ layout: Layout, as type: ElementType) -> SlotID {
    let shape = graph.shape(value)
    let slot = addSlot(shape.elementCount, type)
    let location = LoweredProgram.Location(slot: slot, layout: layout.canonical(for: shape), type: type)
    if type == graph.type(value).elementType {
      locations[value, default: []].append(location)
    } else {
      unrounded.append((value, location))
    }
    return slot
  }

  /// A new slot for an output that is moved, not computed: in the value's own type.
  mutating func makeMovedSlot(for value: ValueID, _ layout: Layout) -> SlotID {
    makeSlot(for: value, layout, as: graph.type(value).elementType)
  }

  /// Rounds the results of the last node to their types.
  mutating func roundResults() {
    for (value, location) in unrounded {
      let type = graph.type(value)
      let slot = addSlot(type.shape.elementCount, type.elementType)
      let rounded = LoweredProgram.Location(slot: slot, layout: location.layout, type: type.elementType)
      convert(location, to: rounded, type.shape)
      locations[value, default: []].append(rounded)
    }
    unrounded = []
  }

  /// Says that the value lies where another one does.
  mutating func bind(_ value: ValueID, to location: LoweredProgram.Location) {
    locations[value, default: []].append(
      LoweredProgram.Location(
        slot: location.slot, layout: location.layout.canonical(for: graph.shape(value)), type: location.type))
  }

  // MARK: Launches

  /// Appends a launch to the step, or to the preparation when it reads nothing but constants.
  mutating func launch(
    _ family: KernelFamily, _ kernel: String, _ arguments: [Launch.Argument], workItems: Int, groupSize: Int? = nil,
    operations: Int? = nil, shape: [Int] = []
  ) {
    append(
      Launch(
        family: family, kernel: kernel, arguments: arguments, workItems: workItems, groupSize: groupSize,
        operations: operations, shape: shape))
  }

  /// The same with a work-group of the family's size for each of `groups`.
  mutating func launch(_ family: KernelFamily, _ kernel: String, _ arguments: [Launch.Argument], groups: Int) {
    launch(family, kernel, arguments, workItems: groups * traits[family].groupSize)
  }

  private mutating func append(_ launch: Launch) {
    guard launch.workItems > 0 else { return }
    let staysInStep = launch.writes.contains { slot in
      if case .persistent = program.slots[slot.index].role { true } else { partlyWritten.contains(slot) }
    }
    if !staysInStep && launch.reads.allSatisfy({ program.slots[$0.index].isConstant }) {
      for slot in launch.writes { program.slots[slot.index].role = .prepared }
      program.preparation.append(launch)
    } else {
      program.step.append(launch)
    }
  }

  /// Slots that a step's launches write piece by piece, so that no piece may move to the preparation: the memory of an
  /// intermediate value is another's at other times.
  private var partlyWritten: Set<SlotID> = []

  /// Announces that `slot` is written by several launches that read `sources`.
  mutating func willWritePieces(of slot: SlotID, from sources: [SlotID]) {
    if !sources.allSatisfy({ program.slots[$0.index].isConstant }) { partlyWritten.insert(slot) }
  }

  /// Copies `extents` elements between two strided views.
  mutating func copy(
    from source: SlotID, _ sourceStrides: [Int], offset sourceOffset: Int = 0, to target: SlotID,
    _ targetStrides: [Int], targetOffset: Int = 0, _ extents: [Int]
  ) {
    guard extents.allSatisfy({ $0 > 0 }) else { return }
    append(
      Self.copyLaunch(
        from: source, sourceStrides, offset: sourceOffset, to: target, targetStrides, targetOffset: targetOffset,
        extents, byteCount: program.slots[target.index].type.byteCount, traits: traits))
  }

  /// The launch that copies `extents` elements between two strided views.
  static func copyLaunch(
    from source: SlotID, _ sourceStrides: [Int], offset sourceOffset: Int = 0, to target: SlotID,
    _ targetStrides: [Int], targetOffset: Int = 0, _ extents: [Int], byteCount: Int,
    traits: KernelTraits
  ) -> Launch {
    // Writes in order of memory.
    let order = extents.indices.sorted { (abs(targetStrides[$1]), $0) < (abs(targetStrides[$0]), $1) }
    let walk = StridedWalk(extents: extents, strides: [sourceStrides, targetStrides]).reordered(order).collapsed()
    let innermost = walk.extents[walk.extents.count - 1]
    let axes = StridedArguments(walk)
    return Launch(
      family: .movement, kernel: "strided_copy_\(byteCount)",
      arguments: [
        .read(source), .write(target), .integers([axes.rank]), .integers([axes.outerCount]), .integers(axes.extents),
        .integers(axes.strides[0]), .integers(axes.strides[1]), .integers([innermost] + axes.innermost + [0]),
        .integers([sourceOffset, targetOffset]),
      ], workItems: axes.outerCount * dividedUp(innermost, traits[.movement].run))
  }

  /// Sets every element of `slot`.
  mutating func fill(_ slot: SlotID, with value: Double) {
    append(Self.fillLaunch(slot, program.slots[slot.index], with: value, traits: traits))
  }

  /// The launch that sets every element of `slot`.
  static func fillLaunch(_ id: SlotID, _ slot: Slot, with value: Double, traits: KernelTraits) -> Launch {
    let bytes = Tensor(doubles: [value], shape: .scalar, elementType: slot.type).withUnsafeBytes(Array.init)
    return fillLaunch(
      id, slot, withBits: bytes.enumerated().reduce(UInt64(0)) { $0 | UInt64($1.element) << (8 * UInt64($1.offset)) },
      traits: traits)
  }

  /// The launch that gives every element of `slot` the bits that it has room for.
  static func fillLaunch(_ id: SlotID, _ slot: Slot, withBits bits: UInt64, traits: KernelTraits) -> Launch {
    let words = [UInt32(truncatingIfNeeded: bits), UInt32(truncatingIfNeeded: bits >> 32)]
    return Launch(
      family: .movement, kernel: "fill_\(slot.type.byteCount)",
      arguments: [
        .write(id), .integers([slot.elementCount]), .integers(words.map { Int(Int32(bitPattern: $0)) }),
      ], workItems: dividedUp(slot.elementCount, traits[.movement].run))
  }

  /// The weight in the form that the convolution reads, packed once per form.
  mutating func packed(_ key: PackedWeight, _ make: (inout Lowering) -> SlotID) -> SlotID {
    if let slot = packedWeights[key] { return slot }
    let slot = make(&self)
    packedWeights[key] = slot
    return slot
  }

  // MARK: The end of a step

  /// Makes outputs and carried values persistent, and carries them over.
  private mutating func finish(_ source: Program) {
    let inputSlots = Set(program.inputs.values.map(\.slot))
    // A value that shares an input's memory would change with the input: results are those of the last run.
    for value in ValueSet(graph.outputs + source.carries.map(\.output))
    where inputSlots.contains(location(of: value).slot) {
      let old = location(of: value)
      let strides = old.layout.strides(of: graph.shape(value))
      let new = addSlot(graph.shape(value).elementCount, old.type)
      copy(from: old.slot, strides, to: new, strides, graph.shape(value).dimensions)
      locations[value] = [LoweredProgram.Location(slot: new, layout: old.layout, type: old.type)]
    }
    for value in graph.outputs {
      keep(location(of: value).slot)
      program.readable[value] = location(of: value)
    }
    for carry in source.carries {
      let from = location(of: carry.output)
      guard let to = program.inputs[carry.input] else {
        preconditionFailure("\(carry.input) is carried to but no input")
      }
      keep(from.slot)
      let shape = graph.shape(carry.input)
      copy(
        from: from.slot, from.layout.strides(of: shape), to: to.slot, to.layout.strides(of: shape), shape.dimensions)
      program.readable[carry.input] = to
    }
  }

  private mutating func keep(_ slot: SlotID) {
    if case .intermediate = program.slots[slot.index].role { program.slots[slot.index].role = .persistent }
  }
}

/// What a packed weight is made of: the same weight may be read by several nodes, forward and backward.
struct PackedWeight: Hashable {
  var weight: ValueID
  var isTransposed: Bool
  var groups: Int
  /// The factors of the batch normalisation that is folded in.
  var factors: SlotID?
  /// Which kernels read it.
  var form = Form.convolution
  /// What a product adds up: with one column in memory both orientations lie alike.
  var depth = 0

  /// How a packed weight lies.
  enum Form { case convolution, matrix, matrixPanels, tensorCores }
}

/// The arguments that a strided kernel takes for a collapsed walk: all axes but the innermost, padded to 8.
struct StridedArguments {
  var rank: Int
  var outerCount: Int
  var extents: [Int]
  var strides: [[Int]]
  /// Each operand's stride on the innermost axis.
  var innermost: [Int]

  init(_ walk: StridedWalk) {
    precondition((1...9).contains(walk.extents.count), "a walk of \(walk.extents.count) axes is beyond the kernels")
    rank = walk.extents.count - 1
    outerCount = walk.extents.dropLast().reduce(1, *)
    extents = padded(Array(walk.extents.dropLast()), with: 1)
    strides = walk.strides.map { padded(Array($0.dropLast()), with: 0) }
    innermost = walk.strides.map { $0[$0.count - 1] }
  }
}

/// `values` extended to the 8 entries of a kernel's vector argument.
func padded(_ values: [Int], with filler: Int) -> [Int] {
  precondition(values.count <= 8, "\(values.count) axes are beyond the kernels")
  return values + [Int](repeating: filler, count: 8 - values.count)
}

/// The quotient, rounded up.
func dividedUp(_ value: Int, _ divisor: Int) -> Int { (value + divisor - 1) / divisor }

extension Operator {
  /// Whether the kernels of this operator read and write channels last.
  var wantsChannelsLast: Bool {
    switch self {
    case .convolution, .convolutionTranspose, .pool, .poolGradient, .batchNormalization: true
    default: false
    }
  }
}
