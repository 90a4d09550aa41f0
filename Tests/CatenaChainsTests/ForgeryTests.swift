import CatenaChains
import CatenaFormats
import TestSupport
import Testing

/// One chain that all tests tamper with copies of.
private let chain = Task {
  try await ChainFolder(
    GoldenNetwork.paddedShortcut.model(), GoldenNetwork.paddedShortcut.region(4), request: .keep(fraction: 0.6),
    settings: .short())
}

@Suite("Verification")
struct ForgeryTests {
  static let files = [
    ChainFile.network, ChainFile.softNetwork, ChainFile.scores, ChainFile.region, ChainFile.curve, ChainFile.picture,
    ChainFile.manifest,
    ChainFile.sums,
  ]

  @Test("an untouched copy passes")
  func untouched() async throws {
    let verification = try await chain.value.copy().verify()
    #expect(verification.constants > 0)
    #expect(verification.samples == 4)
  }

  @Test("one changed byte in any file is found", arguments: files)
  func changedByte(file: String) async throws {
    let original = try await chain.value.bytes(of: file)
    let positions = [0, 1, original.count / 3, original.count / 2, original.count - 2, original.count - 1]
    for position in positions {
      let copy = try await chain.value.copy()
      var bytes = original
      bytes[position] ^= 1
      try copy.write(bytes, to: file)
      await #expect(throws: (any Error).self, "byte \(position) of \(file)") { try await copy.verify() }
    }
  }

  @Test("a file that was cut short, or is gone, is found", arguments: files)
  func truncated(file: String) async throws {
    let copy = try await chain.value.copy()
    try copy.write(Array(copy.bytes(of: file).dropLast(2)), to: file)
    await #expect(throws: (any Error).self) { try await copy.verify() }
    try copy.write([], to: file)
    await #expect(throws: (any Error).self) { try await copy.verify() }
  }

  @Test("a changed weight is found although the sums fit")
  func weights() async throws {
    let copy = try await chain.value.copy()
    try copy.editWeights { $0[0] = $0[0].nextUp }
    await expectFinding("is not what the source and the manifest say", in: copy)
  }

  @Test("a changed list of kept units is found although the sums fit")
  func keptUnits() async throws {
    for change in [Change.removed, .added, .swapped] {
      let copy = try await chain.value.copy()
      try copy.editManifest { manifest in
        for index in manifest.layers.indices { if change.apply(to: &manifest.layers[index]) { return } }
        throw Missing(name: "\(change)")
      }
      await expectFinding("is not the network that its manifest describes", in: copy)
    }
  }

  private enum Change {
    case removed, added, swapped

    /// Changes a layer whose units can be changed this way.
    func apply(to layer: inout ChainManifest.Layer) -> Bool {
      let dropped = (0..<layer.count).filter { !layer.kept.contains($0) }
      switch self {
      case .removed:
        guard layer.kept.count > 1 else { return false }
        layer.kept.removeLast()
      case .added:
        guard !layer.kept.isEmpty, let unit = dropped.first else { return false }
        layer.kept = (layer.kept + [unit]).sorted()
      case .swapped:
        guard !layer.kept.isEmpty, let unit = dropped.first else { return false }
        layer.kept = (layer.kept.dropLast() + [unit]).sorted()
      }
      return true
    }
  }

  /// What a manifest may state falsely, with what verification says.
  enum Claim: String, CaseIterable, Sendable {
    case agreement, divergence, softDivergence, met, units, parameters, uncut, constant, block, curve, samples

    var finding: String {
      switch self {
      case .agreement, .divergence: "the fidelity that the manifest states"
      case .softDivergence: "the soft mode's fidelity"
      case .met: "whether the request is met"
      case .units, .parameters: "'size' is not what"
      case .uncut: "'uncut' is not what"
      case .constant: "'constants' is not what"
      case .block: "residual branches"
      case .curve: "curve"
      case .samples: "samples that the manifest lists"
      }
    }

    func apply(to manifest: inout ChainManifest) {
      switch self {
      case .agreement: manifest.fidelity.binary.agreement = manifest.fidelity.binary.agreement == 1 ? 0.5 : 1
      case .divergence: manifest.fidelity.binary.divergence *= 0.99
      case .softDivergence: manifest.fidelity.soft.divergence += 0.1
      case .met: manifest.met.toggle()
      case .units: manifest.size.units.kept -= 1
      case .parameters: manifest.size.parameters.kept -= 1
      case .uncut: manifest.uncut.removeLast()
      case .constant: manifest.constants.removeLast()
      case .block: manifest.blocks[0].name += "x"
      case .curve:
        let kept = manifest.size.units.kept
        manifest.curve.removeAll { $0.keptUnits == kept }
      case .samples: manifest.region.samples.removeLast()
      }
    }
  }

  @Test("a false statement in the manifest is found although the sums fit", arguments: Claim.allCases)
  func claims(claim: Claim) async throws {
    let copy = try await chain.value.copy()
    try copy.editManifest { claim.apply(to: &$0) }
    await expectFinding(claim.finding, in: copy)
  }

  @Test("records of constants that do not fit are findings, not crashes")
  func hostileRecords() async throws {
    let edits: [@Sendable (inout ChainManifest.Constant) -> Void] = [
      { $0.kept = Array(repeating: [Int.max], count: $0.kept.count) }, { $0.kept = [] },
      { $0.kept[0] = [0, 0, 0] }, { $0.keptByGroup = [] }, { $0.keptByGroup = [[0], []] },
      { $0.keptByGroup = [[0], [0], [0], [0], [0]] }, { $0.zeros[0] = [-1] }, { $0.renumbered = [1] },
      { $0.zeros = [] },
    ]
    for edit in edits {
      let copy = try await chain.value.copy()
      try copy.editManifest { manifest in
        for index in manifest.constants.indices where !manifest.constants[index].kept.isEmpty {
          edit(&manifest.constants[index])
        }
      }
      await expectFinding("", in: copy)
    }
  }

  @Test("a manifest without samples is a finding")
  func noSamples() async throws {
    let copy = try await chain.value.copy()
    try copy.editManifest { $0.region.samples = [] }
    await expectFinding("samples that the manifest lists", in: copy)
  }

  @Test("changed samples, logits and factors are found although the sums fit")
  func tensors() async throws {
    let changes = [
      ("samples", ChainFile.region, "differ from the recorded ones"),
      ("dense_logits", ChainFile.region, "the dense network's logits differ from the recorded ones"),
      ("chain_logits", ChainFile.region, "the chain's logits differ from the recorded ones"),
    ]
    for (name, file, finding) in changes {
      let copy = try await chain.value.copy()
      try copy.editTensor(name, of: file) { floats in for index in floats.indices { floats[index] += 0.5 } }
      await expectFinding(finding, in: copy)
    }
    let scores = try await Safetensors.read("\(chain.value.path)/\(ChainFile.scores)").tensors
    let name = try #require(scores.first { $0.tensor.floats.contains { $0 > 0 } }?.name)
    let halved = try await chain.value.copy()
    try halved.editTensor(name, of: ChainFile.scores) { floats in for index in floats.indices { floats[index] /= 2 } }
    await expectFinding("is not what scores.safetensors says", in: halved)
    // A kept unit may have the factor 0, which the soft network must then multiply by.
    let unfit = "are not those of the kept units"
    for (factor, finding) in [(Float(0), "is not what scores.safetensors says"), (2, unfit), (.nan, unfit)] {
      let copy = try await chain.value.copy()
      try copy.editTensor(name, of: ChainFile.scores) { floats in
        for index in floats.indices where floats[index] > 0 { floats[index] = factor }
      }
      await expectFinding(finding, in: copy)
    }
  }

  @Test("a chain of another network is refused, naming both")
  func otherNetwork() async throws {
    let copy = ForgedFolder(folder: try await chain.value.copy().folder, model: try GoldenNetwork.resnet.model())
    await expectFinding("the chain was made from 'network.onnx'", in: copy)
  }

  @Test("a newer major version of the format is refused")
  func newerVersion() async throws {
    let copy = try await chain.value.copy()
    try copy.editManifest { $0.formatVersion = "2.0" }
    await expectFinding("use a newer one", in: copy)
  }

  @Test("sums that do not list a file, or list one outside the folder, are refused")
  func sums() async throws {
    for file in Self.files.dropLast() {
      let copy = try await chain.value.copy()
      let lines = String(decoding: try copy.bytes(of: ChainFile.sums), as: UTF8.self).split(separator: "\n")
      let rest = lines.filter { !$0.hasSuffix("  \(file)") }.map { "\($0)\n" }.joined()
      try copy.write(Array(rest.utf8), to: ChainFile.sums)
      await expectFinding("does not list \(file)", in: copy)
    }
    let copy = try await chain.value.copy()
    try copy.write(copy.bytes(of: ChainFile.sums) + Array("00  ../other\n".utf8), to: ChainFile.sums)
    await expectFinding("which is no file of a chain", in: copy)
  }

  private func expectFinding(
    _ text: String, in copy: ForgedFolder, sourceLocation: SourceLocation = #_sourceLocation
  ) async {
    do {
      _ = try await copy.verify()
      Issue.record("verification passed, where it should say '\(text)'", sourceLocation: sourceLocation)
    } catch let error as ChainError {
      guard case .verification(let findings) = error else {
        Issue.record("another error: \(error)", sourceLocation: sourceLocation)
        return
      }
      #expect(findings.contains { text.isEmpty || $0.contains(text) }, "\(findings)", sourceLocation: sourceLocation)
    } catch {
      Issue.record("another error: \(error)", sourceLocation: sourceLocation)
    }
  }
}
