import CatenaFormats
import CatenaGraph
import CatenaTensors

extension ChainVerifier {
  /// Makes every floating-point constant of a file again from the source's constants and the manifest, and with `scores`
  /// also the factors of the soft mode.
  /// - Parameter graph: The source network's, whose constants nodes of its file may make.
  func checkConstants(
    of chain: ONNXModel, in file: String, from graph: Graph, _ manifest: ChainManifest, scores: Safetensors? = nil
  ) throws(ChainError) -> ChainVerification {
    let named = graph.constants.map { (graph[$0.key].name, $0.value) }
    let sources = model.initializers.merging(named) { initializer, _ in initializer }
    let slices = Dictionary(manifest.constants.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let factors = Dictionary(manifest.factors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let softFactors = Dictionary(manifest.softFactors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    var findings: [String] = []
    var result = ChainVerification(constants: 0, elements: 0, structuralZeros: 0, samples: 0, largestDifference: 0)
    for (name, tensor) in chain.initializers.sorted(by: { $0.key < $1.key }) where tensor.elementType.isFloatingPoint {
      if let slice = slices[name], let source = sources[slice.source], let expected = slice.constant(from: source) {
        if !expected.isBitIdentical(to: tensor) {
          findings.append("'\(name)' is not what the source and the manifest say")
        }
        result.structuralZeros += slice.structuralZeroCount(in: source.shape)
      } else if let source = sources[name], slices[name] == nil {
        if !source.isBitIdentical(to: tensor) { findings.append("'\(name)' differs from the source network's") }
      } else if factors[name] != nil {
        if !tensor.floats.allSatisfy({ $0 == 0 || $0 == 1 }) { findings.append("the factor '\(name)' is not 0 or 1") }
      } else if let scores, let factor = softFactors[name] {
        if factor.constant(from: scores, like: tensor)?.isBitIdentical(to: tensor) != true {
          findings.append("the soft factor '\(name)' is not what \(ChainFile.scores) says")
        }
      } else {
        findings.append("'\(name)' comes from nowhere: neither the source nor the manifest has it")
      }
      result.constants += 1
      result.elements += tensor.elementCount
    }
    guard findings.isEmpty else { throw .verification(findings.map { "\(file): \($0)" }) }
    return result
  }
}

extension ChainManifest.SoftFactor {
  /// The factors, made from the stored scores in the form of `tensor`; `nil` when they do not fit it.
  fileprivate func constant(from scores: Safetensors, like tensor: Tensor) -> Tensor? {
    guard let all = scores[self.scores]?.floats, indices.allSatisfy(all.indices.contains),
      indices.count == tensor.elementCount
    else { return nil }
    return Tensor(doubles: indices.map { Double(all[$0]) }, shape: tensor.shape, elementType: tensor.elementType)
  }
}

extension ChainManifest.Constant {
  /// The constant, made from the source's; `nil` when the record does not fit it.
  func constant(from source: Tensor) -> Tensor? {
    guard kept.count == source.shape.rank, zeros.count == source.shape.rank else { return nil }
    for axis in 0..<source.shape.rank {
      guard (kept[axis] ?? []).isSelection(of: source.shape[axis]), zeros[axis].isSelection(of: source.shape[axis])
      else { return nil }
    }
    // Only index constants are renumbered, and no index is a float.
    guard renumbered == nil, fitsGroups(of: source.shape) else { return nil }
    let slice = ConstantSlice(
      original: ValueID(index: 0), kept: kept, keptByGroup: keptByGroup, zeros: zeros, renumbered: renumbered)
    return slice.applied(to: source)
  }

  /// Whether the kept filters fall into one equal run per kept group, with as many valid indices each.
  private func fitsGroups(of shape: Shape) -> Bool {
    guard let keptByGroup else { return true }
    guard shape.rank > 1, let first = keptByGroup.first, keptByGroup.allSatisfy({ $0.count == first.count }) else {
      return false
    }
    return (kept[0]?.count ?? shape[0]).isMultiple(of: keptByGroup.count)
      && keptByGroup.allSatisfy { $0.isSelection(of: shape[1]) }
  }

  /// Elements of the constant that are structural zeros.
  func structuralZeroCount(in shape: Shape) -> Int {
    var nonzero = 1
    var all = 1
    for axis in 0..<shape.rank {
      let indices = axis == 1 && keptByGroup != nil ? keptByGroup?.first ?? [] : kept[axis] ?? Array(0..<shape[axis])
      all *= indices.count
      nonzero *= indices.count { !zeros[axis].contains($0) }
    }
    return all - nonzero
  }
}

extension [Int] {
  /// Whether these are ascending indices below `extent`.
  fileprivate func isSelection(of extent: Int) -> Bool {
    allSatisfy((0..<extent).contains) && zip(self, dropFirst()).allSatisfy(<)
  }
}
