import COneDNN
import CatenaCompute

/// oneDNN's engine and stream for one program. Used by one thread at a time.
final class Engine: @unchecked Sendable {
  let pointer: OpaquePointer

  init() throws(ComputeError) {
    var pointer: OpaquePointer?
    try catena_engine_create(&pointer).check(device: deviceName)
    guard let pointer else { preconditionFailure("a successful call gives an engine") }
    self.pointer = pointer
  }

  deinit { catena_engine_destroy(pointer) }
}

/// A oneDNN primitive. Used by one thread at a time.
final class Primitive: @unchecked Sendable {
  let pointer: OpaquePointer
  private let engine: Engine

  private init(_ pointer: OpaquePointer, _ engine: Engine) {
    self.pointer = pointer
    self.engine = engine
  }

  deinit { catena_primitive_destroy(pointer) }

  /// oneDNN's name of the code that runs.
  var implementation: String { String(cString: catena_primitive_implementation(pointer)) }
  var weightBytes: Int { catena_primitive_weight_bytes(pointer) }
  var scratchBytes: Int { catena_primitive_scratch_bytes(pointer) }
  /// Whether the code was generated for this problem, instead of a loop nest or detours through matrix products.
  var isGenerated: Bool { !implementation.contains("ref") && !implementation.contains("gemm") }

  static func convolution(
    _ problem: catena_convolution, _ postOperations: [catena_post_operation], _ engine: Engine
  ) throws(ComputeError) -> Primitive {
    var pointer: OpaquePointer?
    let status = withUnsafePointer(to: problem) {
      catena_convolution_create(engine.pointer, $0, postOperations, Int32(postOperations.count), &pointer)
    }
    return try made(pointer, status, engine)
  }

  static func matmul(
    source: View, weights: View, packsWeights: Bool, destination: View, bias: View?,
    _ postOperations: [catena_post_operation], _ engine: Engine
  ) throws(ComputeError) -> Primitive {
    var pointer: OpaquePointer?
    func wide(_ numbers: [Int]) -> [Int64] { numbers.map(Int64.init) }
    let status = catena_matmul_create(
      engine.pointer, Int32(source.shape.rank), wide(source.shape.dimensions), wide(source.strides),
      wide(weights.shape.dimensions), packsWeights ? nil : wide(weights.strides), wide(destination.shape.dimensions),
      wide(destination.strides), bias != nil, bias.map { wide($0.shape.dimensions) }, postOperations,
      Int32(postOperations.count), &pointer)
    return try made(pointer, status, engine)
  }

  private static func made(
    _ pointer: OpaquePointer?, _ status: catena_status, _ engine: Engine
  ) throws(ComputeError) -> Primitive {
    try status.check(device: deviceName)
    guard let pointer else { preconditionFailure("a successful call gives a primitive") }
    return Primitive(pointer, engine)
  }

  /// Brings row-major weights into the primitive's order.
  func pack(_ weights: [Float], into packed: UnsafeMutableRawPointer) throws(ComputeError) {
    try catena_primitive_pack(pointer, weights, packed).check(device: deviceName)
  }
}
