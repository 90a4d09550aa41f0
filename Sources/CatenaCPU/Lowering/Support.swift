import CatenaGraph
import CatenaTensors

extension Graph {
  /// Every node that this back end cannot run, with the reason.
  package func unsupportedNodes() -> [String] {
    var reasons: [String] = []
    for input in inputs where Storage(type(input).elementType) == nil {
      reasons.append("input '\(self[input].name)': \(type(input).elementType.rawValue) is not held")
    }
    for node in nodes {
      guard let reason = unsupportedReason(node) else { continue }
      let name = node.outputs.first.map { self[$0].name } ?? ""
      reasons.append("\(node.operation.name) '\(name)': \(reason)")
    }
    return reasons
  }

  private func unsupportedReason(_ node: Node) -> String? {
    for value in node.inputs + node.outputs {
      let type = type(value).elementType
      if Storage(type) == nil { return "\(type.rawValue) is not held by this back end" }
      if type == .float64, !node.operation.takesDoubles { return "it is not done on float64; cast to float32" }
    }
    let rank = (node.inputs + node.outputs).map { shape($0).rank }.max() ?? 0
    // Regions and collapsed axes need one more than the graph's.
    if rank > 10 { return "\(rank) axes are more than 10" }
    switch node.operation {
    case .unary(let function):
      let type = type(node.inputs[0]).elementType
      if !type.isFloatingPoint, !function.takesIntegers { return "\(function) is not done on \(type.rawValue)" }
      return nil
    case .convolutionTranspose(let transpose):
      let pads = transpose.convolution.padsBegin + transpose.convolution.padsEnd
      let isStrided = transpose.convolution.strides.contains { $0 > 1 } || constants[node.inputs[1]] == nil
      if isStrided, pads.contains(where: { $0 < 0 }) { return "negative padding is only done at stride 1" }
      return spatialReason(node) ?? floatReason(node)
    case .convolution, .pool, .poolGradient: return spatialReason(node) ?? floatReason(node)
    case .reduce, .argReduce, .gather, .select, .gemm, .matmul, .binary, .cast, .identity, .concatenate, .split, .slice,
      .sliceGradient, .reshape, .transpose, .expand:
      return nil
    case .pad(let pad), .padGradient(let pad, _):
      if case .constant = pad.mode { return nil }
      return floatReason(node)
    default: return floatReason(node)
    }
  }

  private func spatialReason(_ node: Node) -> String? {
    let rank = shape(node.inputs[0]).rank - 2
    return rank > 3 ? "\(rank) spatial axes are more than 3" : nil
  }

  private func floatReason(_ node: Node) -> String? {
    let type = type(node.inputs[0]).elementType
    return type.isFloatingPoint ? nil : "it is not done on \(type.rawValue)"
  }
}

extension Operator {
  /// Whether f64 may be stored by the operator: nothing is computed in it.
  fileprivate var takesDoubles: Bool {
    switch self {
    case .cast, .identity, .concatenate, .split, .slice, .sliceGradient, .reshape, .transpose, .expand, .gather: true
    default: false
    }
  }
}
