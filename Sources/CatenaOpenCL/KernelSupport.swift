import CatenaGraph
import CatenaTensors

/// Which nodes have kernels.
enum KernelSupport {
  /// The nodes of `graph` that cannot run, each with its values and the reason.
  static func refusals(of graph: Graph) -> [String] {
    let nodes = graph.nodes.compactMap { node in
      reason(node, graph).map { "\(node.operation.name) '\(node.outputs.first.map { graph[$0].name } ?? "")': \($0)" }
    }
    let ends = Set(graph.inputs + graph.outputs).sorted().filter { graph.type($0).elementType != .float32 }
    return nodes + ends.map { "the value '\(graph[$0].name)' is \(graph.type($0)), there are kernels for float32" }
  }

  private static func reason(_ node: Node, _ graph: Graph) -> String? {
    for (position, value) in (node.inputs + node.outputs).enumerated() {
      if node.operation.takesIndices, position == 1 {
        if graph.constants[value] == nil { return "there is a kernel for constant indices only" }
        continue
      }
      let type = graph.type(value)
      if type.elementType != .float32 {
        return "it works on \(type.elementType.rawValue), there are kernels for float32"
      }
      if type.shape.elementCount > Int(Int32.max) { return "\(type) has more elements than kernels can index" }
      if type.shape.rank > 8 { return "\(type) has more than 8 axes" }
    }
    switch node.operation {
    case .convolution, .convolutionTranspose, .pool, .poolGradient:
      let rank = graph.shape(node.inputs[0]).rank
      return rank > 4 ? "there are kernels for 1 and 2 spatial axes, not for \(rank - 2)" : nil
    case .unary(let function), .unaryGradient(let function):
      return function.kernelFunction == nil ? "there is no kernel for this function" : nil
    case .binary(let function): return function.kernelFunction == nil ? "there is no kernel for this function" : nil
    case .pad(let pad), .padGradient(let pad, _):
      if case .constant = pad.mode { return nil }
      return "there is a kernel for constant padding only"
    case .instanceNormalization, .localResponseNormalization, .localResponseNormalizationGradient, .select, .cast,
      .argReduce, .resize, .resizeGradient:
      return "there is no kernel for this operator"
    case .gemm, .matmul, .batchNormalization, .identity, .softmax, .logSoftmax, .reduce, .concatenate, .split, .slice,
      .sliceGradient, .reshape, .transpose, .expand, .gather, .gatherGradient, .gate, .gateGradient,
      .gateGradientFromOutput, .adam:
      return nil
    }
  }
}

extension Operator {
  /// Whether the second input holds indices.
  fileprivate var takesIndices: Bool {
    switch self {
    case .gather, .gatherGradient: true
    default: false
    }
  }
}
