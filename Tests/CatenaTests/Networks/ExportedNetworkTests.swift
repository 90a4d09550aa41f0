import Catena
import TestSupport
import Testing

@Suite("Networks exported by PyTorch", .serialized)
struct ExportedNetworkTests {
  @Test("twelve networks from both exporters")
  func areThere() throws {
    let networks = try ExportedNetwork.found.get()
    #expect(Set(networks.map(\.name)).count == 12)
    #expect(networks.count == 24)
  }

  @Test("logits and input gradients are PyTorch's", arguments: ExportedNetwork.all)
  func logitsAndGradients(_ network: ExportedNetwork) async throws {
    let input = try network.tensor("input")
    var graph = try network.model().graph(batch: input.shape[0])
    let (images, logits) = (graph.inputs[0], graph.outputs[0])
    let cotangent = graph.addInput("cotangent", graph.type(logits))
    let derivative = try graph.differentiating(
      [DerivativeTarget(logits, cotangent: cotangent)], withRespectTo: [images])
    let gradient = try #require(derivative.gradients[images])
    for backend in [try Run.processor(), ReferenceBackend()] {
      let found = try await Run.values(
        [logits, gradient], of: derivative.graph, [images: input, cotangent: try network.tensor("cotangent")],
        on: backend)
      let comparison = LogitComparison(found[0], try network.tensor("logits"))
      let error = found[1].relativeError(to: try network.tensor("gradient"))
      Measured.report("\(network.file), \(backend.device.backend): \(comparison); gradient's relative error \(error)")
      #expect(comparison.difference <= logitTolerance && comparison.differentClasses.isEmpty)
      #expect(error <= 1e-4)
    }
  }

  @Test("both exporters' files have the same units and branches")
  func units() throws {
    for (name, networks) in Dictionary(grouping: ExportedNetwork.all, by: \.name) {
      let sites = try networks.map { network in
        try network.model().graph(batch: network.tensor("input").shape[0]).gateSites()
      }
      Measured.report("\(name): \(sites[0].layers.map(\.count)) units, \(sites[0].blocks.count) blocks")
      for found in sites {
        #expect(found.layers.map(\.count) == sites[0].layers.map(\.count), "\(name)")
        #expect(found.layers.map(\.block) == sites[0].layers.map(\.block), "\(name)")
        #expect(found.unitCount > 0, "\(name)")
      }
    }
  }

  @Test("gated, zeroed and sliced networks agree", arguments: ExportedNetwork.all)
  func slices(_ network: ExportedNetwork) async throws {
    let input = try network.tensor("input")
    let graph = try network.model().graph(batch: input.shape[0])
    let sites = graph.gateSites()
    let gated = try await GatedNetwork(graph, sites, input: input)
    for choice in UnitMask.Choice.allCases {
      let mask = UnitMask(sites, choice, seed: 7)
      let expected = try await gated.logits(mask)
      let variants = [
        "zeroed": try graph.zeroing(mask.deadChannels, values: mask.deadBranches),
        "sliced": try graph.sliced(mask.deadChannels, values: mask.deadBranches).graph,
      ]
      for (label, variant) in variants {
        let found = try await Run.values(
          [variant.outputs[0]], of: variant, [variant.inputs[0]: input], on: Run.processor())
        let comparison = LogitComparison(found[0], expected)
        Measured.report("\(network.file), \(choice), \(label) and gated: \(comparison)")
        #expect(comparison.difference <= logitTolerance, "\(choice), \(label)")
      }
    }
  }

  @Test(
    "sliced networks run in onnxruntime", .enabled(if: Peer.availability.isPresent, "\(Peer.availability.reason)"))
  func written() async throws {
    let folder = try TemporaryFolder()
    var jobs: [Peer.ONNXJob] = []
    var expected: [Tensor] = []
    for network in ExportedNetwork.all {
      let model = try network.model()
      let input = try network.tensor("input")
      let graph = try model.graph(batch: input.shape[0])
      let sites = graph.gateSites()
      let gated = try await GatedNetwork(graph, sites, input: input)
      let inputFile = try folder.write(input, "input\(jobs.count)")
      for choice in UnitMask.Choice.allCases {
        let mask = UnitMask(sites, choice, seed: 7)
        let sliced = try graph.sliced(mask.deadChannels, values: mask.deadBranches).graph
        let file = folder.file("model\(jobs.count).onnx")
        do {
          try model.sliced(to: sliced, from: graph).write(to: file)
        } catch {
          Issue.record(error, "\(network.file), \(choice)")
          continue
        }
        expected.append(try await gated.logits(mask))
        jobs.append(.init(model: file, input: inputFile, output: "output\(jobs.count)"))
      }
    }
    let found = try await Peer.onnxruntime(jobs, in: folder, checking: true)
    for (index, found) in found.enumerated() {
      let comparison = LogitComparison(found, expected[index])
      #expect(comparison.difference <= logitTolerance, "\(jobs[index].model)")
    }
  }
}
