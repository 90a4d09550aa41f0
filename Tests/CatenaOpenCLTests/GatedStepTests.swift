import CatenaCompute
import CatenaFormats
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

import CatenaOpenCL

/// How far sums of some thousand terms in f32 may be from the reference's, relative to the largest magnitude.
private let stepTolerance = 1e-4

@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct GatedStepTests {
  @Test(arguments: [1, 3])
  func logitsLossAndGradientsAgreeWithTheReference(regions: Int) async throws {
    let step = try GatedStep(regions: regions, optimizes: false)
    let found = try await step.run(on: DeviceUnderTest.backend, steps: 1)
    let expected = try await step.run(on: ReferenceBackend(), steps: 1)
    for output in step.program.graph.outputs {
      let difference = difference(
        try await found.read(output), try await expected.read(output), tolerance: stepTolerance)
      #expect(difference == nil, "\(step.program.graph[output].name): \(difference ?? "")")
    }
  }

  @Test func optimizerStepsAgreeWithTheReference() async throws {
    let step = try GatedStep()
    let found = try await step.run(on: DeviceUnderTest.backend, steps: 2)
    let expected = try await step.run(on: ReferenceBackend(), steps: 2)
    for value in step.carried {
      let difference = difference(
        try await found.read(value), try await expected.read(value), tolerance: stepTolerance)
      #expect(difference == nil, "\(step.program.graph[value].name): \(difference ?? "")")
    }
  }

  @Test func threeRegionsEqualThreeRuns() async throws {
    let together = try GatedStep(regions: 3)
    let all = try await together.run(on: DeviceUnderTest.backend, steps: 3)
    for region in 0..<3 {
      let alone = try GatedStep(part: region)
      let one = try await alone.run(on: DeviceUnderTest.backend, steps: 3)
      for (value, joint) in zip(alone.carried, together.carried) where alone.program.graph.shape(value).rank == 2 {
        let tensor = try await all.read(joint)
        let width = tensor.shape[1]
        let row = Tensor(Array(tensor.floats[region * width..<(region + 1) * width]), shape: [1, width])
        let difference = difference(row, try await one.read(value), tolerance: 1e-5)
        #expect(difference == nil, "region \(region): \(difference ?? "")")
      }
    }
  }

  @Test func equalRunsGiveEqualBits() async throws {
    let step = try GatedStep(regions: 3)
    let first = try await step.run(on: DeviceUnderTest.backend, steps: 3)
    let second = try await step.run(on: DeviceUnderTest.backend, steps: 3)
    for value in step.program.graph.outputs + step.carried {
      #expect(try await first.read(value).isBitIdentical(to: second.read(value)))
    }
  }

  @Test func chainsAreFused() async throws {
    let step = try GatedStep(optimizes: false)
    let executable = try await DeviceUnderTest.backend.executable(step.program, options: CompileOptions())
    let counts = Dictionary(executable.kernels.map { ($0, 1) }, uniquingKeysWith: +)
    // Forward 7 convolutions; backward 6, since the image needs no gradient.
    #expect(counts["convolution"] == 13)
    // Between convolutions only what waits for a sum of two gradients is left.
    #expect(counts["pointwise", default: 0] <= 18, "\(counts)")
    #expect(executable.layoutConversions == 0)
  }
}

private let resnet20 = Assets.asset("models/cifar10_resnet20.onnx")

@Suite(
  .enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")),
  .enabled(if: resnet20.isPresent, Comment(rawValue: resnet20.reason)))
struct CIFARResNet20Tests {
  @Test func aGatedStepAgreesWithTheReference() async throws {
    let url = try #require(resnet20.url)
    let network = try ONNXModel(contentsOf: url.path).graph(batch: 1)
    let step = try GatedStep(network: network, optimizes: false)
    let found = try await step.run(on: DeviceUnderTest.backend, steps: 1)
    let expected = try await step.run(on: ReferenceBackend(), steps: 1)
    for output in step.program.graph.outputs {
      let difference = difference(
        try await found.read(output), try await expected.read(output), tolerance: stepTolerance)
      #expect(difference == nil, "\(step.program.graph[output].name): \(difference ?? "")")
    }
  }
}
