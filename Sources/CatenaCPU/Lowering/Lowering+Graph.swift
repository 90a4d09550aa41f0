import CatenaCompute
import CatenaGraph
import CatenaTensors

extension Lowering {
  /// Lowers the whole program: inputs, groups, outputs and what is carried over.
  func lower(carries: [Program.Carry]) throws(ComputeError) {
    let boundary = section?.boundary ?? graph.nodes.count
    let groups = graph.groups(observed: observed, boundary: boundary)
    for group in groups {
      for node in group.nodes { positions[node] = group.position }
    }
    for input in graph.inputs {
      views[input] = allocate(graph.shape(input), inputLayout(input), storage(input), .persistent)
    }
    let behind = groups.firstIndex { $0.position >= boundary } ?? groups.count
    for group in groups[..<behind] { try lower(group) }
    if let section { addSection(section) }
    for group in groups[behind...] { try lower(group) }
    keepOutputs()
    addCarries(carries)
  }

  private func lower(_ group: Group) throws(ComputeError) {
    position = group.position
    switch group.kind {
    case .mixing: try lowerMixing(group.nodes)
    case .elementwise: lowerElementwise(group.nodes)
    case .single: try lowerSingle(graph.nodes[group.nodes[0]])
    }
  }

  private func lowerSingle(_ node: Node) throws(ComputeError) {
    switch node.operation {
    case .matmul: try lowerMatmul(node)
    case .reduce(let reduce): lowerReduce(node, reduce)
    case .argReduce(let reduce): lowerArgReduce(node, reduce)
    case .softmax(let axes): lowerSoftmax(node, axes: axes, isLogarithm: false)
    case .logSoftmax(let axes): lowerSoftmax(node, axes: axes, isLogarithm: true)
    case .pool(let pool): lowerPool(node, pool)
    case .poolGradient(let pool): lowerPoolGradient(node, pool)
    case .localResponseNormalization(let parameters), .localResponseNormalizationGradient(let parameters):
      lowerResponseNormalization(node, parameters)
    case .instanceNormalization(let epsilon): lowerInstanceNormalization(node, epsilon: epsilon)
    case .adam(let adam): lowerAdam(node, adam)
    default: lowerMovement(node)
    }
  }

  /// Images that a window operator reads first are kept with channels innermost: they are converted once, when they are
  /// written.
  private func inputLayout(_ input: ValueID) -> AxisOrder {
    if let layout = inputLayouts[input] { return layout }
    let rank = graph.shape(input).rank
    guard let reader = readers[input].first.map({ graph.nodes[$0] }), storage(input) == .float32 else {
      return .logical(rank: rank)
    }
    switch reader.operation {
    case .convolution, .convolutionTranspose, .pool, .batchNormalization, .instanceNormalization, .gate(axis: 1),
      .localResponseNormalization:
      return reader.inputs[0] == input ? .channelsLast(rank: rank) : .logical(rank: rank)
    default: return .logical(rank: rank)
    }
  }

  // MARK: Outputs

  /// Gives every observed value memory that lasts: its own, unless it lies in an input's or a constant's; and its own
  /// element type, where it is another form of an image that is kept in bf16.
  private func keepOutputs() {
    for value in observed.sorted() where !graph.inputs.contains(value) {
      let current = view(value)
      let isReadable = current.storage == storage(value)
      switch plan.buffers[current.buffer.index].kind {
      case .intermediate where isReadable:
        plan.buffers[current.buffer.index].kind = .persistent
        views[value] = current
      case .persistent where isReadable && !isInput(current.buffer), .constant where isReadable:
        views[value] = current
      default:
        views[value] = copied(
          current, to: .logical(rank: current.shape.rank), storage(value), name: graph[value].name, kind: .persistent)
      }
    }
  }

  private func isInput(_ buffer: BufferID) -> Bool { graph.inputs.contains { views[$0]?.buffer == buffer } }

  // MARK: Carried values

  /// Copies what is carried to its input at the end of a step, or lets the kernel write there at once.
  private func addCarries(_ carries: [Program.Carry]) {
    var copies: [(from: View, to: View, name: String)] = []
    for carry in carries where carry.input != carry.output {
      let (from, to) = (view(carry.output), view(carry.input))
      let name = graph[carry.input].name
      let isOnlyCopy = carries.filter { $0.output == carry.output }.count == 1
      let isCarriedOn = carries.contains { view($0.output).buffer == to.buffer }
      if isOnlyCopy, !isCarriedOn, writesInPlace(from, over: to) {
        moveResult(from.buffer, to: to.buffer)
      } else if isInput(from.buffer) {
        // It may itself be replaced by another carried value: all are read before any is written.
        copies.append((copied(from, to: to.layout, from.storage, name: name), to, name))
      } else {
        copies.append((from, to, name))
      }
    }
    for copy in copies { addCopy(copy.from, copy.to, name: copy.name) }
  }

  /// Whether the kernel that makes a result may put it where its operand, the carried input, lies.
  private func writesInPlace(_ result: View, over input: View) -> Bool {
    guard result.offset == 0, result.strides == input.strides, result.storage == input.storage,
      plan.buffers[result.buffer.index].bytes == plan.buffers[input.buffer.index].bytes,
      let maker = plan.steps.lastIndex(where: { $0.writes.contains(result.buffer) }),
      plan.steps.filter({ $0.writes.contains(result.buffer) }).count == 1
    else { return false }
    let allows = plan.steps[maker].takeovers.contains { $0.output == result.buffer && $0.input == input.buffer }
    return allows && !plan.steps[(maker + 1)...].contains { $0.reads.contains(input.buffer) }
  }

  /// Everything that touched one buffer touches another instead.
  private func moveResult(_ from: BufferID, to: BufferID) {
    plan.aliases[from] = to
    for (value, view) in views where view.buffer == from {
      var moved = view
      moved.buffer = to
      views[value] = moved
    }
  }
}
