import CatenaTensors

extension AxisRules {
  /// The rules of operators that only move data. `indices` are a gather's, when they are constant.
  mutating func movement(_ operation: Operator, indices: Tensor?) {
    switch operation {
    case .concatenate(let axis): concatenate(axis: axis)
    case .split(let axis, let sizes): split(axis: axis, sizes: sizes)
    case .slice(let slice): self.slice(slice)
    case .pad(let pad): self.pad(pad)
    case .reshape: reshape()
    case .transpose(let permutation):
      for (axis, source) in permutation.enumerated() { link(.input(0, source), .output(axis)) }
    case .expand: linkBroadcast(input: 0)
    case .gather(let axis): gather(axis: axis, indices: indices)
    case .resize(let resize):
      for axis in 0..<inputs[0].rank {
        if resize.sizes[axis] == inputs[0].dimensions[axis] && resize.scales[axis] == 1 {
          link(.input(0, axis), .output(axis))
        } else {
          pin(.input(0, axis), .resize)
          pin(.output(axis), .resize)
        }
      }
    default: preconditionFailure("\(operation.name) moves no data")
    }
  }

  private mutating func concatenate(axis: Int) {
    var offset = 0
    for input in inputs.indices {
      for other in 0..<inputs[input].rank where other != axis { link(.input(input, other), .output(other)) }
      let extent = inputs[input].dimensions[axis]
      link(.output(axis), .input(input, axis), .window(extent, offset: offset, of: outputs[0].dimensions[axis]))
      offset += extent
    }
  }

  private mutating func split(axis: Int, sizes: [Int]) {
    var offset = 0
    for (output, size) in sizes.enumerated() {
      for other in 0..<inputs[0].rank where other != axis { link(.input(0, other), .output(other, of: output)) }
      link(
        .input(0, axis), .output(axis, of: output), .window(size, offset: offset, of: inputs[0].dimensions[axis]))
      offset += size
    }
  }

  private mutating func slice(_ slice: Slice) {
    for axis in 0..<inputs[0].rank {
      if slice.steps[axis] == 1 {
        let map = ChannelMap.window(
          slice.sizes[axis], offset: slice.starts[axis], of: inputs[0].dimensions[axis])
        link(.input(0, axis), .output(axis), map)
      } else {
        pin(.input(0, axis), .stridedSlice)
        pin(.output(axis), .stridedSlice)
      }
    }
  }

  private mutating func pad(_ pad: Pad) {
    for axis in 0..<inputs[0].rank {
      let isPadded = pad.begins[axis] != 0 || pad.ends[axis] != 0
      if case .constant = pad.mode {
        let map = ChannelMap.window(
          outputs[0].dimensions[axis], offset: -pad.begins[axis], of: inputs[0].dimensions[axis])
        link(.input(0, axis), .output(axis), map)
      } else if isPadded {
        pin(.input(0, axis), .padding)
        pin(.output(axis), .padding)
      } else {
        link(.input(0, axis), .output(axis))
      }
    }
  }

  /// Axes are grouped so that the products agree. An axis that stays alone is linked; where several are merged or one is
  /// split, indices follow from each other.
  private mutating func reshape() {
    for axis in 0..<inputs[0].rank where inputs[0].dimensions[axis] == 1 { pin(.input(0, axis), .reshape) }
    for axis in 0..<outputs[0].rank where outputs[0].dimensions[axis] == 1 { pin(.output(axis), .reshape) }
    guard inputs[0].elementCount > 0 else { return pinEverything(.reshape) }
    for (sources, results) in reshapeGroups(inputs[0], outputs[0]) {
      if sources.count == 1, results.count == 1 {
        link(.input(0, sources[0]), .output(results[0]))
      } else if sources.count == 1 {
        merge(.input(0, sources[0]), from: results.map { .output($0) })
      } else if results.count == 1 {
        merge(.output(results[0]), from: sources.map { .input(0, $0) })
      } else {
        for axis in sources { pin(.input(0, axis), .reshape) }
        for axis in results { pin(.output(axis), .reshape) }
      }
    }
  }

  private mutating func gather(axis: Int, indices: Tensor?) {
    let rank = inputs[1].rank
    for other in 0..<inputs[0].rank where other != axis {
      link(.input(0, other), .output(other < axis ? other : other + rank - 1))
    }
    let extent = inputs[0].dimensions[axis]
    guard let indices, rank <= 1 else {
      pin(.input(0, axis), .gather)
      for other in 0..<rank {
        pin(.input(1, other), .gather)
        pin(.output(axis + other), .gather)
      }
      return
    }
    let picked = indices.integers.map { $0 < 0 ? $0 + extent : $0 }
    guard picked.allSatisfy((0..<extent).contains) else { return pinEverything(.gather) }
    if rank == 0 {
      pin(.input(0, axis), index: picked[0], .gather)
    } else {
      link(.input(0, axis), .output(axis), .selection(picked, of: extent))
      link(.input(1, 0), .output(axis))
    }
  }
}

/// The smallest runs of axes (without those of extent 1) with equal products on both sides of a reshape.
func reshapeGroups(_ input: Shape, _ output: Shape) -> [(sources: [Int], results: [Int])] {
  let sources = (0..<input.rank).filter { input.dimensions[$0] != 1 }
  let results = (0..<output.rank).filter { output.dimensions[$0] != 1 }
  var groups: [(sources: [Int], results: [Int])] = []
  var (source, result) = (0, 0)
  while source < sources.count, result < results.count {
    var group = (sources: [sources[source]], results: [results[result]])
    var (left, right) = (input.dimensions[sources[source]], output.dimensions[results[result]])
    source += 1
    result += 1
    while left != right {
      if left < right {
        left *= input.dimensions[sources[source]]
        group.sources.append(sources[source])
        source += 1
      } else {
        right *= output.dimensions[results[result]]
        group.results.append(results[result])
        result += 1
      }
    }
    groups.append(group)
  }
  return groups
}
