import CatenaCompute
import CatenaGraph
import CatenaOpenCL
import CatenaReference
import CatenaTensors
import TestSupport
import Testing

/// Element types beyond float32: stored fractions of 16 bits, integers, conversions, and what data may be wrong with.
@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct TypeTests {
  /// Operators of every kernel family on stored fractions of 16 bits.
  static let operations: [Operator] = [
    .unary(.gelu), .binary(.multiply), .binary(.less), .softmax(axes: [1]), .matmul, .select,
    .reduce(Reduce(.mean, axes: [0], keepsDimensions: true)), .transpose(permutation: [1, 0]),
    .concatenate(axis: 1), .argReduce(ArgReduce(axis: 1, keepsDimensions: false)), .cast(.float32), .cast(.int8),
    .pad(Pad(.reflect, begins: [1, 2], ends: [0, 1])), .gather(axis: 0),
  ]

  @Test(arguments: [ElementType.float16, .bfloat16], operations)
  func fractionsOfSixteenBitsAreRoundedLikeTheReferences(_ type: ElementType, _ operation: Operator) async throws {
    var operands = (0..<2).map { Self.reals([6, 6], type, seed: UInt64($0 + 1)) }
    switch operation {
    case .binary, .matmul, .concatenate: break
    case .select: operands = [Tensor((0..<36).map { $0 % 3 == 0 }, shape: [6, 6])] + operands
    case .gather: operands[1] = Tensor([5, -1, 0] as [Int64], shape: [3])
    default: operands.removeLast()
    }
    let results = try await run(operation, operands)
    for (result, expected) in zip(results, try Reference.evaluate(operation, operands)) {
      // One unit in the last place: sums are formed in f32 here and in double there.
      let tolerance = type == .bfloat16 ? 0x1p-8 : 0x1p-11
      let difference = difference(result, expected, tolerance: tolerance)
      #expect(difference == nil, "\(operation.name) \(type): \(difference ?? "")")
    }
  }

  static let conversions: [ElementType] = [
    .bool, .uint8, .int8, .uint16, .int16, .uint32, .int32, .int64, .float16, .bfloat16, .float32, .float64,
  ]

  @Test(arguments: conversions, conversions)
  func everyTypeIsConvertedToEveryOther(_ source: ElementType, _ target: ElementType) async throws {
    let numbers: [Double] = [0, 1, -1, 2.5, -2.5, 7, 100, 200, -129, 255, 300, 1.1, 65.5]
    let data = Tensor(doubles: numbers, shape: [numbers.count], elementType: source)
    let result = try await run(.cast(target), [data])[0]
    let expected = try Reference.evaluate(.cast(target), [data])[0]
    #expect(result.isBitIdentical(to: expected), "\(result.doubles) instead of \(expected.doubles)")
  }

  @Test(arguments: [ElementType.uint8, .int8, .int32, .int64], BinaryFunction.allCases)
  func integersWrap(_ type: ElementType, _ function: BinaryFunction) async throws {
    let left = Tensor(doubles: [100, 127, 3, 0, 7, 2], shape: [6], elementType: type)
    let right = Tensor(doubles: [100, 2, 5, 7, 3, 7], shape: [6], elementType: type)
    let result = try await run(.binary(function), [left, right])[0]
    let expected = try Reference.evaluate(.binary(function), [left, right])[0]
    #expect(result.isBitIdentical(to: expected), "\(result.doubles) instead of \(expected.doubles)")
  }

  @Test(arguments: [BinaryFunction.minimum, .maximum])
  func whatIsNoNumberStaysSo(_ function: BinaryFunction) async throws {
    let left = Tensor([Float.nan, 1, .nan, 2], shape: [4])
    let right = Tensor([Float(1), .nan, .nan, 3], shape: [4])
    let result = try await run(.binary(function), [left, right])[0].floats
    #expect(result[0].isNaN && result[1].isNaN && result[2].isNaN && !result[3].isNaN)
    let kind: Reduce.Kind = function == .minimum ? .minimum : .maximum
    let reduced = try await run(.reduce(Reduce(kind, axes: [0], keepsDimensions: true)), [left])[0].floats
    #expect(reduced[0].isNaN)
  }

  @Test(arguments: [ElementType.uint8, .int8])
  func smallIntegersArePooled(_ type: ElementType) async throws {
    let data = Tensor(doubles: (0..<50).map { Double($0 * 7 % 61 - 20) }, shape: [1, 2, 5, 5], elementType: type)
    let pool = Operator.pool(
      Pool(.maximum, kernel: [2, 2], strides: [2, 2], padsBegin: [0, 0], padsEnd: [0, 0], dilations: [1, 1]))
    let result = try await run(pool, [data])[0]
    #expect(result.isBitIdentical(to: try Reference.evaluate(pool, [data])[0]))
  }

  // MARK: Data that is wrong

  @Test func anIndexOutOfRangeIsSaid() async throws {
    let data = Self.reals([3, 2], .float32, seed: 1)
    for index in [Int64(3), -4] {
      await #expect(throws: ComputeError.self) {
        _ = try await run(.gather(axis: 0), [data, Tensor([index], shape: [1])])
      }
    }
  }

  @Test func aDivisionOfIntegersByZeroIsSaidAndTheNextRunIsGood() async throws {
    var graph = Graph()
    let x = graph.addInput("x", TensorType(.int32, [2]))
    let y = graph.addInput("y", TensorType(.int32, [2]))
    graph.outputs = [try graph.add(.binary(.divide), x, y)]
    let executable = try await DeviceUnderTest.backend.compile(Program(graph), options: CompileOptions())
    try await executable.write(Tensor([7, 8] as [Int32], shape: [2]), to: x)
    try await executable.write(Tensor([2, 0] as [Int32], shape: [2]), to: y)
    await #expect(throws: ComputeError.self) { try await executable.run(steps: 1) }
    try await executable.write(Tensor([2, -3] as [Int32], shape: [2]), to: y)
    try await executable.run(steps: 1)
    #expect(try await executable.read(graph.outputs[0]).elements(of: Int32.self) == [3, -2])
  }

  // MARK: Running

  private static func reals(_ shape: Shape, _ type: ElementType, seed: UInt64) -> Tensor {
    var generator = SeededGenerator(seed: seed)
    let numbers = (0..<shape.elementCount).map { _ in 4 * generator.uniform() - 2 }
    return Tensor(doubles: numbers, shape: shape, elementType: type)
  }

  private func run(_ operation: Operator, _ operands: [Tensor]) async throws -> [Tensor] {
    var graph = Graph()
    let inputs = operands.map { graph.addInput("operand", TensorType($0.elementType, $0.shape)) }
    graph.outputs = try graph.add(operation, inputs: inputs)
    let executable = try await DeviceUnderTest.backend.compile(Program(graph), options: CompileOptions())
    for (input, tensor) in zip(inputs, operands) { try await executable.write(tensor, to: input) }
    try await executable.run(steps: 1)
    var results: [Tensor] = []
    for output in graph.outputs { results.append(try await executable.read(output)) }
    return results
  }
}
