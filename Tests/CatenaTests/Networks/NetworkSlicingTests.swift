import Catena
import TestSupport
import Testing

@Suite(
  "Real networks, sliced", .serialized,
  .enabled(if: AssetNetwork.availability.isPresent, "\(AssetNetwork.availability.reason)"),
  .enabled(if: Peer.availability.isPresent, "\(Peer.availability.reason)"))
struct NetworkSlicingTests {
  /// A sliced model, and the logits that it is to have.
  private struct Slice {
    let label: String
    let expected: Tensor
    let job: Peer.ONNXJob
  }

  @Test("sliced, gated and written networks agree", arguments: AssetNetwork.convolutional)
  func agrees(_ network: AssetNetwork) async throws {
    let isLarge = network.images == .imageNet
    let model = try network.model()
    let input = try network.input(limit: isLarge ? 2 : 8).tensor
    let graph = try model.graph(batch: input.shape[0])
    let sites = graph.gateSites()
    let gated = try await GatedNetwork(graph, sites, input: input)
    let folder = try TemporaryFolder()
    let inputFile = try folder.write(input, "input")
    var slices: [Slice] = []
    for choice in UnitMask.Choice.allCases {
      for seed in isLarge ? [1] : [1, 2, 3] {
        let mask = UnitMask(sites, choice, seed: UInt64(seed))
        let expected = try await gated.logits(mask)
        let sliced = try graph.sliced(mask.deadChannels, values: mask.deadBranches).graph
        let label = "\(network.name), \(choice) \(seed)"
        let found = try await Run.values(
          [sliced.outputs[0]], of: sliced, [sliced.inputs[0]: input], on: Run.processor())
        let comparison = LogitComparison(found[0], expected)
        #expect(comparison.difference <= logitTolerance, "\(label), sliced and gated")
        let parameters = Double(sliced.parameterCount) / Double(graph.parameterCount)
        let work = Double(sliced.multiplyAddCount) / Double(graph.multiplyAddCount)
        #expect(parameters < 0.8 && work < 0.8, "\(label): it shrinks")
        Measured.report("\(label): sliced and gated \(comparison); parameters \(parameters), work \(work)")
        let file = folder.file("\(choice)\(seed).onnx")
        try model.sliced(to: sliced, from: graph).write(to: file)
        slices.append(
          Slice(label: label, expected: expected, job: .init(model: file, input: inputFile, output: "\(choice)\(seed)"))
        )
      }
    }
    let found = try await Peer.onnxruntime(slices.map(\.job), in: folder, checking: true)
    for (slice, found) in zip(slices, found) {
      let comparison = LogitComparison(found, slice.expected)
      #expect(comparison.difference <= logitTolerance, "\(slice.label), in onnxruntime")
      Measured.report("\(slice.label): onnxruntime and gated \(comparison)")
    }
  }
}
