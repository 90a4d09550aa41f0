import CatenaCompute

/// Where every buffer of a plan lies.
struct MemoryAssignment {
  enum Region { case constants, persistent, intermediates }
  /// Region and offset of each buffer.
  var places: [(region: Region, offset: Int)]
  var bytes: MemoryPlan
}

extension Plan {
  /// Gives every buffer its place. Intermediate buffers share one arena: two may overlap when no step needs both; a
  /// step's result takes its operand's place where the step allows it and nobody reads the operand later.
  func assignMemory() -> MemoryAssignment {
    let lifetimes = intermediateLifetimes()
    let owners = takeovers(lifetimes)
    var places: [(region: MemoryAssignment.Region, offset: Int)] = []
    var (constants, persistent) = (0, 0)
    for (index, buffer) in buffers.enumerated() {
      guard aliases[BufferID(index: index)] == nil else {
        places.append((.persistent, 0))
        continue
      }
      switch buffer.kind {
      case .constant:
        places.append((.constants, constants))
        constants += aligned(buffer.bytes)
      case .persistent:
        places.append((.persistent, persistent))
        persistent += aligned(buffer.bytes)
      case .intermediate: places.append((.intermediates, 0))
      }
    }
    for (alias, target) in aliases { places[alias.index] = places[target.index] }
    let intermediates = packIntermediates(owners, lifetimes, &places)
    let scratch = aligned(steps.map(\.scratch).max() ?? 0)
    return MemoryAssignment(
      places: places,
      bytes: MemoryPlan(
        constants: constants, persistent: persistent, intermediates: intermediates, scratch: scratch))
  }

  private func isIntermediate(_ buffer: Int) -> Bool {
    guard aliases[BufferID(index: buffer)] == nil, case .intermediate = buffers[buffer].kind else { return false }
    return true
  }

  /// First and last step that touch each intermediate buffer.
  private func intermediateLifetimes() -> [ClosedRange<Int>?] {
    var lifetimes = [ClosedRange<Int>?](repeating: nil, count: buffers.count)
    for (index, step) in steps.enumerated() {
      for buffer in step.reads + step.writes where isIntermediate(buffer.index) {
        let first = lifetimes[buffer.index]?.lowerBound ?? index
        lifetimes[buffer.index] = first...index
      }
    }
    return lifetimes
  }

  /// The buffer whose memory each buffer uses: its own, or that of an operand that dies where it is made.
  private func takeovers(_ lifetimes: [ClosedRange<Int>?]) -> [Int] {
    var owners = Array(buffers.indices)
    var taken = Set<Int>()
    for (index, step) in steps.enumerated() {
      for takeover in step.takeovers {
        let (output, input) = (takeover.output.index, takeover.input.index)
        guard isIntermediate(output), isIntermediate(input), !taken.contains(input),
          owners[output] == output, lifetimes[input]?.upperBound == index, lifetimes[output]?.lowerBound == index,
          buffers[output].bytes == buffers[input].bytes
        else { continue }
        owners[output] = owners[input]
        taken.insert(input)
      }
    }
    return owners
  }

  /// Places the buffers that own memory, each for as long as one of those that use it lives.
  private func packIntermediates(
    _ owners: [Int], _ lifetimes: [ClosedRange<Int>?], _ places: inout [(region: MemoryAssignment.Region, offset: Int)]
  ) -> Int {
    var spans: [Int: ClosedRange<Int>] = [:]
    for buffer in buffers.indices {
      guard let lifetime = lifetimes[buffer] else { continue }
      let span = spans[owners[buffer]] ?? lifetime
      spans[owners[buffer]] =
        min(span.lowerBound, lifetime.lowerBound)...max(span.upperBound, lifetime.upperBound)
    }
    let order = spans.keys.sorted()
    let requests = order.map { ArenaPlan.Request(byteCount: buffers[$0].bytes, lifetime: spans[$0] ?? 0...0) }
    let arena = ArenaPlan(requests, alignment: cacheLine)
    for (owner, placement) in zip(order, arena.placements) { places[owner].offset = placement.offset }
    for (buffer, owner) in owners.enumerated() where owner != buffer { places[buffer].offset = places[owner].offset }
    return aligned(arena.byteCount)
  }
}

private let cacheLine = 64

/// Rounded up to whole cache lines; at least one.
private func aligned(_ bytes: Int) -> Int { max(cacheLine, (bytes + cacheLine - 1) / cacheLine * cacheLine) }
