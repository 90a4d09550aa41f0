import CatenaGraph
import CatenaTensors

// Short ways to say what rules build again and again.
extension Graph {
  /// A constant tensor of one number.
  package mutating func addFilled(_ number: Double, _ type: TensorType, name: String) -> ValueID {
    addConstant(
      name,
      Tensor(
        doubles: [Double](repeating: number, count: type.shape.elementCount), shape: type.shape,
        elementType: type.elementType))
  }

  /// A scalar constant of the element type of `value`.
  package mutating func scalar(_ number: Double, like value: ValueID) -> ValueID {
    addFilled(number, TensorType(type(value).elementType, .scalar), name: "\(number)")
  }

  package mutating func multiply(_ left: ValueID, _ right: ValueID) throws(GraphError) -> ValueID {
    try add(.binary(.multiply), left, right)
  }

  package mutating func divide(_ left: ValueID, _ right: ValueID) throws(GraphError) -> ValueID {
    try add(.binary(.divide), left, right)
  }

  package mutating func subtract(_ left: ValueID, _ right: ValueID) throws(GraphError) -> ValueID {
    try add(.binary(.subtract), left, right)
  }

  package mutating func sum(_ left: ValueID, _ right: ValueID) throws(GraphError) -> ValueID {
    try add(.binary(.add), left, right)
  }

  package mutating func scaled(_ value: ValueID, by factor: Double) throws(GraphError) -> ValueID {
    factor == 1 ? value : try multiply(value, scalar(factor, like: value))
  }

  package mutating func reshaped(_ value: ValueID, to shape: Shape) throws(GraphError) -> ValueID {
    self.shape(value) == shape ? value : try add(.reshape(shape), value)
  }

  /// 1 where the `bool` value is true, 0 elsewhere, in the element type of `value`.
  package mutating func indicator(_ condition: ValueID, like value: ValueID) throws(GraphError) -> ValueID {
    try add(.cast(type(value).elementType), condition)
  }

  /// numerator / denominator, and 0 where the denominator is 0.
  package mutating func safeQuotient(_ numerator: ValueID, _ denominator: ValueID) throws(GraphError) -> ValueID {
    let zero = scalar(0, like: denominator)
    let isZero = try add(.binary(.equal), denominator, zero)
    let divisor = try add(.select, isZero, scalar(1, like: denominator), denominator)
    return try add(.select, isZero, zero, divide(numerator, divisor))
  }

  /// Undoes a broadcast: sums a value over the axes along which a tensor of `shape` was repeated.
  package mutating func summed(_ value: ValueID, to shape: Shape) throws(GraphError) -> ValueID {
    let from = self.shape(value)
    if from == shape { return value }
    let offset = from.rank - shape.rank
    let axes = (0..<from.rank).filter { $0 < offset || (shape[$0 - offset] == 1 && from[$0] != 1) }
    let reduced =
      axes.isEmpty ? value : try add(.reduce(Reduce(.sum, axes: axes, keepsDimensions: true)), value)
    return try reshaped(reduced, to: shape)
  }

  /// A per-channel parameter of C elements, shaped to broadcast along axis 1 of a tensor of the given rank.
  package mutating func perChannel(_ parameter: ValueID, rank: Int) throws(GraphError) -> ValueID {
    var shape = Shape([Int](repeating: 1, count: rank))
    shape[1] = self.shape(parameter).elementCount
    return try reshaped(parameter, to: shape)
  }

  /// Swaps the last two axes.
  package mutating func transposedMatrix(_ value: ValueID) throws(GraphError) -> ValueID {
    let rank = shape(value).rank
    return try add(.transpose(permutation: Array(0..<rank - 2) + [rank - 1, rank - 2]), value)
  }
}
