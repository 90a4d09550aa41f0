/// A set of values of a graph.
///
/// Values are numbered densely, so that a bit for each answers without hashing, and walks follow the order of creation.
public struct ValueSet: Sendable, SetAlgebra, Sequence {
  /// A bit for every index, 64 to a word; words that are left out have none.
  @usableFromInline var words: [UInt64] = []

  /// The empty set.
  @inlinable public init() {}

  /// The values of a sequence.
  @inlinable public init(_ values: some Sequence<ValueID>) { formUnion(values) }

  /// Whether a value is in the set.
  @inlinable public func contains(_ value: ValueID) -> Bool {
    let word = value.index >> 6
    return word < words.count && words[word] >> UInt64(value.index & 63) & 1 == 1
  }

  /// Adds a value, and says whether it is new.
  @inlinable @discardableResult
  public mutating func insert(_ value: ValueID) -> (inserted: Bool, memberAfterInsert: ValueID) {
    let (word, bit) = (value.index >> 6, UInt64(1) << UInt64(value.index & 63))
    if word >= words.count { words.append(contentsOf: repeatElement(0, count: word + 1 - words.count)) }
    let isNew = words[word] & bit == 0
    words[word] |= bit
    return (isNew, value)
  }

  /// Adds a value; returns it where it was in the set already.
  @inlinable @discardableResult public mutating func update(with value: ValueID) -> ValueID? {
    insert(value).inserted ? nil : value
  }

  /// Takes a value out; returns it where it was in the set.
  @inlinable @discardableResult public mutating func remove(_ value: ValueID) -> ValueID? {
    guard contains(value) else { return nil }
    words[value.index >> 6] &= ~(1 << UInt64(value.index & 63))
    return value
  }

  /// Adds all values of a sequence.
  @inlinable public mutating func formUnion(_ values: some Sequence<ValueID>) {
    for value in values { insert(value) }
  }

  /// Adds all values of another set.
  @inlinable public mutating func formUnion(_ other: ValueSet) { combine(other) { $0 | $1 } }

  /// Leaves the values that are in both.
  @inlinable public mutating func formIntersection(_ other: ValueSet) { combine(other) { $0 & $1 } }

  /// Leaves the values that are in one of both alone.
  @inlinable public mutating func formSymmetricDifference(_ other: ValueSet) { combine(other) { $0 ^ $1 } }

  /// Takes out the values of another set.
  @inlinable public mutating func subtract(_ other: ValueSet) { combine(other) { $0 & ~$1 } }

  /// The values of this set and a sequence.
  @inlinable public func union(_ values: some Sequence<ValueID>) -> ValueSet {
    var result = self
    result.formUnion(values)
    return result
  }

  /// The values of this set that a sequence does not have.
  @inlinable public func subtracting(_ values: some Sequence<ValueID>) -> ValueSet {
    subtracting(ValueSet(values))
  }

  /// The values of both sets.
  @inlinable public func union(_ other: ValueSet) -> ValueSet {
    var result = self
    result.formUnion(other)
    return result
  }

  /// The values that are in both.
  @inlinable public func intersection(_ other: ValueSet) -> ValueSet {
    var result = self
    result.formIntersection(other)
    return result
  }

  /// The values that are in one of both alone.
  @inlinable public func symmetricDifference(_ other: ValueSet) -> ValueSet {
    var result = self
    result.formSymmetricDifference(other)
    return result
  }

  /// The number of values.
  public var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

  /// Whether no value is in the set.
  @inlinable public var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

  /// Whether both have the same values.
  public static func == (left: ValueSet, right: ValueSet) -> Bool { left.symmetricDifference(right).isEmpty }

  /// The values in the order of creation.
  @inlinable public func makeIterator() -> Iterator { Iterator(words: words) }

  @inlinable mutating func combine(_ other: ValueSet, _ operation: (UInt64, UInt64) -> UInt64) {
    let (own, others) = (words.count, other.words.count)
    if own < others { words.append(contentsOf: repeatElement(0, count: others - own)) }
    for index in words.indices { words[index] = operation(words[index], index < others ? other.words[index] : 0) }
  }

  /// Walks a set.
  public struct Iterator: IteratorProtocol {
    @usableFromInline let words: [UInt64]
    /// The word that is walked, and what is left of it.
    @usableFromInline var index = 0
    @usableFromInline var left: UInt64 = 0

    @inlinable init(words: [UInt64]) {
      self.words = words
      left = words.first ?? 0
    }

    /// The next value.
    @inlinable public mutating func next() -> ValueID? {
      while left == 0 {
        index += 1
        guard index < words.count else { return nil }
        left = words[index]
      }
      defer { left &= left - 1 }
      return ValueID(index: index << 6 + left.trailingZeroBitCount)
    }
  }
}
