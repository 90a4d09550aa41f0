import COneDNN
import CatenaCompute
import CatenaGraph
import CatenaTensors

extension Lowering {
  /// Lowers element-wise nodes of one walked shape as one pass over memory.
  func lowerElementwise(_ nodes: [Int]) {
    let members = nodes.map { graph.nodes[$0] }
    let shape = graph.walkedShape(members[0])
    var pass = ElementwisePass(
      lowering: self, members: members,
      program: ElementwiseProgram(shape: shape, isInteger: graph.lanes(members[0]) == .integer))
    pass.program.regions = members.compactMap(graph.regions).first ?? 1
    for (index, node) in zip(nodes, members) {
      pass.emit(node, stores: mustStore(node.outputs[0], readIn: nodes, producer: index))
    }
    let kind = members.map(\.operation.kernelName).joined(separator: "+")
    guard let last = members.last?.outputs[0] else { return }
    addElementwise(pass.program, name: graph[last].name, kind: kind, shape: shape)
    for (value, view) in pass.stored { define(value, view) }
    for (value, sums, gate) in pass.quotients { divideByGate(value, sums, gate) }
  }

  /// Whether a member's result is read outside its group.
  private func mustStore(_ value: ValueID, readIn nodes: [Int], producer: Int) -> Bool {
    observed.contains(value) || readers[value].contains { !nodes.contains($0) }
  }

  /// Sums of gradient * output become gradients of the gates.
  private func divideByGate(_ value: ValueID, _ sums: View, _ gate: View) {
    var program = ElementwiseProgram(shape: sums.shape, isInteger: false)
    let left = program.addOperand(sums, CATENA_READ)
    let right = program.addOperand(gate, CATENA_READ)
    let result = allocate(sums.shape, .logical(rank: 2), storage(value))
    let destination = program.addOperand(result, CATENA_WRITE)
    program.append(CATENA_DIVIDE_OR_ZERO, destination, left, right)
    addElementwise(program, name: graph[value].name, kind: "divideByGate", shape: sums.shape)
    define(value, result)
  }

  /// Scale and shift of a batch normalisation whose parameters are constant.
  func foldedNormalization(_ node: Node, epsilon: Float) -> (scale: [Double], shift: [Double])? {
    let parameters = node.inputs.dropFirst().compactMap { graph.constants[$0]?.doubles }
    guard parameters.count == 4 else { return nil }
    let scale = zip(parameters[0], parameters[3]).map { $0 / ($1 + Double(epsilon)).squareRoot() }
    let shift = zip(zip(scale, parameters[1]), parameters[2]).map { $0.1 - $1 * $0.0 }
    return (scale, shift)
  }
}

extension Operator {
  /// The operator's name in kernel records, with its function.
  var kernelName: String {
    switch self {
    case .unary(let function): function.name
    case .unaryGradient(let function): function.name + "Gradient"
    case .binary(let function): String(describing: function)
    case .reduce(let reduce): "reduce-\(reduce.kind)"
    default: name
    }
  }
}

/// Builds the instructions of one pass.
private struct ElementwisePass {
  let lowering: Lowering
  let members: [Node]
  var program: ElementwiseProgram
  /// Results that stay in memory.
  var stored: [(ValueID, View)] = []
  /// Sums that are to be divided by their gate.
  var quotients: [(value: ValueID, sums: View, gate: View)] = []
  private var slots: ValueMap<ElementwiseProgram.Slot> = [:]
  /// Whether the pass walks channels innermost, so that it can read some of many.
  private let readsMaps: Bool
  /// The order of memory of results: that of the first operand that has all elements once, or row-major order.
  private let preferredLayout: AxisOrder
  private var graph: Graph { lowering.graph }

  init(lowering: Lowering, members: [Node], program: ElementwiseProgram) {
    self.lowering = lowering
    self.members = members
    self.program = program
    let logical = AxisOrder.logical(rank: program.shape.rank)
    let channelsLast = AxisOrder.channelsLast(rank: program.shape.rank)
    var (readsMaps, orders): (Bool, [AxisOrder]) = (!program.isInteger, [])
    // What is read from memory element by element.
    for node in members {
      for input in node.inputs where lowering.graph.shape(input) == program.shape {
        guard let view = lowering.views[input] else { continue }
        let hasChannelsLast = view.isDense(channelsLast)
        let isDense = hasChannelsLast || view.isDense(logical) || view.isDense
        if isDense, !hasChannelsLast { readsMaps = false }
        if view.map != nil { orders.append(channelsLast) } else if isDense { orders.append(view.layout) }
      }
    }
    self.readsMaps = readsMaps
    preferredLayout = orders.first { $0 != logical } ?? logical
  }

  mutating func emit(_ node: Node, stores: Bool) {
    switch node.operation {
    case .reduce(let reduce): emitSum(node, reduce)
    case .gateGradient(let axis), .gateGradientFromOutput(let axis): emitGateGradient(node, axis: axis)
    default:
      let sources = operands(of: node)
      let destination = result(node.outputs[0], stores: stores)
      emitElements(node, sources, destination)
      round(node, destination)
    }
  }

  // MARK: Operands

  /// A normalisation's parameters are no operands of the walked shape: they follow with its instructions.
  private mutating func operands(of node: Node) -> [ElementwiseProgram.Slot] {
    switch node.operation {
    case .gate(let axis): [operand(node.inputs[0]), gateOperand(node.inputs[1], axis: axis)]
    case .batchNormalization: [operand(node.inputs[0])]
    default: node.inputs.map { operand($0) }
    }
  }

  private mutating func operand(_ value: ValueID) -> ElementwiseProgram.Slot {
    if let slot = slots[value] { return slot }
    let slot = program.addOperand(mapped(value) ?? lowering.view(value).broadcast(to: program.shape), CATENA_READ)
    slots[value] = slot
    return slot
  }

  /// A value that has some of the pass's channels, or more.
  private func mapped(_ value: ValueID) -> View? {
    guard readsMaps, let view = lowering.views[value], view.map != nil, view.shape == program.shape else { return nil }
    return view
  }

  /// A per-channel operand: `axis` walks it, everything else repeats it.
  private mutating func channelOperand(_ view: View, axis: Int) -> ElementwiseProgram.Slot {
    var strides = [Int](repeating: 0, count: program.shape.rank)
    strides[axis] = view.strides[0]
    return program.addOperand(
      View(buffer: view.buffer, offset: view.offset, shape: program.shape, strides: strides, storage: view.storage),
      CATENA_READ)
  }

  /// The strides, with one for the regions in front, of a gate or of its gradient.
  private func gateStrides(axis: Int, region: Int, channel: Int) -> [Int] {
    var strides = [Int](repeating: 0, count: program.shape.rank + 1)
    strides[0] = region
    strides[axis + 1] = channel
    return strides
  }

  private func regionShape() -> Shape {
    let shape = program.shape
    return Shape([program.regions, shape[0] / program.regions] + shape.dimensions.dropFirst())
  }

  private mutating func gateOperand(_ value: ValueID, axis: Int) -> ElementwiseProgram.Slot {
    var view = lowering.view(value)
    view.strides = gateStrides(axis: axis, region: view.strides[0], channel: view.strides[1])
    view.shape = regionShape()
    return program.addOperand(view, CATENA_READ)
  }

  /// Where a node's result goes: a register, or memory when someone outside reads it.
  private mutating func result(_ value: ValueID, stores: Bool) -> ElementwiseProgram.Slot {
    guard stores else {
      let slot = program.addRegister()
      slots[value] = slot
      return slot
    }
    let view = lowering.allocate(program.shape, preferredLayout, lowering.storage(value))
    let slot = program.addOperand(view, CATENA_WRITE)
    slots[value] = slot
    stored.append((value, view))
    return slot
  }

  // MARK: Instructions

  private mutating func round(_ node: Node, _ slot: ElementwiseProgram.Slot) {
    let value = node.outputs[0]
    // A value that is merely kept in bf16 is rounded when it is stored.
    if lowering.narrowed.contains(value) { return }
    let storage = lowering.storage(value)
    let isNarrow =
      program.isInteger ? storage != .int64 && storage != .bool : storage == .float16 || storage == .bfloat16
    let needsTruth = if case .cast = node.operation { storage == .bool } else { false }
    if isNarrow || needsTruth { program.append(CATENA_ROUND, slot, slot, type: storage.kernelType) }
  }

  private mutating func emitElements(
    _ node: Node, _ sources: [ElementwiseProgram.Slot], _ destination: ElementwiseProgram.Slot
  ) {
    switch node.operation {
    case .unary(let function):
      let kernel = function.kernel
      program.append(kernel.operation, destination, sources[0], a: kernel.a, b: kernel.b)
    case .unaryGradient(let function):
      let kernel = function.kernel
      let isMasked = lowering.maskedByNonzero.contains(node.outputs[0])
      let operation = isMasked ? CATENA_NONZERO_GRADIENT : kernel.gradient
      program.append(operation, destination, sources[0], sources[1], a: kernel.a, b: kernel.b)
    case .binary(let function): program.append(function.kernel, destination, sources[0], sources[1])
    case .select: program.append(CATENA_SELECT, destination, sources[0], sources[1], sources[2])
    case .cast: program.append(CATENA_COPY, destination, sources[0])
    case .gate: program.append(CATENA_MULTIPLY, destination, sources[0], sources[1])
    case .batchNormalization(let epsilon): emitNormalization(node, epsilon, sources[0], destination)
    default: preconditionFailure("\(node.operation.name) is not element-wise")
    }
  }

  private mutating func emitNormalization(
    _ node: Node, _ epsilon: Float, _ data: ElementwiseProgram.Slot, _ destination: ElementwiseProgram.Slot
  ) {
    let vector = AxisOrder.logical(rank: 1)
    if let folded = lowering.foldedNormalization(node, epsilon: epsilon) {
      let numbers = [folded.scale, folded.shift].map { values in
        lowering.constant(
          Tensor(doubles: values, shape: [values.count], elementType: .float32), vector, .float32)
      }
      let scale = channelOperand(numbers[0], axis: 1)
      let shift = channelOperand(numbers[1], axis: 1)
      program.append(CATENA_MULTIPLY_ADD, destination, data, scale, shift)
      return
    }
    let parameters = node.inputs.dropFirst().map { channelOperand(lowering.view($0), axis: 1) }
    let centred = program.addRegister()
    let deviation = program.addRegister()
    program.append(CATENA_SUBTRACT, centred, data, parameters[2])
    program.append(CATENA_AFFINE, deviation, parameters[3], a: 1, b: epsilon)
    program.append(CATENA_SQUARE_ROOT, deviation, deviation)
    program.append(CATENA_DIVIDE, centred, centred, deviation)
    program.append(CATENA_MULTIPLY_ADD, destination, centred, parameters[0], parameters[1])
  }

  // MARK: Sums

  private mutating func emitSum(_ node: Node, _ reduce: Reduce) {
    let source = operand(node.inputs[0])
    let value = node.outputs[0]
    let kept = program.shape.reduced(reduce.axes, keepsDimensions: true)
    let count = reduce.axes.reduce(1) { $0 * program.shape[$1] }
    let result = lowering.allocate(kept, .logical(rank: kept.rank), .float32)
    let slot = program.addOperand(
      result.broadcast(to: program.shape), CATENA_SUM, scale: reduce.kind == .mean ? 1 / Float(count) : 1)
    program.append(CATENA_COPY, slot, source)
    var shaped = result
    shaped.shape = graph.shape(value)
    shaped.strides = shaped.shape.strides
    stored.append((value, shaped))
  }

  private mutating func emitGateGradient(_ node: Node, axis: Int) {
    let gradient = operand(node.inputs[0])
    let data = operand(node.inputs[1])
    let value = node.outputs[0]
    let result = lowering.allocate(graph.shape(value), .logical(rank: 2), .float32)
    var sums = result
    sums.shape = regionShape()
    sums.strides = gateStrides(axis: axis, region: result.strides[0], channel: result.strides[1])
    let slot = program.addOperand(sums, CATENA_SUM)
    program.append(CATENA_MULTIPLY, slot, gradient, data)
    if case .gateGradientFromOutput = node.operation {
      quotients.append((value, result, lowering.view(node.inputs[2])))
    } else {
      stored.append((value, result))
    }
  }
}
