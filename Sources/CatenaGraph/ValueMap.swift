/// Something for each of some values of a graph.
///
/// Used as a dictionary, without hashing: values are numbered densely, and a table of places finds what belongs to one.
/// Walks follow the order in which values were added; taking one out puts the last in its place.
public struct ValueMap<Element>: Sequence, ExpressibleByDictionaryLiteral {
  /// What the map has of a value.
  public typealias Entry = (key: ValueID, value: Element)

  /// One more than the place in `entries`, 0 for values without one; indices that are left out have none.
  @usableFromInline var places: [Int32] = []
  @usableFromInline var entries: [Entry] = []

  /// An empty map.
  @inlinable public init() {}

  /// A map of the pairs, of whose values none occurs twice.
  @inlinable public init(dictionaryLiteral pairs: (ValueID, Element)...) {
    self.init(uniqueKeysWithValues: pairs)
  }

  /// A map of the pairs, of whose values none occurs twice.
  @inlinable public init(uniqueKeysWithValues pairs: some Sequence<(ValueID, Element)>) {
    for (key, value) in pairs {
      precondition(place(of: key) == nil, "\(key) occurs twice")
      append(key, value)
    }
  }

  /// A map of the pairs; `combine` makes one of what belongs to the same value.
  @inlinable public init(
    _ pairs: some Sequence<(ValueID, Element)>, uniquingKeysWith combine: (Element, Element) -> Element
  ) {
    for (key, value) in pairs { self[key] = self[key].map { combine($0, value) } ?? value }
  }

  /// How many values have something.
  @inlinable public var count: Int { entries.count }

  /// Whether no value has anything.
  @inlinable public var isEmpty: Bool { entries.isEmpty }

  /// The values that have something.
  @inlinable public var keys: some Collection<ValueID> { entries.lazy.map(\.key) }

  /// What they have.
  @inlinable public var values: some Collection<Element> { entries.lazy.map(\.value) }

  /// What belongs to a value, `nil` for nothing.
  @inlinable public subscript(key: ValueID) -> Element? {
    get { place(of: key).map { entries[$0].value } }
    set {
      guard let newValue else {
        removeValue(forKey: key)
        return
      }
      if let place = place(of: key) { entries[place].value = newValue } else { append(key, newValue) }
    }
  }

  /// What belongs to a value, changed where it lies; `standard` where nothing does.
  @inlinable public subscript(key: ValueID, default standard: @autoclosure () -> Element) -> Element {
    get { place(of: key).map { entries[$0].value } ?? standard() }
    _modify {
      if place(of: key) == nil { append(key, standard()) }
      yield &entries[Int(places[key.index]) - 1].value
    }
  }

  /// Takes out what belongs to a value, and returns it.
  @inlinable @discardableResult public mutating func removeValue(forKey key: ValueID) -> Element? {
    guard let place = place(of: key) else { return nil }
    places[key.index] = 0
    let last = entries.removeLast()
    guard place < entries.count else { return last.value }
    places[last.key.index] = Int32(place + 1)
    defer { entries[place] = last }
    return entries[place].value
  }

  /// The entries of both; `combine` makes one of what belongs to the same value.
  @inlinable public func merging(
    _ other: ValueMap, uniquingKeysWith combine: (Element, Element) -> Element
  ) -> ValueMap {
    var result = self
    for (key, value) in other { result[key] = result[key].map { combine($0, value) } ?? value }
    return result
  }

  /// The map of other things for the same values.
  @inlinable public func mapValues<Other, Failure: Error>(
    _ transform: (Element) throws(Failure) -> Other
  ) throws(Failure) -> ValueMap<Other> {
    var result = ValueMap<Other>()
    result.places = places
    result.entries.reserveCapacity(count)
    for entry in entries { result.entries.append((entry.key, try transform(entry.value))) }
    return result
  }

  /// The map of other things for those of the values that have one.
  @inlinable public func compactMapValues<Other>(_ transform: (Element) -> Other?) -> ValueMap<Other> {
    var result = ValueMap<Other>()
    for entry in entries { if let other = transform(entry.value) { result.append(entry.key, other) } }
    return result
  }

  /// The map of those entries alone that satisfy a condition.
  @inlinable public func filter(_ isIncluded: (Entry) -> Bool) -> ValueMap {
    var result = ValueMap()
    for entry in entries where isIncluded(entry) { result.append(entry.key, entry.value) }
    return result
  }

  /// The values that have something, and what they have.
  @inlinable public func makeIterator() -> IndexingIterator<[Entry]> { entries.makeIterator() }

  @inlinable func place(of key: ValueID) -> Int? {
    guard key.index < places.count else { return nil }
    let place = places[key.index]
    return place == 0 ? nil : Int(place) - 1
  }

  /// Adds what belongs to a value that had nothing.
  @inlinable mutating func append(_ key: ValueID, _ value: Element) {
    if key.index >= places.count {
      places.append(contentsOf: repeatElement(0, count: key.index + 1 - places.count))
    }
    entries.append((key, value))
    places[key.index] = Int32(entries.count)
  }
}

extension ValueMap: Sendable where Element: Sendable {}
