import CatenaCPU
import CatenaCompute
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

/// Gates and their gradients in one pass over memory, of images whose channels lie together.
struct GatePassTests {
  /// What comes before and behind a gate.
  enum Form: CaseIterable, Sendable {
    case plain, masked, kept, maskedBehind, twoGates, twoGatesKept, twoMasks
  }

  /// Channels that fill vectors, do not, make rows of blocks, blocks, pieces of rows, and more than sums are kept of.
  static let channels = [1, 7, 16, 31, 64, 123, 300, 512, 700, 2048, 2100]

  @Test(arguments: Form.allCases, channels)
  func isWhatTheReferenceSays(_ form: Form, _ channels: Int) async throws {
    for regions in [1, 3] {
      var network = try Self.network(form, channels: channels, regions: regions)
      let tensors = network.tensors()
      let program = Program(network.graph)
      let executable = try await CPUBackend().compileForProcessor(program, options: CompileOptions())
      let passes = executable.kernels.map(\.kind).filter { $0.contains("gate") && $0.contains("+") }
      #expect(passes.contains { $0.contains("gateGradient") }, "\(executable.kernels.map(\.kind))")
      let expected = try await ReferenceBackend().compile(program, options: CompileOptions())
        .results(tensors, reading: network.graph.outputs)
      // Twice: nothing is left of sums from the run before.
      let found = try await executable.results(tensors, steps: 2, reading: network.graph.outputs)
      for (found, expected) in zip(found, expected) { #expect(difference(found, expected, tolerance: 2e-5) == nil) }
    }
  }

  /// A mask is another where rounding gives a number another sign, so that single elements say nothing. (That of the single
  /// channel lets nothing pass.)
  @Test(arguments: Form.allCases, channels.dropFirst())
  func isCloseToItInBFloat16(_ form: Form, _ channels: Int) async throws {
    let backend = CPUBackend()
    guard ["avx512-bf16", "avx512-amx"].contains(backend.device.instructionSet) else { return }
    var network = try Self.network(form, channels: channels, regions: 2)
    let tensors = network.tensors()
    let program = Program(network.graph)
    let expected = try await ReferenceBackend().compile(program, options: CompileOptions())
      .results(tensors, reading: network.graph.outputs)
    let found = try await backend.compile(program, options: CompileOptions(precision: .bf16))
      .results(tensors, reading: network.graph.outputs)
    for (found, expected) in zip(found, expected) {
      let (a, b) = (found.doubles, expected.doubles)
      let products = zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
      let norms = [a, b].map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() }
      #expect(abs(products / (norms[0] * norms[0]) - 1) < 0.02, "factor of bf16 to f32")
      #expect(products / (norms[0] * norms[1]) > 0.995, "cosine of bf16 to f32")
    }
  }

  /// Convolutions make what is masked and gated, and read the result, so that images have their channels together.
  private static func network(_ form: Form, channels: Int, regions: Int) throws -> SmallNetwork {
    var network = SmallNetwork()
    let size = channels > 100 ? 4 : 11
    let image = network.input([6, 3, size, size - 1])
    func made() throws -> ValueID { try network.convolution(image, channels, kernel: 1) }
    let gates = (0..<2).map { network.input([regions, channels], "gate \($0)") }
    let data = try [made(), made()]
    let value = try network.graph.add(.unary(.relu), made())
    var gradient = try made()
    var results: [ValueID] = []
    if ![.plain, .maskedBehind].contains(form) {
      gradient = try network.graph.add(.unaryGradient(.relu), gradient, value)
      if form == .twoMasks {
        gradient = try network.graph.add(.unaryGradient(.relu), gradient, network.graph.add(.unary(.relu), made()))
      }
      if form == .kept || form == .twoGatesKept { results.append(gradient) }
    }
    for index in form == .twoGates || form == .twoGatesKept ? [0, 1] : [0] {
      var gated = try network.graph.add(.gate(axis: 1), gradient, gates[index])
      network.graph.outputs.append(try network.graph.add(.gateGradient(axis: 1), gradient, data[index], gates[index]))
      if form == .maskedBehind { gated = try network.graph.add(.unaryGradient(.relu), gated, value) }
      results.append(gated)
    }
    for result in results { network.graph.outputs.append(try network.convolution(result, 2, kernel: 1)) }
    return network
  }
}
