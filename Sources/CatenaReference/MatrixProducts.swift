import CatenaGraph
import CatenaTensors

extension Reference {
  /// alpha * op(A) op(B) + beta * C
  static func gemm(_ parameters: Gemm, _ inputs: [Tensor], _ type: TensorType) throws(EvaluationError) -> Tensor {
    let left = parameters.transposeA ? transposed(inputs[0]) : inputs[0]
    let right = parameters.transposeB ? transposed(inputs[1]) : inputs[1]
    guard type.elementType.isFloatingPoint else {
      guard parameters.alpha == 1, parameters.beta == 1 else {
        throw EvaluationError(reason: "integer matrices can only be multiplied with alpha = beta = 1")
      }
      let product = try matmul(left, right, type)
      return inputs.count == 3 ? try binary(.add, product, inputs[2], type) : product
    }
    let product = try realProduct(left, right, type)
    let alpha = Double(parameters.alpha)
    guard inputs.count == 3 else {
      return Tensor(reals: makeReals(product.count) { alpha * product[$0] }, type)
    }
    let addend = try inputs[2].reals("C")
    let beta = Double(parameters.beta)
    let offsets = broadcastOffsets(inputs[2].shape, to: type.shape)
    return Tensor(reals: makeReals(product.count) { alpha * product[$0] + beta * addend[offsets[$0]] }, type)
  }

  static func matmul(_ left: Tensor, _ right: Tensor, _ type: TensorType) throws(EvaluationError) -> Tensor {
    guard left.elementType == right.elementType else {
      throw EvaluationError(
        reason: "the factors differ in type: \(left.elementType.rawValue) and \(right.elementType.rawValue)")
    }
    if type.elementType.isFloatingPoint { return try Tensor(reals: realProduct(left, right, type), type) }
    return try withInteger(
      type.elementType,
      IntegerProduct(left: left, right: right, extents: ProductExtents(left.shape, right.shape), type: type))
  }

  private static func realProduct(
    _ left: Tensor, _ right: Tensor, _ type: TensorType
  ) throws(EvaluationError) -> [Double] {
    var result = [Double](repeating: 0, count: type.shape.elementCount)
    try multiply(left.reals("A"), right.reals("B"), &result, ProductExtents(left.shape, right.shape))
    return result
  }

  private static func transposed(_ matrix: Tensor) -> Tensor {
    transpose([1, 0], matrix, TensorType(matrix.elementType, [matrix.shape[1], matrix.shape[0]]))
  }
}

/// The extents of a batched product as numpy's matmul defines it: vectors become matrices of one row (left) or one
/// column (right), leading axes broadcast.
private struct ProductExtents {
  let rows: Int
  let inner: Int
  let columns: Int
  /// Which matrices of the left and of the right factor make each matrix of the product.
  let pairs: [(left: Int, right: Int)]

  init(_ left: Shape, _ right: Shape) {
    let left = left.rank == 1 ? Shape([1] + left.dimensions) : left
    let right = right.rank == 1 ? Shape(right.dimensions + [1]) : right
    (rows, inner, columns) = (left[-2], left[-1], right[-1])
    let leftBatch = Shape(Array(left.dimensions.dropLast(2)))
    let rightBatch = Shape(Array(right.dimensions.dropLast(2)))
    guard let batch = leftBatch.broadcast(with: rightBatch) else {
      preconditionFailure("\(leftBatch) and \(rightBatch) do not broadcast")
    }
    pairs = zip(broadcastOffsets(leftBatch, to: batch), broadcastOffsets(rightBatch, to: batch))
      .map { (left: $0, right: $1) }
  }
}

private func multiply(
  _ left: UnsafePointer<Double>, _ right: UnsafePointer<Double>, _ result: UnsafeMutablePointer<Double>,
  _ extents: ProductExtents
) {
  let (rows, inner, columns) = (extents.rows, extents.inner, extents.columns)
  var output = result
  for pair in extents.pairs {
    let a = left + pair.left * rows * inner
    let b = right + pair.right * inner * columns
    for row in 0..<rows {
      for column in 0..<columns {
        var sum = 0.0
        var index = 0
        while index < inner {
          sum += a[row * inner + index] * b[index * columns + column]
          index += 1
        }
        output.pointee = sum
        output += 1
      }
    }
  }
}

private struct IntegerProduct: IntegerWork {
  let left: Tensor
  let right: Tensor
  let extents: ProductExtents
  let type: TensorType

  func run<Integer: TensorInteger>(_: Integer.Type) throws(EvaluationError) -> Tensor {
    guard type.elementType != .bool else { throw EvaluationError(reason: "bools cannot be multiplied") }
    let lefts = left.elements(of: Integer.self)
    let rights = right.elements(of: Integer.self)
    let (rows, inner, columns) = (extents.rows, extents.inner, extents.columns)
    var results: [Integer] = []
    for pair in extents.pairs {
      for row in 0..<rows {
        for column in 0..<columns {
          var sum: Integer = 0
          for index in 0..<inner {
            let a = lefts[(pair.left * rows + row) * inner + index]
            sum &+= a &* rights[(pair.right * inner + index) * columns + column]
          }
          results.append(sum)
        }
      }
    }
    return Tensor(results, shape: type.shape)
  }
}
