import CatenaGraph
import CatenaReference
import CatenaTensors
import Testing

@Suite("Details of operators")
struct OperatorDetailTests {
  private func evaluate(_ operation: Operator, _ inputs: Tensor...) throws -> Tensor {
    try Reference.evaluate(operation, inputs)[0]
  }

  private func vector<Element: TensorElement>(_ elements: Element...) -> Tensor {
    Tensor(elements, shape: [elements.count])
  }

  // MARK: Types and rounding

  @Test("double inputs give doubles, float inputs one rounding")
  func rounding() throws {
    let third = try evaluate(.binary(.divide), vector(1.0), vector(3.0))
    #expect(third.elements(of: Double.self) == [1.0 / 3])
    let single = try evaluate(.binary(.divide), vector(Float(1)), vector(Float(3)))
    #expect(single.elements(of: Float.self) == [Float(1.0 / 3)])
    // 1 + 2^-30 summed a million times is lost in f32, kept in the double accumulation.
    let ones = Tensor([Float](repeating: 0x1p-24, count: 1 << 10) + [1], shape: [1025])
    let sum = try evaluate(.reduce(Reduce(.sum, axes: [0], keepsDimensions: false)), ones)
    #expect(sum.elements(of: Float.self) == [1 + 0x1p-14])
  }

  @Test("half precision is computed in double and rounded")
  func halfPrecision() throws {
    let product = try evaluate(
      .matmul, Tensor([Float16](repeating: 0.1, count: 1000), shape: [1, 1000]),
      Tensor([Float16](repeating: 1, count: 1000), shape: [1000, 1]))
    #expect(product.elements(of: Float16.self) == [Float16(Double(Float16(0.1)) * 1000)])
    let brain = Tensor([BFloat16(1.5), BFloat16(-2)], shape: [2])
    #expect(try evaluate(.unary(.negate), brain).doubles == [-1.5, 2])
  }

  // MARK: Integers

  @Test("integers wrap at their width and are exact beyond 2^53")
  func integerArithmetic() throws {
    #expect(try evaluate(.binary(.add), vector(Int8(127)), vector(Int8(1))).elements(of: Int8.self) == [-128])
    #expect(try evaluate(.binary(.multiply), vector(UInt8(16)), vector(UInt8(17))).elements(of: UInt8.self) == [16])
    let large = Int64(1) << 60 | 1
    #expect(
      try evaluate(.binary(.add), vector(large), vector(Int64(2))).elements(of: Int64.self) == [large + 2])
    #expect(try evaluate(.unary(.negate), vector(Int64.min)).elements(of: Int64.self) == [Int64.min])
    #expect(
      try evaluate(.binary(.less), vector(UInt64.max), vector(UInt64(1))).elements(of: Bool.self) == [false])
  }

  @Test("integer division is cut off, remainders have the divisor's sign, powers are exact")
  func integerDivision() throws {
    let left = vector(Int32(7), -7, 7, -7)
    let right = vector(Int32(2), 2, -2, -2)
    #expect(try evaluate(.binary(.divide), left, right).elements(of: Int32.self) == [3, -3, -3, 3])
    #expect(try evaluate(.binary(.modulo), left, right).elements(of: Int32.self) == [1, 1, -1, -1])
    #expect(
      try evaluate(.binary(.power), vector(Int64(3), -2, 1, -1), vector(Int64(39), 5, -7, -3)).elements(of: Int64.self)
        == [4_052_555_153_018_976_267, -32, 1, -1])
    #expect(
      try evaluate(.binary(.divide), vector(Int32.min), vector(Int32(-1))).elements(of: Int32.self) == [Int32.min])
  }

  @Test("the exponent of a power may have another type than the base")
  func mixedPower() throws {
    #expect(try evaluate(.binary(.power), vector(Float(1.5)), vector(Int64(3))).elements(of: Float.self) == [3.375])
    #expect(try evaluate(.binary(.power), vector(Int32(4)), vector(Float(0.5))).elements(of: Int32.self) == [2])
  }

  @Test("casts: cut off, wrapped, saturated nowhere, bool is not zero")
  func casts() throws {
    #expect(
      try evaluate(.cast(.int32), vector(Float(2.9), -2.9, 0.4)).elements(of: Int32.self) == [2, -2, 0])
    #expect(try evaluate(.cast(.uint8), vector(Int32(257), -1)).elements(of: UInt8.self) == [1, 255])
    #expect(try evaluate(.cast(.int64), vector(UInt64.max)).elements(of: Int64.self) == [-1])
    #expect(
      try evaluate(.cast(.bool), vector(Float(0), -0.0, 0.1, .nan)).elements(of: Bool.self) == [
        false, false, true, true,
      ])
    #expect(try evaluate(.cast(.float16), vector(1e6, 0.1)).elements(of: Float16.self) == [.infinity, Float16(0.1)])
    // Halfway between two floats but for the last bit, which a double cannot hold.
    let nearTie = Int64(1) << 60 | 1 << 36 | 1
    #expect(try evaluate(.cast(.float32), vector(nearTie)).elements(of: Float.self) == [0x1p60 + 0x1p37])
    let exact = Int64(1) << 62 | 1
    #expect(try evaluate(.cast(.int64), vector(exact)).elements(of: Int64.self) == [exact])
  }

  // MARK: Not a number, infinities, empty

  @Test("minimum, maximum, clip, relu and pooling hand NaN on")
  func notANumber() throws {
    let left = vector(Double.nan, 1, 2)
    let right = vector(1.0, .nan, 3)
    for function in [BinaryFunction.minimum, .maximum] {
      let result = try evaluate(.binary(function), left, right).doubles
      #expect(result[0].isNaN && result[1].isNaN && !result[2].isNaN)
    }
    for function in [UnaryFunction.relu, .clip(minimum: 0, maximum: 6), .sign, .absolute] {
      #expect(try evaluate(.unary(function), left).doubles[0].isNaN)
    }
    let pool = Pool(.maximum, kernel: [2], strides: [1], padsBegin: [0], padsEnd: [0], dilations: [1])
    let pooled = try evaluate(.pool(pool), Tensor([0, .nan, 1, 2], shape: [1, 1, 4])).doubles
    #expect(pooled[0].isNaN && pooled[1].isNaN && pooled[2] == 2)
  }

  @Test("softmax and its logarithm survive large numbers")
  func largeSoftmax() throws {
    let data = Tensor([1000.0, 1000, -1000, 1000], shape: [1, 4])
    #expect(try evaluate(.softmax(axes: [1]), data).doubles == [1.0 / 3, 1.0 / 3, 0, 1.0 / 3])
    let logarithms = try evaluate(.logSoftmax(axes: [1]), data).doubles
    #expect(abs(logarithms[2] - (-2000 - 1.0986122886681098)) < 1e-9)
  }

  @Test("softplus and sigmoid do not overflow")
  func overflow() throws {
    let data = vector(-1000.0, 1000)
    #expect(try evaluate(.unary(.softplus), data).doubles == [0, 1000])
    #expect(try evaluate(.unary(.sigmoid), data).doubles == [0, 1])
  }

  @Test("empty reductions have their neutral element")
  func emptyReductions() throws {
    let empty = Tensor([Double](), shape: [2, 0])
    for (kind, neutral) in [(Reduce.Kind.sum, 0.0), (.product, 1), (.maximum, -.infinity), (.minimum, .infinity)] {
      #expect(
        try evaluate(.reduce(Reduce(kind, axes: [1], keepsDimensions: false)), empty).doubles == [neutral, neutral])
    }
  }

  @Test("an empty batch is an empty result")
  func emptyBatch() throws {
    let convolution = Convolution(strides: [1], padsBegin: [0], padsEnd: [0], dilations: [1])
    let result = try evaluate(
      .convolution(convolution), Tensor(zeros: [0, 3, 5]), Tensor(zeros: [2, 3, 3]))
    #expect(result.shape == [0, 2, 3])
    #expect(try evaluate(.matmul, Tensor(zeros: [2, 0]), Tensor(zeros: [0, 3])).floats == [0, 0, 0, 0, 0, 0])
    #expect(
      try evaluate(.concatenate(axis: 1), Tensor(zeros: [0, 3]), Tensor(zeros: [0, 2])).shape == [0, 5])
  }

  @Test("extreme scales of a resize read the border")
  func extremeScales() throws {
    let data = Tensor([1.0, 2, 3], shape: [3])
    for coordinates in [Resize.Coordinates.halfPixel, .halfPixelSymmetric, .asymmetric] {
      for interpolation in [Resize.Interpolation.linear, .nearest(.floor)] {
        let resize = Resize(interpolation, coordinates: coordinates, sizes: [2], scales: [.leastNonzeroMagnitude])
        #expect(try evaluate(.resize(resize), data).doubles.allSatisfy { $0 == 1 || $0 == 3 || $0.isNaN })
      }
    }
  }

  // MARK: What cannot be

  @Test("contents that cannot be are refused with the reason")
  func refusals() throws {
    func expect(_ reason: String, _ operation: Operator, _ inputs: Tensor...) {
      #expect {
        try Reference.evaluate(operation, inputs)
      } throws: { error in
        "\(error)".contains(reason)
      }
    }
    let floats = Tensor(zeros: [2, 3])
    expect("index 3 is out of range for axis 1", .gather(axis: 1), floats, vector(Int64(0), 3))
    expect("index -4 is out of range for axis 1", .gather(axis: 1), floats, vector(Int64(-4)))
    expect("indices must be int32 or int64", .gather(axis: 1), floats, vector(Float(0)))
    expect("divided by zero", .binary(.divide), vector(Int32(1)), vector(Int32(0)))
    expect("divided by zero", .binary(.modulo), vector(Int32(1)), vector(Int32(0)))
    expect("operands of one type", .binary(.add), vector(Int32(1)), vector(Int64(1)))
    expect("no meaning for bool", .binary(.add), vector(true), vector(false))
    expect("no meaning for int32", .unary(.tanh), vector(Int32(1)))
    expect("must be floating-point", .softmax(axes: [0]), vector(Int32(1)))
    expect("condition must be bool", .select, vector(Float(1)), vector(Float(1)), vector(Float(1)))
    expect("differ in type", .select, vector(true), vector(Float(1)), vector(Int32(1)))
    expect("do not broadcast", .binary(.add), vector(Float(1), 2), vector(Float(1), 2, 3))
  }
}
