import CatenaTensors
import Testing

@Suite("Tensor")
struct TensorTests {
  @Test("what is written is read, in every element type", arguments: ElementType.allCases)
  func elements(_ type: ElementType) {
    let values: [Double] = type == .bool ? [0, 1, 1, 0] : [0, 1, 2, 100]
    let tensor = Tensor(doubles: values, shape: [2, 2], elementType: type)
    #expect(tensor.elementType == type)
    #expect(tensor.doubles == values)
    #expect(tensor.byteCount == 4 * type.byteCount)
    #expect(tensor.integers == values.map { Int($0) })
    #expect(tensor.floats == values.map { Float($0) })
  }

  @Test("storage is 64-byte aligned and begins as zeros")
  func storage() {
    let tensor = Tensor(zeros: [3, 5])
    #expect(tensor.floats == [Float](repeating: 0, count: 15))
    tensor.withUnsafeBytes { bytes in
      #expect(bytes.count == 60)
      #expect(bytes.baseAddress.map { Int(bitPattern: $0) % 64 } == 0)
    }
  }

  @Test("a reshaped tensor shares its elements")
  func reshaped() {
    let tensor = Tensor([Int32(1), 2, 3, 4, 5, 6], shape: [2, 3])
    let other = tensor.reshaped(to: [3, 2])
    #expect(other.shape == [3, 2])
    #expect(other.elements(of: Int32.self) == [1, 2, 3, 4, 5, 6])
    let addresses = [tensor, other].map { $0.withUnsafeBytes { $0.baseAddress } }
    #expect(addresses[0] == addresses[1])
  }

  @Test("integers beyond 2^53 stay exact as integers")
  func largeIntegers() {
    let value = Int64(1) << 62 | 1
    #expect(Tensor(scalar: value).integers == [Int(value)])
    #expect(Tensor(scalar: UInt64.max).integers == [Int.max])
    #expect(Tensor([Float.nan, 2.9, -2.9, 1e30], shape: [4]).integers == [0, 2, -2, Int.max])
  }

  @Test("doubles are rounded to floating-point types, cut off and wrapped to integers")
  func conversion() {
    #expect(Tensor(doubles: [0.1], shape: [1], elementType: .float32).elements(of: Float.self) == [0.1])
    #expect(Tensor(doubles: [0.1], shape: [1], elementType: .float16).elements(of: Float16.self) == [Float16(0.1)])
    #expect(Tensor(doubles: [-1.9, 300], shape: [2], elementType: .uint8).elements(of: UInt8.self) == [255, 44])
    #expect(
      Tensor(doubles: [.nan, 0, 3], shape: [3], elementType: .bool).elements(of: Bool.self) == [true, false, true])
  }

  @Test("a bool read from a byte other than 0 and 1 is true")
  func foreignBools() {
    let tensor = Tensor(elementType: .bool, shape: [3]) { bytes in
      bytes[1] = 1
      bytes[2] = 7
    }
    #expect(tensor.doubles == [0, 1, 1])
  }

  @Test("bit identity sees types, shapes, signs of zero and payloads")
  func bitIdentity() {
    let zeros = Tensor([Float(0), 0], shape: [2])
    #expect(zeros.isBitIdentical(to: Tensor(zeros: [2])))
    #expect(!zeros.isBitIdentical(to: Tensor([Float(0), -0.0], shape: [2])))
    #expect(!zeros.isBitIdentical(to: Tensor(zeros: [1, 2])))
    #expect(!zeros.isBitIdentical(to: Tensor(zeros: [2], elementType: .int32)))
    #expect(Tensor(scalar: Float.nan).isBitIdentical(to: Tensor(scalar: Float.nan)))
  }

  @Test("an error in the initialisation goes through")
  func failingInitialisation() {
    struct Failure: Error {}
    #expect(throws: Failure.self) {
      try Tensor(elementType: .float32, shape: [4]) { _ throws(Failure) in throw Failure() }
    }
  }
}
