import CatenaCompute
import CatenaGraph
import CatenaTensors

/// A layer that a trace prunes.
public struct TraceLayer: Sendable {
  /// The node's first output in the source file.
  public let name: String
  /// The node, among the graph's.
  let node: Int
  /// The constant that holds the weights, and its name.
  let weights: ValueID
  /// The layer as a least-squares problem.
  public let geometry: LayerGeometry
  /// How the constant's elements lie.
  let form: Form
  /// What the layer reads.
  let input: ValueID

  /// The orders in which weights are stored.
  enum Form: Sendable {
    /// Outputs first: convolutions, Gemm with a transposed second operand.
    case rows
    /// Inputs first: MatMul, Gemm.
    case columns
    /// A Gemm whose first operand is transposed.
    case transposedInput(isRowMajor: Bool)

    var isRowMajor: Bool {
      switch self {
      case .rows: true
      case .columns: false
      case .transposedInput(let isRowMajor): isRowMajor
      }
    }
  }

  /// Connections: the number of weights.
  public var connections: Int { geometry.weightShape.elementCount }

  /// The weights as float32 [rows, columns].
  func matrix(of tensor: Tensor) -> Tensor {
    let values = tensor.floats
    return Tensor(
      form.isRowMajor ? values : transposed(values, tensor.shape[0], tensor.shape[1]), shape: geometry.weightShape)
  }

  /// A constant of the type of `original` with the weights of a matrix.
  func constant(_ matrix: Tensor, like original: Tensor) -> Tensor {
    let shape = geometry.weightShape
    var values = matrix.floats
    if !form.isRowMajor { values = transposed(values, shape[0], shape[1]) }
    return original.elementType == .float32
      ? Tensor(values, shape: original.shape)
      : Tensor(doubles: values.map(Double.init), shape: original.shape, elementType: original.elementType)
  }
}

private func transposed(_ values: [Float], _ rows: Int, _ columns: Int) -> [Float] {
  [Float](unsafeUninitializedCapacity: values.count) { target, count in
    for row in 0..<rows {
      for column in 0..<columns { target[column &* rows &+ row] = values[row &* columns &+ column] }
    }
    count = values.count
  }
}

/// A mixing layer that a trace leaves as it is, and why.
public struct UntouchedLayer: Sendable, Hashable, Codable {
  /// The node's first output in the source file.
  public var name: String
  /// Why it is left.
  public var reason: String
}
