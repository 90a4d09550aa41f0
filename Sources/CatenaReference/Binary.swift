import CatenaGraph
import CatenaTensors
import Foundation

extension BinaryFunction {
  /// The function of two numbers; a predicate gives 0 or 1.
  func value(_ x: Double, _ y: Double) -> Double {
    switch self {
    case .add: return x + y
    case .subtract: return x - y
    case .multiply: return x * y
    case .divide: return x / y
    case .power: return pow(x, y)
    case .minimum: return x.isNaN || x < y ? x : y
    case .maximum: return x.isNaN || x > y ? x : y
    case .prelu: return x < 0 ? y * x : x
    case .modulo:
      let remainder = fmod(x, y)
      return remainder != 0 && (remainder < 0) != (y < 0) ? remainder + y : remainder
    case .equal: return x == y ? 1 : 0
    case .less: return x < y ? 1 : 0
    case .lessOrEqual: return x <= y ? 1 : 0
    case .greater: return x > y ? 1 : 0
    case .greaterOrEqual: return x >= y ? 1 : 0
    case .and: return x != 0 && y != 0 ? 1 : 0
    case .or: return x != 0 || y != 0 ? 1 : 0
    case .xor: return (x != 0) != (y != 0) ? 1 : 0
    }
  }

  /// The function of two integers, wrapping at their width; a predicate gives 0 or 1.
  fileprivate func integerValue<Integer: FixedWidthInteger>(
    _ x: Integer, _ y: Integer
  ) throws(EvaluationError) -> Integer {
    switch self {
    case .add: return x &+ y
    case .subtract: return x &- y
    case .multiply: return x &* y
    case .divide:
      guard y != 0 else { throw EvaluationError(reason: "an integer is divided by zero") }
      return x.dividedReportingOverflow(by: y).partialValue
    case .power: return try wrappingPower(x, y)
    case .minimum: return min(x, y)
    case .maximum: return max(x, y)
    case .prelu: return x < 0 ? y &* x : x
    case .modulo:
      guard y != 0 else { throw EvaluationError(reason: "an integer is divided by zero") }
      let remainder = x.remainderReportingOverflow(dividingBy: y).partialValue
      return remainder != 0 && (remainder < 0) != (y < 0) ? remainder &+ y : remainder
    case .equal: return x == y ? 1 : 0
    case .less: return x < y ? 1 : 0
    case .lessOrEqual: return x <= y ? 1 : 0
    case .greater: return x > y ? 1 : 0
    case .greaterOrEqual: return x >= y ? 1 : 0
    case .and: return x != 0 && y != 0 ? 1 : 0
    case .or: return x != 0 || y != 0 ? 1 : 0
    case .xor: return (x != 0) != (y != 0) ? 1 : 0
    }
  }

  /// Whether the function has a meaning for bools.
  fileprivate var takesBools: Bool {
    switch self {
    case .equal, .and, .or, .xor: true
    default: false
    }
  }
}

private func wrappingPower<Integer: FixedWidthInteger>(
  _ base: Integer, _ exponent: Integer
) throws(EvaluationError) -> Integer {
  if exponent < 0 {
    guard base != 0 else { throw EvaluationError(reason: "zero is raised to a negative integer power") }
    // The truncated value of 1 / base^|exponent|.
    if base == 1 { return 1 }
    return Integer.isSigned && base == 0 &- 1 ? (exponent & 1 == 0 ? 1 : base) : 0
  }
  var result: Integer = 1
  var square = base
  var remaining = exponent
  while remaining > 0 {
    if remaining & 1 == 1 { result = result &* square }
    square = square &* square
    remaining >>= 1
  }
  return result
}

extension Reference {
  static func binary(
    _ function: BinaryFunction, _ left: Tensor, _ right: Tensor, _ type: TensorType
  ) throws(EvaluationError) -> Tensor {
    guard left.elementType == right.elementType || function == .power else {
      throw EvaluationError(
        reason: "\(function) takes operands of one type, not \(left.elementType.rawValue) and "
          + right.elementType.rawValue)
    }
    guard left.elementType != .bool || function.takesBools else {
      throw EvaluationError(reason: "\(function) has no meaning for bool")
    }
    let leftOffsets = broadcastOffsets(left.shape, to: type.shape)
    let rightOffsets = broadcastOffsets(right.shape, to: type.shape)
    if left.elementType == right.elementType, !left.elementType.isFloatingPoint {
      return try withInteger(
        left.elementType,
        IntegerBinary(
          function: function, left: left, right: right, leftOffsets: leftOffsets, rightOffsets: rightOffsets,
          type: type))
    }
    let leftValues = left.convertedToDoubles()
    let rightValues = right.convertedToDoubles()
    return Tensor(
      reals: makeReals(leftOffsets.count) {
        function.value(leftValues[leftOffsets[$0]], rightValues[rightOffsets[$0]])
      }, type)
  }

  static func select(_ inputs: [Tensor], _ type: TensorType) throws(EvaluationError) -> Tensor {
    let (condition, left, right) = (inputs[0], inputs[1], inputs[2])
    guard condition.elementType == .bool else {
      throw EvaluationError(reason: "the condition must be bool, not \(condition.elementType.rawValue)")
    }
    guard left.elementType == right.elementType else {
      throw EvaluationError(
        reason: "the choices differ in type: \(left.elementType.rawValue) and \(right.elementType.rawValue)")
    }
    let holds = condition.doubles
    let conditions = broadcastOffsets(condition.shape, to: type.shape)
    // Both choices side by side in one tensor, from which the elements are taken.
    let choices = Tensor(elementType: left.elementType, shape: [left.elementCount + right.elementCount]) { bytes in
      left.withUnsafeBytes { bytes.copyMemory(from: $0) }
      right.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: bytes[left.byteCount...]).copyMemory(from: $0) }
    }
    let lefts = broadcastOffsets(left.shape, to: type.shape)
    let rights = broadcastOffsets(right.shape, to: type.shape)
    let sources = conditions.indices.map { index in
      holds[conditions[index]] != 0 ? lefts[index] : left.elementCount + rights[index]
    }
    return choices.gathered(sources, shape: type.shape)
  }

  /// Fractions are cut off towards zero; integers wrap at the new width; bool is "not zero".
  package static func cast(_ data: Tensor, to elementType: ElementType) -> Tensor {
    if elementType == data.elementType { return data }
    if data.elementType.isInteger, elementType.isInteger {
      // Two's complement: the bits of the 64-bit number say all.
      let bits = data.integerBits
      return Tensor(truncating: bits, shape: data.shape, elementType: elementType)
    }
    if data.elementType == .int64, elementType == .float32 {
      // Beyond 2^53 the detour through double would round twice.
      return Tensor(data.elements(of: Int64.self).map { Float($0) }, shape: data.shape)
    }
    return Tensor(reals: data.convertedToDoubles(), TensorType(elementType, data.shape))
  }
}

private struct IntegerBinary: IntegerWork {
  let function: BinaryFunction
  let left: Tensor
  let right: Tensor
  let leftOffsets: [Int]
  let rightOffsets: [Int]
  let type: TensorType

  func run<Integer: TensorInteger>(_: Integer.Type) throws(EvaluationError) -> Tensor {
    let lefts = left.integerElements(Integer.self)
    let rights = right.integerElements(Integer.self)
    var results: [Integer] = []
    results.reserveCapacity(leftOffsets.count)
    for (leftOffset, rightOffset) in zip(leftOffsets, rightOffsets) {
      results.append(try function.integerValue(lefts[leftOffset], rights[rightOffset]))
    }
    return Tensor(integers: results, type)
  }
}
