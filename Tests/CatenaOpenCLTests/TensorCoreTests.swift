import CatenaCompute
import CatenaGraph
import CatenaOpenCL
import CatenaTensors
import TestSupport
import Testing

/// The kernels for tensor cores on a device that has none: the fragments' exchange between lanes is done in OpenCL C as
/// the PTX manual draws it, everything else is what runs on a GPU.
@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct TensorCoreTests {
  /// A convolution or its transpose.
  struct Shape4: Sendable, CustomStringConvertible {
    var samples = 1
    var inputs: Int
    var extent: Int
    var outputs: Int
    var taps = 3
    var stride = 1
    var dilation = 1
    var isTransposed = false
    var description: String {
      "\(samples)x\(inputs)x\(extent) -> \(outputs), \(taps) taps, stride \(stride), dilation \(dilation)"
        + (isTransposed ? ", transposed" : "")
    }
  }

  /// Depths, rows and columns that end within chunks, slabs, fragments and tiles, or fill them.
  static let shapes = [
    Shape4(inputs: 4, extent: 5, outputs: 3), Shape4(samples: 2, inputs: 20, extent: 9, outputs: 37),
    Shape4(inputs: 64, extent: 8, outputs: 64, taps: 1), Shape4(inputs: 12, extent: 11, outputs: 70, stride: 2),
    Shape4(samples: 3, inputs: 8, extent: 10, outputs: 16, dilation: 2),
    Shape4(inputs: 36, extent: 7, outputs: 8, isTransposed: true),
    Shape4(samples: 2, inputs: 8, extent: 6, outputs: 20, stride: 2, isTransposed: true),
  ]
  static let families: [KernelFamily] = [.tensorTF32, .tensorTF32Small, .tensorBF16, .tensorBF16Small]

  private static func random(_ shape: Shape, _ generator: inout SeededGenerator) -> Tensor {
    Tensor((0..<shape.elementCount).map { _ in Float(2 * generator.uniform() - 1) }, shape: shape)
  }

  /// Whole numbers around 0.
  private static func integers(_ shape: Shape, factor: Int, modulus: Int) -> Tensor {
    let numbers = (0..<shape.elementCount).map { (index: Int) -> Float in
      Float(index * factor % modulus - modulus / 2)
    }
    return Tensor(numbers, shape: shape)
  }

  private static func backend(_ family: KernelFamily) throws -> OpenCLBackend {
    OpenCLBackend(
      context: try DeviceUnderTest.backend.context, tensorPolicy: TensorPolicy(families: [family], leastGroups: 1))
  }

  /// The largest difference from the reference, relative to the largest result.
  private static func difference(_ graph: Graph, _ samples: Tensor, _ family: KernelFamily) async throws -> Double {
    let executable = try await backend(family).executable(Program(graph), options: CompileOptions())
    #expect(executable.kernels.contains("tensor_convolution"), "\(executable.kernels)")
    let reference = try await ReferenceBackend().compile(Program(graph), options: CompileOptions())
    var results: [[Float]] = []
    for each in [executable as any Executable, reference] {
      try await each.write(samples, to: graph.inputs[0])
      try await each.run(steps: 1)
      results.append(try await each.read(graph.outputs[0]).floats)
    }
    let largest = results[1].map(abs).max() ?? 1
    return zip(results[0], results[1]).reduce(0) { max($0, Double(abs($1.0 - $1.1) / largest)) }
  }

  @Test(arguments: families)
  func convolutionsAgreeWithTheReference(_ family: KernelFamily) async throws {
    let tolerance = TensorCores.tolerance(try #require(family.tile).precision)
    for shape in Self.shapes {
      var generator = SeededGenerator(seed: 3)
      var graph = Graph()
      let x = graph.addInput("x", TensorType(.float32, [shape.samples, shape.inputs, shape.extent, shape.extent]))
      let counts = shape.isTransposed ? (shape.inputs, shape.outputs) : (shape.outputs, shape.inputs)
      let weight = graph.addConstant("w", Self.random([counts.0, counts.1, shape.taps, shape.taps], &generator))
      let bias = graph.addConstant("b", Self.random([shape.outputs], &generator))
      let pads = [shape.taps / 2, shape.taps / 2]
      let convolution = Convolution(
        strides: [shape.stride, shape.stride], padsBegin: pads, padsEnd: pads,
        dilations: [shape.dilation, shape.dilation])
      let operation: Operator =
        shape.isTransposed
        ? .convolutionTranspose(ConvolutionTranspose(convolution, outputPadding: [0, 0])) : .convolution(convolution)
      let result = try graph.add(operation, x, weight, bias)
      // An epilogue with operands: the gate per channel, the sum, the activation.
      let gate = graph.addConstant("g", Self.random([1, shape.outputs], &generator))
      let gated = try graph.add(.gate(axis: 1), result, gate)
      let summand = graph.addConstant("s", Self.random(graph.shape(gated), &generator))
      graph.outputs = [try graph.add(.unary(.relu), graph.add(.binary(.add), gated, summand))]
      let difference = try await Self.difference(graph, Self.random(graph.shape(x), &generator), family)
      #expect(difference <= tolerance, "\(shape)")
      // Rounding must be there, or something else than the tensor kernel ran.
      #expect(difference > 1e-6, "\(shape)")
    }
  }

  @Test(arguments: families, [true, false])
  func matrixProductsAgreeWithTheReference(_ family: KernelFamily, _ isTransposed: Bool) async throws {
    let tolerance = TensorCores.tolerance(try #require(family.tile).precision)
    for (rows, columns, inner) in [(5, 3, 4), (70, 130, 52), (129, 64, 32)] {
      var generator = SeededGenerator(seed: 4)
      var graph = Graph()
      let x = graph.addInput("x", TensorType(.float32, [rows, inner]))
      let shape: Shape = isTransposed ? [columns, inner] : [inner, columns]
      let weight = graph.addConstant("w", Self.random(shape, &generator))
      let bias = graph.addConstant("b", Self.random([columns], &generator))
      graph.outputs = [try graph.add(.gemm(Gemm(transposeB: isTransposed)), x, weight, bias)]
      let difference = try await Self.difference(graph, Self.random([rows, inner], &generator), family)
      #expect(difference <= tolerance, "\(rows) x \(columns) x \(inner)")
    }
  }

  /// Integers that tf32 holds exactly give exact sums: any wrong lane, row or depth shows.
  @Test(arguments: families)
  func smallIntegersAreExact(_ family: KernelFamily) async throws {
    var graph = Graph()
    let x = graph.addInput("x", TensorType(.float32, [1, 40, 13, 13]))
    let weight = graph.addConstant(
      "w", Self.integers([50, 40, 3, 3], factor: 7, modulus: 15))
    let convolution = Convolution(strides: [1, 1], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1])
    graph.outputs = [try graph.add(.convolution(convolution), x, weight)]
    let samples = Self.integers([1, 40, 13, 13], factor: 11, modulus: 17)
    #expect(try await Self.difference(graph, samples, family) == 0)
  }

  @Test func aRightBuildThatIsSlowerIsNotUsed() throws {
    // Without PTX the kernels are right but slow: they can be used and should not be.
    let context = try DeviceUnderTest.backend.context
    let verdict = context.tensorCores.verdict(.tensorTF32Small, in: context)
    #expect(verdict.can, "\(verdict)")
    if context.device.kind == .cpu {
      #expect(!verdict.should, "\(verdict)")
      #expect(verdict.remark(.tf32).contains("not used: the plain kernel is as fast"), "\(verdict.remark(.tf32))")
    }
    #expect(try #require(verdict.error) < TensorCores.tolerance(.tf32))
  }

  @Test func whatProductsAreComputedInIsSaid() throws {
    let backend = try DeviceUnderTest.backend
    #expect(backend.remarks(for: .f32) == backend.context.remarks)
    for precision in [Precision.tf32, .bf16] {
      let remarks = backend.remarks(for: precision)
      #expect(!remarks.isEmpty && remarks.allSatisfy { !$0.contains("\n") })
      if DeviceUnderTest.isProcessor {
        #expect(
          remarks.last == "products are computed in f32, not in \(precision): no tensor cores of this device are known")
      }
    }
  }

  @Test func tilesFitNVIDIAsLocalMemory() {
    for family in Self.families {
      #expect(family.tile.map { $0.localMemory <= 49152 && $0.threads <= 256 } == true)
    }
  }
}
