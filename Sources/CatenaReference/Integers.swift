import CatenaGraph
import CatenaTensors

/// A Swift integer that a tensor can hold.
typealias TensorInteger = FixedWidthInteger & TensorElement

/// Work that is the same for every integer type.
protocol IntegerWork {
  associatedtype Result
  func run<Integer: TensorInteger>(_ type: Integer.Type) throws(EvaluationError) -> Result
}

/// Runs `work` with the Swift type of `elementType`; bools are worked on as their bytes, 0 or 1.
func withInteger<Work: IntegerWork>(
  _ elementType: ElementType, _ work: Work
) throws(EvaluationError) -> Work.Result {
  switch elementType {
  case .bool, .uint8: try work.run(UInt8.self)
  case .int8: try work.run(Int8.self)
  case .uint16: try work.run(UInt16.self)
  case .int16: try work.run(Int16.self)
  case .uint32: try work.run(UInt32.self)
  case .int32: try work.run(Int32.self)
  case .uint64: try work.run(UInt64.self)
  case .int64: try work.run(Int64.self)
  case .float16, .bfloat16, .float32, .float64:
    throw EvaluationError(reason: "\(elementType.rawValue) is no integer type")
  }
}

extension Tensor {
  /// The elements of an integer tensor, or the bytes of a bool tensor.
  func integerElements<Integer: TensorInteger>(_ type: Integer.Type) -> [Integer] {
    elementType == .bool ? doubles.map { Integer($0) } : elements(of: type)
  }

  /// A tensor of `type` from integers of its own Swift type, or from zeros and ones for bool.
  init<Integer: TensorInteger>(integers: [Integer], _ type: TensorType) {
    if type.elementType == .bool {
      self.init(integers.map { $0 != 0 }, shape: type.shape)
    } else {
      self.init(integers, shape: type.shape)
    }
  }
}

extension Tensor {
  /// The elements of an integer tensor as 64-bit two's complement numbers.
  var integerBits: [Int64] {
    switch elementType {
    case .uint64: elements(of: UInt64.self).map(Int64.init(bitPattern:))
    case .int64: elements(of: Int64.self)
    default: doubles.map { Int64($0) }
    }
  }

  /// A tensor of the integers' low bits.
  init(truncating bits: [Int64], shape: Shape, elementType: ElementType) {
    switch elementType {
    case .int64: self.init(bits, shape: shape)
    case .uint64: self.init(bits.map(UInt64.init(bitPattern:)), shape: shape)
    case .int32: self.init(bits.map(Int32.init(truncatingIfNeeded:)), shape: shape)
    case .uint32: self.init(bits.map(UInt32.init(truncatingIfNeeded:)), shape: shape)
    case .int16: self.init(bits.map(Int16.init(truncatingIfNeeded:)), shape: shape)
    case .uint16: self.init(bits.map(UInt16.init(truncatingIfNeeded:)), shape: shape)
    case .int8: self.init(bits.map(Int8.init(truncatingIfNeeded:)), shape: shape)
    case .uint8: self.init(bits.map(UInt8.init(truncatingIfNeeded:)), shape: shape)
    case .bool: self.init(bits.map { $0 != 0 }, shape: shape)
    case .float16, .bfloat16, .float32, .float64:
      preconditionFailure("\(elementType.rawValue) is no integer type")
    }
  }
}
