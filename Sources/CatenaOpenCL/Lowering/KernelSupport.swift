import CatenaGraph
import CatenaTensors

/// Which nodes have kernels on a device.
package struct KernelSupport {
  /// Whether the device computes in f64, which conversions from and to it need.
  private let hasDoubles: Bool

  /// What a device runs that computes in f64 or does not.
  package init(hasDoubles: Bool) { self.hasDoubles = hasDoubles }

  /// The nodes of `graph` that cannot run, each with its values and the reason.
  package func refusals(of graph: Graph) -> [String] {
    let nodes = graph.nodes.compactMap { node in
      reason(node, graph).map { "\(node.operation.name) '\(node.outputs.first.map { graph[$0].name } ?? "")': \($0)" }
    }
    let ends = ValueSet(graph.inputs + graph.outputs).filter { graph.type($0).elementType.kernelType == nil }
    return nodes + ends.map { "the value '\(graph[$0].name)' is \(graph.type($0)), which is not held" }
  }

  private func reason(_ node: Node, _ graph: Graph) -> String? {
    for value in node.inputs + node.outputs {
      let type = graph.type(value)
      if type.elementType.kernelType == nil { return "\(type.elementType.rawValue) is not held by this back end" }
      if type.elementType == .float64, !node.operation.takesDoubles {
        return "it is not done on float64; cast to float32"
      }
      if type.shape.elementCount > OpenCLDevice.largestCount {
        return "\(type) has more elements than kernels can index"
      }
      if type.shape.rank > 8 { return "\(type) has more than 8 axes" }
    }
    return typeReason(node, graph) ?? parameterReason(node, graph)
  }

  /// Why the node is not done on its operands' types.
  private func typeReason(_ node: Node, _ graph: Graph) -> String? {
    let type = graph.type(node.inputs[0]).elementType
    switch node.operation {
    case .unary(let function):
      let isKnown = type == .bool ? function == .not : type.isFloatingPoint || function.takesIntegers
      return isKnown && !(type.isFloatingPoint && function == .not)
        ? nil : "\(function) is not done on \(type.rawValue)"
    case .binary(let function):
      guard type == .bool else { return nil }
      return [.equal, .and, .or, .xor].contains(function) ? nil : "\(function) is not done on bool"
    case .cast(let target):
      let isDouble = (type == .float64) != (target == .float64)
      return isDouble && !hasDoubles ? "the device has no float64" : nil
    case .gemm(let gemm):
      if type.isFloatingPoint { return nil }
      if type == .bool { return "bools cannot be multiplied" }
      return [gemm.alpha, gemm.beta].allSatisfy { $0 == $0.rounded() && abs($0) < 1e9 }
        ? nil : "integer matrices are multiplied with whole alpha and beta only"
    case .matmul: return type == .bool ? "bools cannot be multiplied" : nil
    case .reduce: return type == .bool ? "bools cannot be reduced" : nil
    case .pool(let pool) where pool.kind == .maximum && (type == .int8 || type == .uint8): return nil
    case .resize(let resize):
      if case .nearest = resize.interpolation { return nil }
      return type.isFloatingPoint ? nil : "it is not done on \(type.rawValue)"
    case .select, .identity, .argReduce, .concatenate, .split, .slice, .pad, .reshape, .transpose, .expand, .gather:
      return nil
    case .sliceGradient, .padGradient, .gatherGradient, .resizeGradient, .convolution, .convolutionTranspose,
      .batchNormalization, .instanceNormalization, .localResponseNormalization, .localResponseNormalizationGradient,
      .pool, .poolGradient, .unaryGradient, .softmax, .logSoftmax, .gate, .gateGradient, .gateGradientFromOutput,
      .adam:
      return type.isFloatingPoint ? nil : "it is not done on \(type.rawValue)"
    }
  }

  /// Why the node is not done with its parameters.
  private func parameterReason(_ node: Node, _ graph: Graph) -> String? {
    switch node.operation {
    case .convolution, .convolutionTranspose, .pool, .poolGradient:
      let rank = graph.shape(node.inputs[0]).rank - 2
      return (1...3).contains(rank) ? nil : "there are kernels for 1 to 3 spatial axes, not for \(rank)"
    case .gather(let axis): return indexReason(node, graph, extent: graph.shape(node.inputs[0])[axis])
    case .gatherGradient(let axis, let inputShape): return indexReason(node, graph, extent: inputShape[axis])
    case .pad(let pad): return cropReason(pad, graph.shape(node.inputs[0]))
    case .padGradient(let pad, let inputShape): return cropReason(pad, inputShape)
    default: return nil
    }
  }

  private func indexReason(_ node: Node, _ graph: Graph, extent: Int) -> String? {
    guard let wrong = graph.constants[node.inputs[1]]?.integers.first(where: { !(-extent..<extent).contains($0) })
    else { return nil }
    return "index \(wrong) is out of range for \(extent) elements"
  }

  /// Nothing is left to repeat where an axis is cropped away.
  private func cropReason(_ pad: Pad, _ shape: Shape) -> String? {
    if case .constant = pad.mode { return nil }
    let axis = shape.dimensions.indices.first { axis in
      let isChanged = pad.begins[axis] != 0 || pad.ends[axis] != 0
      return isChanged && shape[axis] - max(0, -pad.begins[axis]) - max(0, -pad.ends[axis]) < 1
    }
    return axis.map { "axis \($0) is cropped to nothing: there is nothing to repeat" }
  }
}

extension Operator {
  /// Whether f64 may be stored by the operator: nothing is computed in it.
  fileprivate var takesDoubles: Bool {
    switch self {
    case .cast, .identity, .concatenate, .split, .slice, .pad, .reshape, .transpose, .expand, .gather: true
    default: false
    }
  }
}

extension OpenCLDevice {
  /// The most elements that kernels index, in 32 bits: with room for what whole groups, vectors and runs reach behind the
  /// last.
  package static let largestCount = Int(Int32.max) - (1 << 20)
}
