/// An immutable array of numbers with a shape, stored densely in row-major order and shared by reference.
///
/// A tensor describes a value on the host: constants of a graph, inputs of a run and its results. Memory on a device is
/// owned by a back end.
public struct Tensor: Sendable {
  /// The type of the elements.
  public let elementType: ElementType
  /// The extents.
  public let shape: Shape
  private let storage: TensorStorage

  /// The number of elements.
  public var elementCount: Int { shape.elementCount }
  /// The number of bytes.
  public var byteCount: Int { shape.elementCount * elementType.byteCount }

  /// A tensor whose bytes `initialize` writes, 64-byte aligned.
  /// - Parameter isZeroed: whether bytes start as zeros; without that `initialize` writes all of them.
  public init<E: Error>(
    elementType: ElementType, shape: Shape, isZeroed: Bool = true,
    initialize: (UnsafeMutableRawBufferPointer) throws(E) -> Void
  ) throws(E) {
    self.elementType = elementType
    self.shape = shape
    storage = TensorStorage(byteCount: shape.elementCount * elementType.byteCount, isZeroed: isZeroed)
    try initialize(storage.bytes)
  }

  /// A tensor of zeros.
  public init(zeros shape: Shape, elementType: ElementType = .float32) {
    self.init(elementType: elementType, shape: shape) { _ in }
  }

  /// A tensor of `Element`s in row-major order.
  /// - Precondition: `elements.count` equals `shape.elementCount`.
  public init<Element: TensorElement>(_ elements: [Element], shape: Shape) {
    precondition(
      elements.count == shape.elementCount, "\(elements.count) elements do not fill the shape \(shape)")
    self.init(elementType: Element.elementType, shape: shape, isZeroed: false) { bytes in
      elements.withUnsafeBytes { bytes.copyMemory(from: $0) }
    }
  }

  /// A scalar.
  public init<Element: TensorElement>(scalar: Element) { self.init([scalar], shape: .scalar) }

  /// The same elements under another shape of equal count.
  public func reshaped(to shape: Shape) -> Tensor {
    precondition(shape.elementCount == elementCount, "\(self.shape) cannot be read as \(shape)")
    return Tensor(elementType: elementType, shape: shape, storage: storage)
  }

  private init(elementType: ElementType, shape: Shape, storage: TensorStorage) {
    self.elementType = elementType
    self.shape = shape
    self.storage = storage
  }

  /// Reads the bytes in place.
  public func withUnsafeBytes<Result, E: Error>(
    _ body: (UnsafeRawBufferPointer) throws(E) -> Result
  ) throws(E) -> Result {
    try body(UnsafeRawBufferPointer(storage.bytes))
  }

  /// Reads the elements in place.
  /// - Precondition: `Element` is the tensor's own element type.
  public func withElements<Element: TensorElement, Result, E: Error>(
    of type: Element.Type, _ body: (UnsafeBufferPointer<Element>) throws(E) -> Result
  ) throws(E) -> Result {
    precondition(type.elementType == elementType, "a \(elementType) tensor was read as \(type.elementType)")
    return try body(UnsafeBufferPointer(storage.bytes.bindMemory(to: Element.self)))
  }

  /// A copy of the elements in row-major order.
  /// - Precondition: `Element` is the tensor's own element type.
  public func elements<Element: TensorElement>(of type: Element.Type) -> [Element] {
    withElements(of: type) { Array($0) }
  }

  /// Whether element type, shape and every bit agree.
  public func isBitIdentical(to other: Tensor) -> Bool {
    guard elementType == other.elementType, shape == other.shape else { return false }
    if storage === other.storage { return true }
    return withUnsafeBytes { left in other.withUnsafeBytes { right in left.elementsEqual(right) } }
  }
}

/// A Swift type that can be the element of a tensor.
public protocol TensorElement: BitwiseCopyable, Sendable {
  /// The element type that this Swift type stores.
  static var elementType: ElementType { get }
}

extension Bool: TensorElement {
  /// `ElementType.bool`
  public static var elementType: ElementType { .bool }
}
extension UInt8: TensorElement {
  /// `ElementType.uint8`
  public static var elementType: ElementType { .uint8 }
}
extension Int8: TensorElement {
  /// `ElementType.int8`
  public static var elementType: ElementType { .int8 }
}
extension UInt16: TensorElement {
  /// `ElementType.uint16`
  public static var elementType: ElementType { .uint16 }
}
extension Int16: TensorElement {
  /// `ElementType.int16`
  public static var elementType: ElementType { .int16 }
}
extension UInt32: TensorElement {
  /// `ElementType.uint32`
  public static var elementType: ElementType { .uint32 }
}
extension Int32: TensorElement {
  /// `ElementType.int32`
  public static var elementType: ElementType { .int32 }
}
extension UInt64: TensorElement {
  /// `ElementType.uint64`
  public static var elementType: ElementType { .uint64 }
}
extension Int64: TensorElement {
  /// `ElementType.int64`
  public static var elementType: ElementType { .int64 }
}
extension Float16: TensorElement {
  /// `ElementType.float16`
  public static var elementType: ElementType { .float16 }
}
extension BFloat16: TensorElement {
  /// `ElementType.bfloat16`
  public static var elementType: ElementType { .bfloat16 }
}
extension Float: TensorElement {
  /// `ElementType.float32`
  public static var elementType: ElementType { .float32 }
}
extension Double: TensorElement {
  /// `ElementType.float64`
  public static var elementType: ElementType { .float64 }
}

/// The bytes of tensors, freed with the last reference. Written only while a tensor is made.
private final class TensorStorage: @unchecked Sendable {
  let bytes: UnsafeMutableRawBufferPointer

  init(byteCount: Int, isZeroed: Bool) {
    bytes = .allocate(byteCount: byteCount, alignment: 64)
    if isZeroed { bytes.initializeMemory(as: UInt8.self, repeating: 0) }
  }

  deinit { bytes.deallocate() }
}
