import CatenaGraph
import CatenaTensors
import Testing

@Suite("Sets and maps of values")
struct ValueCollectionTests {
  private func id(_ generator: inout SeededGenerator) -> ValueID { ValueID(index: Int(generator.uniform() * 200)) }

  @Test(arguments: 0..<4) func setsDoWhatHashedSetsDo(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var (set, hashed): (ValueSet, Set<ValueID>) = ([], [])
    for _ in 0..<2000 {
      let value = id(&generator)
      switch Int(generator.uniform() * 8) {
      case 0: #expect(set.remove(value) == hashed.remove(value))
      case 1:
        let others = (0..<5).map { _ in id(&generator) }
        set.formUnion(others)
        hashed.formUnion(others)
      case 2:
        let others = (0..<5).map { _ in id(&generator) }
        set = set.subtracting(others)
        hashed.subtract(others)
      case 3 where hashed.count > 100:
        let others = (0..<150).map { _ in id(&generator) }
        #expect(Array(set.symmetricDifference(ValueSet(others))) == hashed.symmetricDifference(others).sorted())
        set = set.intersection(ValueSet(others))
        hashed.formIntersection(others)
      default: #expect(set.insert(value).inserted == hashed.insert(value).inserted)
      }
      #expect(set.contains(value) == hashed.contains(value))
      #expect(set.count == hashed.count && set.isEmpty == hashed.isEmpty)
      #expect(Array(set) == hashed.sorted())
      #expect(set == ValueSet(hashed))
    }
  }

  @Test func emptyWordsDoNotCount() {
    var set: ValueSet = [ValueID(index: 3), ValueID(index: 700)]
    set.remove(ValueID(index: 700))
    #expect(set == [ValueID(index: 3)])
    #expect(!set.contains(ValueID(index: 10_000)))
    #expect(set.isSubset(of: [ValueID(index: 3), ValueID(index: 4)]))
  }

  @Test(arguments: 0..<4) func mapsDoWhatDictionariesDo(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var (map, dictionary): (ValueMap<[Int]>, [ValueID: [Int]]) = ([:], [:])
    for step in 0..<2000 {
      let value = id(&generator)
      switch Int(generator.uniform() * 5) {
      case 0: #expect(map.removeValue(forKey: value) == dictionary.removeValue(forKey: value))
      case 1:
        map[value] = nil
        dictionary[value] = nil
      case 2:
        map[value, default: []].append(step)
        dictionary[value, default: []].append(step)
      default:
        map[value] = [step]
        dictionary[value] = [step]
      }
      #expect(map[value] == dictionary[value] && map.count == dictionary.count)
      #expect(map.keys.sorted() == dictionary.keys.sorted())
      #expect(map.allSatisfy { dictionary[$0.key] == $0.value })
      let isEven = { (value: ValueID) in value.index % 2 == 0 }
      #expect(map.filter { isEven($0.key) }.count == dictionary.keys.count(where: isEven))
      #expect(map.mapValues(\.count)[value] == dictionary[value]?.count)
    }
    let merged = map.merging([ValueID(index: 1): [-1]]) { $0 + $1 }
    #expect(merged[ValueID(index: 1)] == (dictionary[ValueID(index: 1)] ?? []) + [-1])
  }
}
