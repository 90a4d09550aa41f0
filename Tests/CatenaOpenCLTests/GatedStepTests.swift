import CatenaCompute
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

@testable import CatenaOpenCL

/// How far sums of some thousand terms in f32 may be from the reference's, relative to the largest magnitude.
private let stepTolerance = 1e-4

@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct GatedStepTests {
  @Test(arguments: [1, 3])
  func logitsLossAndGradientsAgreeWithTheReference(regions: Int) async throws {
    let step = try ResidualStep(regions: regions, optimizes: false)
    let found = try await step.run(on: DeviceUnderTest.backend, steps: 1)
    let expected = try await step.run(on: ReferenceBackend(), steps: 1)
    for output in step.program.graph.outputs {
      let difference = difference(
        try await found.read(output), try await expected.read(output), tolerance: stepTolerance)
      #expect(difference == nil, "\(step.program.graph[output].name): \(difference ?? "")")
    }
  }

  @Test func optimizerStepsAgreeWithTheReference() async throws {
    let step = try ResidualStep()
    let found = try await step.run(on: DeviceUnderTest.backend, steps: 2)
    let expected = try await step.run(on: ReferenceBackend(), steps: 2)
    for value in step.carried {
      let difference = difference(
        try await found.read(value), try await expected.read(value), tolerance: stepTolerance)
      #expect(difference == nil, "\(step.program.graph[value].name): \(difference ?? "")")
    }
  }

  @Test func threeRegionsEqualThreeRuns() async throws {
    let together = try ResidualStep(regions: 3)
    let all = try await together.run(on: DeviceUnderTest.backend, steps: 3)
    for region in 0..<3 {
      let alone = try ResidualStep(part: region)
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
    let step = try ResidualStep(regions: 3)
    let first = try await step.run(on: DeviceUnderTest.backend, steps: 3)
    let second = try await step.run(on: DeviceUnderTest.backend, steps: 3)
    for value in step.program.graph.outputs + step.carried {
      #expect(try await first.read(value).isBitIdentical(to: second.read(value)))
    }
  }

  @Test func chainsAreFused() async throws {
    let step = try ResidualStep(optimizes: false)
    let executable = try await DeviceUnderTest.backend.executable(step.program, options: CompileOptions())
    let counts = Dictionary(executable.kernels.map { ($0, 1) }, uniquingKeysWith: +)
    // Forward 7 convolutions; backward 6, since the image needs no gradient.
    #expect(counts["convolution"] == 13)
    // Nothing is left between convolutions but what works on scores and at the classifier.
    #expect(executable.kernels.count < 13 + 80, "\(counts.sorted { $0.key < $1.key })")
    #expect(executable.layoutConversions == 0)
    print("KERNELS \(counts.sorted { $0.key < $1.key })")
  }
}
