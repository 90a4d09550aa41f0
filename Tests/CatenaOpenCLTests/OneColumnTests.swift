import CatenaCompute
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

/// Weights with one column in memory, which lie alike in both orientations: a product and its gradient read them.
@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct OneColumnTests {
  @Test(arguments: [1, 2, 4, 8, 16, 33], [true, false])
  func productAndGradientAgreeWithTheReference(_ rows: Int, _ isTransposed: Bool) async throws {
    for batch in [1, 3, 4] {
      var graph = Graph()
      func random(_ shape: Shape, _ seed: UInt64) -> Tensor {
        Tensor(randomReals(shape, seed: seed).floats, shape: shape)
      }
      let weight = graph.addConstant("weight", random([rows, 1], 1))
      let shapes: [Shape] = isTransposed ? [[batch, 1], [batch, rows]] : [[batch, rows], [batch, 1]]
      let inputs = shapes.map { graph.addInput("input", TensorType(.float32, $0)) }
      graph.outputs = [
        try graph.add(.gemm(Gemm(transposeB: isTransposed)), inputs[0], weight),
        try graph.add(.gemm(Gemm(transposeB: !isTransposed)), inputs[1], weight),
      ]
      let tensors = ValueMap(
        uniqueKeysWithValues: zip(inputs, shapes).enumerated().map { ($1.0, random($1.1, UInt64($0 + 2))) })
      let reference = try await ReferenceBackend().compile(Program(graph), options: CompileOptions())
      let executable = try await DeviceUnderTest.backend.compile(Program(graph), options: CompileOptions())
      for (input, tensor) in tensors {
        try await reference.write(tensor, to: input)
        try await executable.write(tensor, to: input)
      }
      try await reference.run(steps: 1)
      try await executable.run(steps: 1)
      for output in graph.outputs {
        let (found, expected) = (try await executable.read(output), try await reference.read(output))
        #expect(difference(found, expected, tolerance: problemTolerance) == nil, "\(batch) rows")
      }
    }
  }
}
