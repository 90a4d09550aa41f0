import CatenaGraph
import CatenaTensors

/// Where a value has its samples: along an axis, whose elements are `outer` runs, each with as many elements of every
/// sample, in order.
private struct SamplePlace: Hashable {
  var axis: Int
  var outer = 1
}

extension Graph {
  /// The active values whose first axis runs over the samples (each sample a whole number of rows, in order).
  func valuesWithSamplesFirst(active: ValueSet) -> ValueSet {
    ValueSet(samplePlaces(active: active).filter { $0.value.contains(SamplePlace(axis: 0)) }.keys)
  }

  /// Where the active values have their samples, as far as that is one axis. Attention moves it: the queries, keys and
  /// values that one product makes are told apart by an axis in front of it, and tokens may come before samples. Where the
  /// batch is 1 a reshape leaves several axes that may be it; what comes later tells.
  private func samplePlaces(active: ValueSet) -> ValueMap<[SamplePlace]> {
    guard let first = inputs.first, shape(first).rank > 0 else { return [:] }
    let batch = shape(first)[0]
    guard batch > 0 else { return [:] }
    var places: ValueMap<[SamplePlace]> = [:]
    for input in inputs where shape(input).rank > 0 && shape(input)[0] == batch {
      places[input] = [SamplePlace(axis: 0)]
    }
    for node in nodes {
      let operands = node.inputs.filter(active.contains)
      guard let first = operands.first.flatMap({ places[$0] }) else { continue }
      var results: [SamplePlace] = []
      for place in first where operands.allSatisfy({ places[$0]?.contains(place) ?? false }) {
        let found = samplePlaces(after: node, operands: operands, place, batch: batch)
        results += found.filter { !results.contains($0) }
      }
      guard !results.isEmpty else { continue }
      for output in node.outputs { places[output] = results }
    }
    return places
  }

  /// Where a node may put the samples of those of its operands that depend on inputs; nowhere where it mixes them or
  /// divides them up.
  private func samplePlaces(
    after node: Node, operands: [ValueID], _ place: SamplePlace, batch: Int
  ) -> [SamplePlace] {
    if case .reshape = node.operation { return reshapedPlaces(node, place, batch: batch) }
    return sampleAxis(after: node, operands: operands, place).map { [SamplePlace(axis: $0, outer: place.outer)] } ?? []
  }

  private func reshapedPlaces(_ node: Node, _ place: SamplePlace, batch: Int) -> [SamplePlace] {
    let result = shape(node.outputs[0])
    let before = shape(node.inputs[0]).count(of: 0..<place.axis) * place.outer
    return result.dimensions.indices.compactMap { axis in
      let outside = result.count(of: 0..<axis)
      guard outside > 0, before % outside == 0 else { return nil }
      let outer = before / outside
      return result[axis] > 0 && result[axis] % (outer * batch) == 0 ? SamplePlace(axis: axis, outer: outer) : nil
    }
  }

  private func sampleAxis(after node: Node, operands: [ValueID], _ place: SamplePlace) -> Int? {
    let (axis, data, result) = (place.axis, shape(operands[0]), shape(node.outputs[0]))
    let isFirstAlone = operands == [node.inputs[0]]
    switch node.operation {
    case .transpose(let permutation): return permutation.firstIndex(of: axis)
    case .reduce(let reduce):
      guard !reduce.axes.contains(axis) else { return nil }
      return reduce.keepsDimensions ? axis : axis - reduce.axes.count { $0 < axis }
    case .argReduce(let reduce):
      guard reduce.axis != axis else { return nil }
      return reduce.keepsDimensions || reduce.axis > axis ? axis : axis - 1
    case .softmax(let axes), .logSoftmax(let axes): return axes.contains(axis) ? nil : axis
    case .concatenate(let joined): return joined == axis ? nil : axis
    case .split(let divided, _): return divided == axis ? nil : axis
    case .gather(let gathered):
      guard gathered != axis, isFirstAlone else { return nil }
      return gathered > axis ? axis : axis + result.rank - data.rank
    case .slice(let slice): return slice.steps[axis] > 0 && result[axis] == data[axis] ? axis : nil
    case .pad(let pad): return pad.begins[axis] == 0 && pad.ends[axis] == 0 ? axis : nil
    case .gemm(let gemm): return isFirstAlone && !gemm.transposeA && axis == 0 ? 0 : nil
    case .matmul:
      guard operands.contains(node.inputs[0]), operands.allSatisfy({ shape($0).rank == result.rank }) else {
        return nil
      }
      return axis < result.rank - (operands.count == 1 ? 1 : 2) ? axis : nil
    case .expand, .resize, .binary, .select:
      let isKept = operands.allSatisfy { shape($0).rank == result.rank && shape($0)[axis] == result[axis] }
      return isKept ? axis : nil
    case .unary, .cast, .identity: return axis
    default: return place == SamplePlace(axis: 0) && result.rank > 0 ? 0 : nil
    }
  }
}
