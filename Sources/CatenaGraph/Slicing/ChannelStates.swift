import CatenaTensors

/// What is zero, constant or live in a graph some of whose channels are zeroed: the forward half of liveness.
struct ChannelStates: Sendable {
  private let graph: Graph
  private let zeroing: Zeroing
  private var known: ValueMap<AxisConstants> = [:]
  private var beforeZeroing: ValueMap<AxisConstants> = [:]

  init(_ graph: Graph, rules: [AxisRules], zeroing: Zeroing) {
    self.graph = graph
    self.zeroing = zeroing
    for input in graph.inputs { record(AxisConstants(live: graph.shape(input)), of: input) }
    for (node, rules) in zip(graph.nodes, rules) {
      var transfer = StateTransfer(node: node, rules: rules, graph: graph)
      for (index, input) in node.inputs.enumerated() {
        if node.operation.readsChannelConstants(of: index), known[input] == nil, let tensor = graph.constants[input] {
          known[input] = AxisConstants(tensor)
        }
        transfer.inputs.append(known[input] ?? transfer.live(.input(index)))
      }
      for (output, state) in zip(node.outputs, transfer.outputs()) { record(state, of: output) }
    }
  }

  private mutating func record(_ state: AxisConstants, of value: ValueID) {
    var state = state
    state.close()
    if zeroing.touches(value) { beforeZeroing[value] = state }
    for (axis, indices) in zeroing.channels(of: value) {
      for index in indices { state.axes[axis][index] = 0 }
    }
    if zeroing.values.contains(value) { state.whole = 0 }
    state.close()
    known[value] = state
  }

  /// Whether readers of `value` see zeros there. Constants are not searched for zeros.
  func isZero(_ value: ValueID, axis: Int, index: Int) -> Bool { known[value]?.axes[axis][index] == 0 }

  /// Whether readers of `value` see nothing but zeros.
  func isZero(_ value: ValueID) -> Bool { known[value]?.whole == 0 }

  /// Whether `value` is zero there by itself, before anything is zeroed.
  func isZeroByItself(_ value: ValueID, axis: Int, index: Int) -> Bool {
    (beforeZeroing[value] ?? known[value])?.axes[axis][index] == 0
  }
}

extension Operator {
  /// Whether an operand that is a constant tells something about channels, so that it is worth reading; weights do not.
  fileprivate func readsChannelConstants(of input: Int) -> Bool {
    switch self {
    case .convolution, .convolutionTranspose: input == 2
    case .gemm: input == 2
    case .matmul, .gather, .adam: false
    default: true
    }
  }
}

/// How one node hands on what is known of its inputs.
struct StateTransfer {
  let node: Node
  let rules: AxisRules
  let graph: Graph
  var inputs: [AxisConstants] = []

  func outputs() -> [AxisConstants] {
    switch node.operation {
    case .convolution(let convolution): [mixed(groups: convolution.groups)]
    case .convolutionTranspose(let transpose): [mixed(groups: transpose.convolution.groups)]
    case .gemm(let gemm): [product(gemm)]
    case .matmul: [matrixProduct()]
    case .batchNormalization(let epsilon): [normalized(epsilon: Double(epsilon))]
    case .instanceNormalization: [instanceNormalized()]
    case .localResponseNormalization: [linked { $0 == 0 ? 0 : .nan }]
    case .pool(let pool): [linked(pool.ofConstant)]
    case .unary(let function): [elementwise { function.value(at: $0[0]) }]
    case .identity, .expand: [elementwise { $0[0] }]
    case .cast(let type): [elementwise { type.isFloatingPoint ? $0[0] : $0[0] == 0 ? 0 : .nan }]
    case .binary(let function): [elementwise { function.ofConstants($0[0], $0[1]) }]
    case .select:
      [elementwise { $0[1] == $0[2] ? $0[1] : $0[0].isNaN ? .nan : $0[0] != 0 ? $0[1] : $0[2] }]
    case .reduce(let reduce): [linked { reduce.ofConstant($0, count: reducedCount(reduce)) }]
    case .gate(let axis): [gated(axis: axis)]
    case .pad(let pad): [padded(pad)]
    case .resize: [linked { $0 == 0 ? 0 : .nan }]
    case .reshape: [reshaped()]
    case .concatenate, .split, .slice, .transpose: node.outputs.indices.map { linked(output: $0) { $0 } }
    case .gather: [linked(input: 0) { $0 }]
    default: rules.outputs.indices.map { live(.output($0)) }
    }
  }

  /// An operand or a result of which nothing is known.
  func live(_ operand: Place.Operand) -> AxisConstants {
    AxisConstants(live: rules.shape(operand), bundles: rules.bundles(operand))
  }

  /// Follows the links of the node's rules, to all inputs or to one; `transform` acts on every number.
  private func linked(
    input only: Int? = nil, output: Int = 0, _ transform: (Double) -> Double
  ) -> AxisConstants {
    var result = live(.output(output))
    var assigned = result.axes.map { [Bool](repeating: false, count: $0.count) }
    func assign(_ axis: Int, _ index: Int, _ value: Double) {
      result.axes[axis][index] = assigned[axis][index] && result.axes[axis][index] != value ? .nan : value
      assigned[axis][index] = true
    }
    for link in rules.links {
      switch (link.from.operand, link.to.operand) {
      case (.input(let input), .output(output)) where only == nil || only == input:
        for (index, source) in link.map.sources.enumerated() {
          if let source { assign(link.to.axis, index, transform(inputs[input].axes[link.from.axis][source])) }
        }
      case (.output(output), .input(let input)) where only == nil || only == input:
        for (index, fiber) in link.map.fibers.enumerated() {
          for source in fiber { assign(link.from.axis, index, transform(inputs[input].axes[link.to.axis][source])) }
        }
      default: break
      }
    }
    if inputs.count == 1 { result.whole = transform(inputs[0].whole) }
    return result
  }

  private func elementwise(_ function: ([Double]) -> Double) -> AxisConstants {
    var result = live(.output(0))
    var operands = [Double](repeating: .nan, count: inputs.count)
    for axis in result.axes.indices {
      let bundled = axis < result.rank ? nil : inputs.indices.map { bundle(of: $0, at: axis) }
      for index in result.axes[axis].indices {
        for input in inputs.indices {
          operands[input] =
            if let bundled { bundled[input].map { inputs[input].axes[$0][index] } ?? inputs[input].whole } else {
              inputs[input].broadcast(axis: axis, of: result.rank, index: index)
            }
        }
        result.axes[axis][index] = function(operands)
      }
    }
    result.whole = function(inputs.map(\.whole))
    return result
  }

  /// The bundle of an operand that belongs to one of the result, as an axis.
  private func bundle(of input: Int, at axis: Int) -> Int? {
    rules.links.lazy.compactMap { link in
      if link.to == .output(axis) && link.from.operand == .input(input) { return link.from.axis }
      return link.from == .output(axis) && link.to.operand == .input(input) ? link.to.axis : nil
    }.first
  }

  private func reshaped() -> AxisConstants {
    var result = linked { $0 }
    for merge in rules.merges {
      let combinations = Combinations(merge.factors.map { rules.extent($0) })
      if case .output = merge.merged.operand {
        result.axes[merge.merged.axis] = combinations.spread(merge.factors.map { inputs[0].axes[$0.axis] })
      } else {
        for (position, factor) in merge.factors.enumerated() {
          result.axes[factor.axis] = combinations.common(inputs[0].axes[merge.merged.axis], along: position)
        }
      }
    }
    return result
  }

  /// A convolution whose inputs are zero leaves its bias.
  private func mixed(groups: Int) -> AxisConstants {
    var result = live(.output(0))
    let channels = inputs[0].axes[1].count / groups
    let filters = result.axes[1].count / groups
    for group in 0..<groups where inputs[0].axes[1][group * channels..<(group + 1) * channels].allSatisfy({ $0 == 0 }) {
      for filter in group * filters..<(group + 1) * filters {
        result.axes[1][filter] = inputs.count == 3 ? inputs[2].axes[0][filter] : 0
      }
    }
    return result
  }

  private func product(_ gemm: Gemm) -> AxisConstants {
    var result = live(.output(0))
    func remainder(_ axis: Int, _ index: Int) -> Double {
      inputs.count == 3 ? Double(gemm.beta) * inputs[2].broadcast(axis: axis, of: 2, index: index) : 0
    }
    let (row, innerA) = gemm.transposeA ? (1, 0) : (0, 1)
    let (innerB, column) = gemm.transposeB ? (1, 0) : (0, 1)
    let isEmpty = zip(inputs[0].axes[innerA], inputs[1].axes[innerB]).allSatisfy { $0 == 0 || $1 == 0 }
    for index in result.axes[0].indices where isEmpty || inputs[0].axes[row][index] == 0 {
      result.axes[0][index] = remainder(0, index)
    }
    for index in result.axes[1].indices where isEmpty || inputs[1].axes[column][index] == 0 {
      result.axes[1][index] = remainder(1, index)
    }
    return result
  }

  private func matrixProduct() -> AxisConstants {
    var result = linked { $0 == 0 ? 0 : .nan }
    // On a batch axis one of two zeros is enough, so that the links' agreement is too strict there.
    for link in rules.links {
      guard case .input(let input) = link.from.operand, case .output = link.to.operand else { continue }
      for (index, source) in link.map.sources.enumerated() {
        if let source, inputs[input].axes[link.from.axis][source] == 0 { result.axes[link.to.axis][index] = 0 }
      }
    }
    if inputs.contains(where: { $0.whole == 0 }) { result.whole = 0 }
    return result
  }

  private func normalized(epsilon: Double) -> AxisConstants {
    var result = live(.output(0))
    for channel in result.axes[1].indices {
      let x = inputs[0].axes[1][channel]
      let parameters = inputs[1...].map { $0.axes[0][channel] }
      result.axes[1][channel] =
        parameters[0] * (x - parameters[2]) / (parameters[3] + epsilon).squareRoot() + parameters[1]
    }
    return result
  }

  private func instanceNormalized() -> AxisConstants {
    var result = live(.output(0))
    for channel in result.axes[1].indices where inputs[0].axes[1][channel] == 0 {
      result.axes[1][channel] = inputs[2].axes[0][channel]
    }
    return result
  }

  private func gated(axis: Int) -> AxisConstants {
    var result = inputs[0]
    for position in result.axes.indices {
      for index in result.axes[position].indices {
        let factor = position == axis ? inputs[1].axes[1][index] : .nan
        result.axes[position][index] = BinaryFunction.multiply.ofConstants(result.axes[position][index], factor)
      }
    }
    result.whole = BinaryFunction.multiply.ofConstants(inputs[0].whole, inputs[1].whole)
    return result
  }

  private func padded(_ pad: Pad) -> AxisConstants {
    var result = linked { $0 }
    result.whole = .nan
    guard case .constant(let value) = pad.mode else { return result }
    for axis in result.axes.indices {
      let isPaddedElsewhere = pad.begins.indices.contains { $0 != axis && (pad.begins[$0] > 0 || pad.ends[$0] > 0) }
      for index in result.axes[axis].indices {
        // A bundle's inner axis is not padded; if its outer ones are, that counts as elsewhere.
        let isNew =
          axis < result.rank && !(0..<rules.inputs[0].dimensions[axis]).contains(index - pad.begins[axis])
        if isNew {
          result.axes[axis][index] = value
        } else if isPaddedElsewhere, result.axes[axis][index] != value {
          result.axes[axis][index] = .nan
        }
      }
    }
    return result
  }

  private func reducedCount(_ reduce: Reduce) -> Int {
    reduce.axes.map { rules.inputs[0].dimensions[$0] }.reduce(1, *)
  }
}

extension Pool {
  /// The result where all elements of a channel equal `value`.
  fileprivate func ofConstant(_ value: Double) -> Double {
    if value == 0 { return 0 }
    switch kind {
    case .maximum: return value
    case .average(let countIncludesPadding):
      return countIncludesPadding && (padsBegin + padsEnd).contains { $0 != 0 } ? .nan : value
    case .norm: return .nan
    }
  }
}

extension Reduce {
  fileprivate func ofConstant(_ value: Double, count: Int) -> Double {
    switch kind {
    case .sum: value * Double(count)
    case .mean, .maximum, .minimum: value
    case .product: value == 0 || value == 1 ? value : .nan
    }
  }
}

extension BinaryFunction {
  /// The result for numbers of which some may not be known (NaN).
  func ofConstants(_ left: Double, _ right: Double) -> Double {
    switch self {
    case .add: left + right
    case .subtract: left - right
    case .multiply: left == 0 || right == 0 ? 0 : left * right
    case .divide: left / right
    case .minimum: left.isNaN || right.isNaN ? .nan : min(left, right)
    case .maximum: left.isNaN || right.isNaN ? .nan : max(left, right)
    case .prelu: left == 0 ? 0 : left > 0 ? left : left * right
    case .and: left == 0 || right == 0 ? 0 : .nan
    case .power, .modulo, .equal, .less, .lessOrEqual, .greater, .greaterOrEqual, .or, .xor: .nan
    }
  }
}
