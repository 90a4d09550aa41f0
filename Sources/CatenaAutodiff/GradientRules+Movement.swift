import CatenaGraph
import CatenaTensors

// Operators that only move data: their derivative moves it back and adds what was copied.
extension GradientRules {
  func movement(_ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> [ValueID?] {
    let data = site.node.inputs[0]
    let shape = graph.shape(data)
    switch site.operation {
    case .concatenate(let axis): return try concatenationGradients(axis: axis, site, in: &graph)
    case .split(let axis, _): return [try splitGradient(axis: axis, site, in: &graph)]
    case .slice(let slice): return [try graph.add(.sliceGradient(slice, inputShape: shape), site.cotangent)]
    case .sliceGradient(let slice, _): return [try graph.add(.slice(slice), site.cotangent)]
    case .pad(let pad): return [try graph.add(.padGradient(pad, inputShape: shape), site.cotangent)]
    case .padGradient(var pad, _):
      if case .constant = pad.mode { pad.mode = .constant(0) }
      return [try graph.add(.pad(pad), site.cotangent)]
    case .reshape: return [try graph.reshaped(site.cotangent, to: shape)]
    case .transpose(let permutation):
      var inverse = permutation
      for (output, input) in permutation.enumerated() { inverse[input] = output }
      return [try graph.add(.transpose(permutation: inverse), site.cotangent)]
    case .expand: return [try graph.summed(site.cotangent, to: shape)]
    case .gather(let axis):
      let gradient = try graph.add(
        .gatherGradient(axis: axis, inputShape: shape), site.cotangent, site.node.inputs[1])
      return [gradient, nil]
    case .gatherGradient(let axis, _):
      return [try graph.add(.gather(axis: axis), site.cotangent, site.node.inputs[1]), nil]
    case .resize(let resize): return [try graph.add(.resizeGradient(resize, inputShape: shape), site.cotangent)]
    case .resizeGradient(let resize, _): return [try graph.add(.resize(resize), site.cotangent)]
    default: preconditionFailure("\(site.operation.name) moves no data")
    }
  }

  private func concatenationGradients(
    axis: Int, _ site: DerivativeSite, in graph: inout Graph
  ) throws(GraphError) -> [ValueID?] {
    let whole = graph.shape(site.cotangent)
    var start = 0
    var result: [ValueID?] = []
    for (input, wanted) in zip(site.node.inputs, site.wanted) {
      let extent = graph.shape(input)[axis]
      result.append(
        wanted ? try graph.add(.slice(Slice(start..<start + extent, axis: axis, of: whole)), site.cotangent) : nil)
      start += extent
    }
    return result
  }

  private func splitGradient(axis: Int, _ site: DerivativeSite, in graph: inout Graph) throws(GraphError) -> ValueID {
    let parts = zip(site.node.outputs, site.incoming).map { output, incoming in
      incoming ?? graph.addFilled(0, graph.type(output), name: "\(graph[output].name)/gradient")
    }
    return try graph.add(.concatenate(axis: axis), inputs: parts)[0]
  }
}
