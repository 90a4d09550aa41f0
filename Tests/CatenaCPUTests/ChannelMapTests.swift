import CatenaCPU
import CatenaCompute
import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

/// Some channels of an image, and an image's channels among others, as passes over memory read them.
struct ChannelMapTests {
  /// Who reads.
  enum Form: CaseIterable, Sendable {
    case placedSum, placedSumOfTwo, placedProduct, placedForConvolution, placedForResult
    case takenGate, takenSum, takenForConvolution, takenForResult, takenOfPlaced
  }

  /// Which channels, of how many.
  enum Pattern: CaseIterable, Sendable {
    case first, last, single, everyThird, together, allButOne, most, all

    func channels(of count: Int) -> [Int] {
      switch self {
      case .first: Array(0..<(count + 1) / 2)
      case .last: Array(count / 2..<count)
      case .single: [2 * count / 3]
      case .everyThird: Array(stride(from: count / 4, to: count, by: 3))
      case .together: Array(count / 5...count / 2)
      case .allButOne: (0..<count).filter { $0 != count / 3 }
      case .most: (0..<count).filter { $0 % 7 != 1 && $0 % 16 != 15 }
      case .all: Array(0..<count)
      }
    }
  }

  /// Channels that fill vectors, do not, make rows of blocks, blocks, and pieces of rows.
  static let widths = [2, 16, 37, 133, 300, 520, 1300]

  /// A network, what it reads, and the reference's results.
  private struct Example {
    let program: Program
    let tensors: ValueMap<Tensor>
    let expected: [Tensor]

    init(_ form: Form, _ pattern: Pattern, _ width: Int) async throws {
      var network = try ChannelMapTests.network(form, pattern.channels(of: width), of: width)
      tensors = network.tensors()
      program = Program(network.graph)
      expected = try await ReferenceBackend().compile(program, options: CompileOptions())
        .results(tensors, reading: program.graph.outputs)
    }
  }

  @Test(arguments: Form.allCases, widths)
  func isWhatTheReferenceSays(_ form: Form, _ width: Int) async throws {
    for pattern in Pattern.allCases {
      let example = try await Example(form, pattern, width)
      let executable = try await CPUBackend().compileForProcessor(example.program, options: CompileOptions())
      // Twice: nothing is left of the run before.
      let found = try await executable.results(example.tensors, steps: 2, reading: example.program.graph.outputs)
      for (found, expected) in zip(found, example.expected) {
        #expect(difference(found, expected, tolerance: 2e-5) == nil, "\(pattern)")
      }
      let isRead = ![.all, .single].contains(pattern) && width > 2
      if isRead, [.placedSum, .placedSumOfTwo, .takenGate, .takenSum].contains(form) {
        let kinds = executable.kernels.map(\.kind)
        #expect(!kinds.contains { ["copy", "convert", "gather", "gatherGradient"].contains($0) }, "\(kinds)")
      }
    }
  }

  @Test(arguments: Form.allCases, widths.dropFirst())
  func isCloseToItInBFloat16(_ form: Form, _ width: Int) async throws {
    guard ["avx512-bf16", "avx512-amx"].contains(CPUBackend().device.instructionSet) else { return }
    for pattern in Pattern.allCases {
      let example = try await Example(form, pattern, width)
      let found = try await CPUBackend().compile(example.program, options: CompileOptions(precision: .bf16))
        .results(example.tensors, reading: example.program.graph.outputs)
      for (found, expected) in zip(found, example.expected) {
        let largest = expected.doubles.map(abs).max() ?? 0
        let deviation = zip(found.doubles, expected.doubles).map { abs($0 - $1) }.max() ?? 0
        #expect(deviation <= 0.02 * largest, "\(pattern)")
      }
    }
  }

  /// Convolutions make the images, so that channels lie together.
  private static func network(_ form: Form, _ channels: [Int], of width: Int) throws -> SmallNetwork {
    var network = SmallNetwork()
    let image = network.input([4, 3, 5, 3])
    let indices = network.graph.addConstant(
      "channels", Tensor(channels.map { Int64($0) }, shape: [channels.count]))
    func made(_ count: Int) throws -> ValueID { try network.convolution(image, count, kernel: 1) }
    func placed() throws -> ValueID {
      try network.graph.add(.gatherGradient(axis: 1, inputShape: [4, width, 5, 3]), made(channels.count), indices)
    }
    func taken() throws -> ValueID { try network.graph.add(.gather(axis: 1), made(width), indices) }
    func result(_ value: ValueID) throws { network.graph.outputs.append(try network.convolution(value, 2, kernel: 1)) }
    switch form {
    case .placedSum:
      try result(network.graph.add(.unary(.relu), network.graph.add(.binary(.add), made(width), placed())))
    case .placedSumOfTwo: try result(network.graph.add(.binary(.add), placed(), placed()))
    case .placedProduct: try result(network.graph.add(.binary(.multiply), placed(), made(width)))
    case .placedForConvolution: network.graph.outputs.append(try network.convolution(placed(), 4))
    case .placedForResult: network.graph.outputs.append(try placed())
    case .takenGate:
      let gate = network.input([2, channels.count], "gate")
      let (gradient, data) = try (taken(), made(channels.count))
      network.graph.outputs.append(try network.graph.add(.gateGradient(axis: 1), gradient, data, gate))
      try result(network.graph.add(.gate(axis: 1), gradient, gate))
    case .takenSum: try result(network.graph.add(.binary(.add), taken(), made(channels.count)))
    case .takenForConvolution: network.graph.outputs.append(try network.convolution(taken(), 4))
    case .takenForResult: network.graph.outputs.append(try taken())
    case .takenOfPlaced:
      let even = stride(from: 0, to: width, by: 2).map { Int64($0) }
      let half = network.graph.addConstant("half", Tensor(even, shape: [even.count]))
      try result(network.graph.add(.unary(.relu), network.graph.add(.gather(axis: 1), placed(), half)))
    }
    return network
  }
}
